"""Elastic layers and blocks, the parts of a supernet."""
