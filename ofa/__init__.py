"""The once-for-all workflow: search, specialise, export, report, and the `ofa` command line."""
