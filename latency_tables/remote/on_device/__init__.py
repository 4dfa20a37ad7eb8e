"""What runs on the device: the models of a bundle are measured here, and results.json is written.

A bundle holds this package beside its `runner.py`. Python 3.8 or later, numpy and the one runtime of the bundle are all
it may import, and its own modules by relative imports, as it is a package of another name there.
"""
