"""A scatter plot as PNG, drawn with Pillow: TensorBoard shows pictures only, and this needs no plotting library.

Colours are those of M. Okabe and K. Ito, "Color universal design" (2008), which colour-blind people tell apart; every
colour goes with a shape of its own.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Shape = Literal["dot", "circle", "diamond", "square", "triangle", "down", "cross", "steps"]
Point = tuple[float, float]

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
GREY, INK, PALE = "#9A9A9A", "#222222", "#E4E4E4"
#: TensorBoard shows pictures about 340 pixels wide until they are clicked: letters must be large
SIZE = (600, 420)

#: drawn so many times as large, and scaled down: Pillow's shapes have hard edges
_FINE = 2
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 66, 52


@dataclass(frozen=True)
class Series:
    """Points that look alike. `steps`: a line that goes along, then up, from point to point."""

    label: str
    points: Sequence[Point]
    colour: str
    shape: Shape = "dot"
    size: float = 4.0


@dataclass(frozen=True)
class Span:
    """From values to pixels of one axis, with round ticks."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, num: int) -> list[tuple[float, int]]:
        """About `num` values 1, 2 or 5 times a power of ten apart, each with the decimals that tell them apart."""
        rough = (self.high - self.low) / num
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(index * step, decimals) for index in range(first, last + 1)]


def draw_scatter(*, title: str, x_label: str, series: Sequence[Series]) -> bytes:
    """A PNG of `SIZE`; the title says what goes up. Later series lie on top; those without points are left out."""
    from PIL import Image, ImageDraw

    series = [one for one in series if one.points]
    xs, ys = ([point[axis] for one in series for point in one.points] for axis in (0, 1))
    x = _span(xs, _LEFT, SIZE[0] - _RIGHT)
    y = _span(ys, SIZE[1] - _BOTTOM, _TOP)
    picture = Image.new("RGB", (SIZE[0] * _FINE, SIZE[1] * _FINE), "white")
    draw = ImageDraw.Draw(picture)
    _frame(draw, x, y, title, x_label)
    for one in series:
        places = [(x(value) * _FINE, y(accuracy) * _FINE) for value, accuracy in one.points]
        _draw_series(draw, one, places)
    _legend(draw, series)
    buffer = io.BytesIO()
    picture.resize(SIZE, Image.Resampling.LANCZOS).quantize(128).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _span(values: Sequence[float], start: float, end: float) -> Span:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return Span(low - room, high + room, start, end)


def _frame(draw: ImageDraw, x: Span, y: Span, title: str, x_label: str) -> None:
    for value, decimals in x.ticks(4):
        _line(draw, (x(value), _TOP), (x(value), SIZE[1] - _BOTTOM), PALE)
        _text(draw, (x(value), SIZE[1] - _BOTTOM + 12), _number(value, decimals), anchor="mm", size=15)
    for value, decimals in y.ticks(5):
        _line(draw, (_LEFT, y(value)), (SIZE[0] - _RIGHT, y(value)), PALE)
        _text(draw, (_LEFT - 8, y(value)), _number(value, decimals), anchor="rm", size=15)
    _line(draw, (_LEFT, SIZE[1] - _BOTTOM), (SIZE[0] - _RIGHT, SIZE[1] - _BOTTOM), INK)
    _line(draw, (_LEFT, _TOP), (_LEFT, SIZE[1] - _BOTTOM), INK)
    _text(draw, (8, 18), title, anchor="lm", size=17)
    _text(draw, (SIZE[0] - _RIGHT, SIZE[1] - 15), x_label, anchor="rm", size=16)


def _number(value: float, decimals: int) -> str:
    """`0.05`, `12,000`, `35M`."""
    for factor, letter in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= factor:
            return f"{value / factor:g}{letter}"
    return f"{value:,.{decimals}f}"


def _legend(draw: ImageDraw, series: Sequence[Series]) -> None:
    """In a row between title and plot; what does not fit is left out."""
    from PIL import ImageFont

    font, place, middle = ImageFont.load_default(15), 20.0, _TOP - 20
    for one in series:
        width = font.getlength(one.label)
        if place + width > SIZE[0]:
            return
        mark = [((place + x) * _FINE, middle * _FINE) for x in ((-9, 9) if one.shape == "steps" else (0,))]
        _draw_series(draw, one, mark)
        _text(draw, (place + 13, middle), one.label, anchor="lm", size=15)
        place += width + 38


def _draw_series(draw: ImageDraw, series: Series, places: Sequence[Point]) -> None:
    if series.shape == "steps":
        corners = [places[0]]
        for place in places[1:]:
            corners += [(place[0], corners[-1][1]), place]
        draw.line(corners, fill=series.colour, width=round(2 * _FINE))
        return
    for place in places:
        _SHAPES[series.shape](draw, place, series.size * _FINE, series.colour)


def _disc(draw: ImageDraw, place: Point, size: float, colour: str) -> None:
    x, y = place
    draw.ellipse((x - size, y - size, x + size, y + size), fill=colour)


def _circle(draw: ImageDraw, place: Point, size: float, colour: str) -> None:
    x, y = place
    draw.ellipse((x - size, y - size, x + size, y + size), outline=colour, width=_FINE)


def _polygon(*corners: Point) -> Callable[[ImageDraw, Point, float, str], None]:
    """Corners in units of the size, around (0, 0); y goes down."""

    def draw_one(draw: ImageDraw, place: Point, size: float, colour: str) -> None:
        outline = [(place[0] + size * x, place[1] + size * y) for x, y in corners]
        draw.polygon(outline, fill=colour, outline="white", width=_FINE)

    return draw_one


_SHAPES: dict[str, Callable[[ImageDraw, Point, float, str], None]] = {
    "dot": _disc,
    "circle": _circle,
    "diamond": _polygon((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
    "square": _polygon((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "triangle": _polygon((0, -1.25), (1.2, 0.9), (-1.2, 0.9)),
    "down": _polygon((0, 1.25), (1.2, -0.9), (-1.2, -0.9)),
    "cross": _polygon(
        *((-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4)),
        *((0.4, 1.2), (-0.4, 1.2), (-0.4, 0.4), (-1.2, 0.4), (-1.2, -0.4), (-0.4, -0.4)),
    ),
}


def _line(draw: ImageDraw, start: Point, end: Point, colour: str) -> None:
    draw.line([(start[0] * _FINE, start[1] * _FINE), (end[0] * _FINE, end[1] * _FINE)], fill=colour, width=_FINE)


def _text(draw: ImageDraw, place: Point, text: str, *, anchor: str, size: int) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(size * _FINE)
    draw.text((place[0] * _FINE, place[1] * _FINE), text, fill=INK, anchor=anchor, font=font)
