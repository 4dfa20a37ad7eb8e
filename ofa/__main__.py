"""`python -m ofa` is `ofa`."""

from ofa.cli import main

main()
