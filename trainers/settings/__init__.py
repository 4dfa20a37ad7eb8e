"""The sections of a training config, one file each."""
