"""From a chosen architecture to files that run without this project, checked against each other on real images."""

from ofa.library.callable_package import make_callable

make_callable(__name__, module="ofa.library.exporting", name="export")  # `ofa.export(...)`, see docs/library.md
