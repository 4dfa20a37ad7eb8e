"""The main chart: accuracy against a device's latency. Every record, the predicted front, the winners and their
budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ofa.report.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Frame, figure, fit_frame, number, percent
from ofa.report.markup import Markup, join, tag

#: marker outlines by winner, so that they differ by shape as well as colour: circle-free, as records are circles
_SHAPES = (
    "M0-9L9 0L0 9L-9 0Z",
    "M-7.5-7.5H7.5V7.5H-7.5Z",
    "M0-9L8.5 7H-8.5Z",
    "M0 9L8.5-7H-8.5Z",
    "M-3-8H3V-3H8V3H3V8H-3V3H-8V-3H-3Z",
    "M0-9L7.8-4.5V4.5L0 9L-7.8 4.5V-4.5Z",
)
NUM_COLOURS = 6


@dataclass(frozen=True)
class Dot:
    """An evaluated subnet: predicted latency in ms, accuracy in 0..1, and what the tooltip says."""

    latency: float
    accuracy: float
    tip: str


@dataclass(frozen=True)
class FrontPoint:
    """A network of the predicted front, with the ends of the accuracy's interval where it is known."""

    latency: float
    accuracy: float
    lower: float | None
    upper: float | None
    tip: str


@dataclass(frozen=True)
class WinnerMark:
    """A winner and its budget on this device (None where the budget bounds something else).

    `num_below`: how many earlier winners are the same network; it is drawn on top of them.
    """

    index: int
    name: str
    latency: float
    accuracy: float
    budget: float | None
    tip: str
    num_below: int = 0


def tradeoff_chart(
    *, name: str, device: str, dots: Sequence[Dot], front: Sequence[FrontPoint], winners: Sequence[WinnerMark]
) -> Markup:
    """Circles for records, a stepped line with its band for the predicted front, shapes for winners, dashed lines for
    budgets.
    """
    x_axis = Axis(f"latency on {device} (ms)", number, limits=(0.0, float("inf")))
    y_axis = Axis("accuracy, selection split", percent, limits=(0.0, 1.0))
    budgets = [mark.budget for mark in winners if mark.budget is not None]
    points = [(p.latency, p.accuracy) for group in (dots, front, winners) for p in group]
    # the band's far ends may lie outside: they must not squeeze the measured accuracies into a strip
    frame = fit_frame([x for x, _ in points] + budgets, [y for _, y in points], x_axis, y_axis)
    description = (
        f"{len(dots)} evaluated subnets, a predicted front of {len(front)} networks and {len(winners)} winners. "
        "The tables below hold the same numbers."
    )
    return figure(
        frame,
        x_axis,
        y_axis,
        _clip(name),
        _front_band(frame, front, name),
        tag("g", [_budget(frame, mark) for mark in winners if mark.budget is not None]),
        tag("g", [_dot(frame, dot) for dot in dots], class_="records"),
        _front_line(frame, front, name),
        tag("g", [_winner(frame, mark) for mark in winners]),
        name=name,
        title=f"Accuracy against latency on {device}",
        description=description,
    )


def marker(index: int) -> str:
    """The outline of winner number `index`, around (0, 0)."""
    return _SHAPES[index % len(_SHAPES)]


def swatch(index: int) -> Markup:
    """The winner's marker as a small picture for tables."""
    shape = tag("path", d=marker(index), class_=f"winner colour-{index % NUM_COLOURS}")
    return tag("svg", shape, viewBox="-11 -11 22 22", class_="swatch", aria_hidden="true")


def _dot(frame: Frame, dot: Dot) -> Markup:
    return tag("circle", cx=frame.x(dot.latency), cy=frame.y(dot.accuracy), r=4, class_="record", data_tip=dot.tip)


def _budget(frame: Frame, mark: WinnerMark) -> Markup:
    assert mark.budget is not None
    x, colour = frame.x(mark.budget), f"colour-{mark.index % NUM_COLOURS}"
    near_edge = x > WIDTH - RIGHT - 90
    label = tag(
        "text",
        mark.name,
        x=x - 5 if near_edge else x + 5,
        y=HEIGHT - BOTTOM - 8 - 16 * (mark.index % 3),
        class_=f"budget-name {colour}",
        text_anchor="end" if near_edge else "start",
    )
    line = tag(
        "line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, class_=f"budget {colour}", data_tip=f"budget {mark.name}"
    )
    return join(line, label)


def _winner(frame: Frame, mark: WinnerMark) -> Markup:
    return tag(
        "path",
        d=marker(mark.index),
        transform=f"translate({frame.x(mark.latency):g} {frame.y(mark.accuracy) - 17 * mark.num_below:g})",
        class_=f"winner colour-{mark.index % NUM_COLOURS}",
        tabindex=0,
        role="button",
        aria_label=mark.tip.replace("\n", ", "),
        data_tip=mark.tip,
        data_winner=str(mark.index),
    )


def _front_line(frame: Frame, front: Sequence[FrontPoint], name: str) -> Markup | None:
    if not front:
        return None
    line = tag("path", d=frame.path([(p.latency, p.accuracy) for p in front], step=True), class_="front")
    points = [
        tag("circle", cx=frame.x(p.latency), cy=frame.y(p.accuracy), r=2.5, class_="front-point", data_tip=p.tip)
        for p in front
    ]
    return tag("g", line, points, clip_path=f"url(#{name}-clip)")


def _front_band(frame: Frame, front: Sequence[FrontPoint], name: str) -> Markup | None:
    upper = [(p.latency, p.upper) for p in front if p.upper is not None]
    lower = [(p.latency, p.lower) for p in front if p.lower is not None]
    if len(upper) < 2:
        return None
    return tag("path", d=frame.band(upper, lower), class_="front-band", clip_path=f"url(#{name}-clip)")


def _clip(name: str) -> Markup:
    area = tag("rect", x=LEFT, y=TOP, width=WIDTH - LEFT - RIGHT, height=HEIGHT - TOP - BOTTOM)
    return tag("defs", tag("clipPath", area, id=f"{name}-clip"))
