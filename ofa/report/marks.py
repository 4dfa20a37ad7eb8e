"""The winners' markers, which tell them apart by shape as well as by colour, as small pictures for text and tables."""

from __future__ import annotations

from ofa.report.markup import Markup, tag

#: outlines around (0, 0), in the order of `SYMBOLS` in assets/theme.js: diamond, square, triangles, cross, hexagon
_SHAPES = (
    "M0-9L9 0L0 9L-9 0Z",
    "M-7.5-7.5H7.5V7.5H-7.5Z",
    "M0-9L8.5 7H-8.5Z",
    "M0 9L8.5-7H-8.5Z",
    "M-3-8H3V-3H8V3H3V8H-3V3H-8V-3H-3Z",
    "M0-9L7.8-4.5V4.5L0 9L-7.8 4.5V-4.5Z",
)


def swatch(index: int) -> Markup:
    """The marker of winner number `index`."""
    shape = tag("path", d=_SHAPES[index % len(_SHAPES)], class_=f"winner colour-{index % len(_SHAPES)}")
    return _sample(shape)


def dot() -> Markup:
    """The marker of an evaluated network."""
    return _sample(tag("circle", cx=0, cy=0, r=6, class_="dot"))


def line() -> Markup:
    """A piece of the predicted front."""
    return _sample(tag("path", d="M-11 0H11", class_="front"))


def _sample(shape: Markup) -> Markup:
    return tag("svg", shape, viewBox="-11 -11 22 22", class_="swatch", aria_hidden="true")
