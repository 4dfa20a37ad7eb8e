"""Named spaces: data. A mapping would do as well as a file."""

from __future__ import annotations

from importlib.resources import files

PLAIN_CONVNET_28 = files("ofa_example") / "plain_convnet_28.yaml"
