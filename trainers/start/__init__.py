"""The weights a training starts from: fresh, of a published checkpoint, of another run."""
