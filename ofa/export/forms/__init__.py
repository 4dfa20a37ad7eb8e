"""The forms a network is exported in. A new form is one file here and one line in `registry`."""
