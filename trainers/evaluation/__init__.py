"""Scores of subnets: batch-norm statistics of their own, alone or many together."""
