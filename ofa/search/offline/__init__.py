"""Search with a predictor and tables alone: no run, no images, no supernet."""
