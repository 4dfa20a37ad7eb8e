"""What TensorBoard shows of a run beside its training: pictures of the trade-off, records as hyperparameters."""
