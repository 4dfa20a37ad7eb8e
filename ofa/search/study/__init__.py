"""Studies: real evaluations shared by any number of workers through an Optuna storage."""
