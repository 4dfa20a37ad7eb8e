"""An example of a package that plugs into ofa-nas; each module is one thing, named in pyproject.toml."""
