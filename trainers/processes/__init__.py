"""Several processes, and what ends them: torchrun, signals, meeting again after a restart."""
