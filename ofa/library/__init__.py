"""What `import ofa` offers: one file a verb, each a small function over the rooms, as the commands use them."""
