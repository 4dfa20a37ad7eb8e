"""Measurements that are no tests: run by hand, on a quiet machine."""
