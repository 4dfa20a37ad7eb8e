"""This project and the once-for-all package of PyPI (`ofa`, the peer), measured in turn. See README.md."""
