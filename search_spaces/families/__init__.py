"""Families of networks: one file each, listed in `search_spaces.registry.FAMILIES`."""
