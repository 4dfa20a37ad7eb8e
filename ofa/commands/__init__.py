"""One file per command, each with a function of the command's name. Heavy imports stay inside the functions."""
