"""What a training keeps on disk: whole checkpoints, the best one, the supernet, and which of them stay."""
