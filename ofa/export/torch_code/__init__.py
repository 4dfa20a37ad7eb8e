"""A network written down as Python: one file of plain torch that its users read, change and train on."""
