"""The frame every chart shares: grid, axes, labels, and an accessible name. Sizes in user units; the page scales
charts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ofa.report.markup import Markup, join, tag
from ofa.report.scales import Scale, fit_scale

WIDTH, HEIGHT = 720, 430
LEFT, RIGHT, TOP, BOTTOM = 78, 16, 18, 62


@dataclass(frozen=True)
class Axis:
    """What a chart's side shows: its title, how ticks read, and its values' natural limits."""

    title: str
    format: Callable[[float, int], str]
    zero: bool = False
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Frame:
    """The plotting area with its two scales."""

    x: Scale
    y: Scale

    @property
    def place(self) -> Callable[[float, float], tuple[float, float]]:
        return lambda x, y: (self.x(x), self.y(y))

    def path(self, points: Iterable[tuple[float, float]], *, step: bool = False) -> str:
        """The `d` of a line through `points`; `step` goes level until the next point's x (a Pareto front)."""
        commands: list[str] = []
        last_y = 0.0
        for x, y in points:
            px, py = self.place(x, y)
            if commands and step:
                commands.append(f"L{px:g} {last_y:g}")
            commands.append(f"{'L' if commands else 'M'}{px:g} {py:g}")
            last_y = py
        return "".join(commands)

    def band(self, upper: list[tuple[float, float]], lower: list[tuple[float, float]]) -> str:
        """The `d` of the area between two lines."""
        return self.path(upper) + self.path(reversed(lower)).replace("M", "L", 1) + "Z"


def fit_frame(xs: Iterable[float], ys: Iterable[float], x_axis: Axis, y_axis: Axis) -> Frame:
    return Frame(
        fit_scale(xs, LEFT, WIDTH - RIGHT, zero=x_axis.zero, limits=x_axis.limits),
        fit_scale(ys, HEIGHT - BOTTOM, TOP, zero=y_axis.zero, limits=y_axis.limits),
    )


def figure(
    frame: Frame, x_axis: Axis, y_axis: Axis, *marks: Markup | None, name: str, title: str, description: str
) -> Markup:
    """A complete `<svg>`; `name` is unique on the page, `title` and `description` are what a screen reader says."""
    return tag(
        "svg",
        tag("title", title, id=f"{name}-title"),
        tag("desc", description, id=f"{name}-desc"),
        _grid(frame, x_axis, y_axis),
        *marks,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        class_="chart",
        id=name,
    )


def _grid(frame: Frame, x_axis: Axis, y_axis: Axis) -> Markup:
    parts = []
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value in frame.x.ticks(6):
        x = frame.x(value)
        parts.append(tag("line", x1=x, x2=x, y1=TOP, y2=bottom, class_="grid"))
        text = x_axis.format(value, frame.x.decimals(6))
        parts.append(
            tag("text", text, x=x, y=bottom + 8, class_="tick", text_anchor="middle", dominant_baseline="hanging")
        )
    for value in frame.y.ticks(5):
        y = frame.y(value)
        parts.append(tag("line", x1=LEFT, x2=right, y1=y, y2=y, class_="grid"))
        text = y_axis.format(value, frame.y.decimals(5))
        parts.append(tag("text", text, x=LEFT - 8, y=y, class_="tick", text_anchor="end", dominant_baseline="central"))
    parts.append(tag("line", x1=LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"))
    middle = (LEFT + right) / 2
    parts.append(tag("text", x_axis.title, x=middle, y=HEIGHT - 8, class_="axis-title", text_anchor="middle"))
    parts.append(
        tag(
            "text",
            y_axis.title,
            class_="axis-title",
            text_anchor="middle",
            transform=f"translate(16 {(TOP + bottom) / 2:g}) rotate(-90)",
        )
    )
    return tag("g", join(parts))


def number(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}"


def percent(value: float, decimals: int) -> str:
    """A share in 0..1 as per cent; `decimals` are those of the share."""
    return f"{100 * value:.{max(decimals - 2, 0)}f}%"


def thousands(value: float, decimals: int) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"
