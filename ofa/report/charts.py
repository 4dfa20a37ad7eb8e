"""The smaller charts: predicted against measured, and curves over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ofa.report.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Frame, figure, fit_frame, thousands
from ofa.report.markup import Markup, tag
from ofa.report.scales import fit_scale


def agreement_chart(
    *, name: str, title: str, axis: Axis, points: Sequence[tuple[float, float, str]], band: float | None = None
) -> Markup:
    """Measured (x) against predicted (y) with the line of perfect agreement, both axes alike.

    `points` are (measured, predicted, tooltip); `band` draws the corridor of that relative error (0.1: within 10 %).
    """
    values = [value for measured, predicted, _ in points for value in (measured, predicted)]
    frame = Frame(
        fit_scale(values, LEFT, WIDTH - RIGHT, limits=axis.limits),
        fit_scale(values, HEIGHT - BOTTOM, TOP, limits=axis.limits),
    )
    low, high = frame.x.low, frame.x.high
    corridor = None
    if band is not None:
        corridor = tag(
            "path",
            d=frame.band(
                [(low, low * (1 + band)), (high, high * (1 + band))],
                [(low, low * (1 - band)), (high, high * (1 - band))],
            ),
            class_="corridor",
            clip_path=f"url(#{name}-clip)",
        )
    area = tag("rect", x=LEFT, y=TOP, width=WIDTH - LEFT - RIGHT, height=HEIGHT - TOP - BOTTOM)
    return figure(
        frame,
        Axis(f"measured {axis.title}", axis.format),
        Axis(f"predicted {axis.title}", axis.format),
        tag("defs", tag("clipPath", area, id=f"{name}-clip")),
        corridor,
        tag("path", d=frame.path([(low, low), (high, high)]), class_="agreement"),
        tag(
            "g",
            [tag("circle", cx=frame.x(x), cy=frame.y(y), r=5, class_="record", data_tip=tip) for x, y, tip in points],
        ),
        name=name,
        title=title,
        description=f"{len(points)} networks; the closer to the diagonal, the better the prediction.",
    )


def curves_chart(*, name: str, title: str, axis: Axis, curves: Mapping[str, Sequence[tuple[float, float]]]) -> Markup:
    """One line for each of `curves`: label -> (step, value) points. Lines differ by dashes as well as by colour."""
    points = [point for curve in curves.values() for point in curve]
    x_axis = Axis("training step", thousands)
    frame = fit_frame([x for x, _ in points], [y for _, y in points], x_axis, axis)
    return figure(
        frame,
        x_axis,
        axis,
        *(
            tag("path", d=frame.path(curve), class_=f"curve curve-{index % 6}")
            for index, curve in enumerate(curves.values())
        ),
        *(
            tag(
                "circle",
                cx=frame.x(x),
                cy=frame.y(y),
                r=3,
                class_=f"curve-point curve-{index % 6}",
                data_tip=f"{label}\nstep {x:g}: {axis.format(y, 4)}",
            )
            for index, (label, curve) in enumerate(curves.items())
            for x, y in (curve if len(curve) <= 60 else curve[-1:])
        ),
        name=name,
        title=title,
        description="Curves: "
        + ", ".join(f"{label} ends at {axis.format(curve[-1][1], 4)}" for label, curve in curves.items() if curve),
    )


def curves_legend(labels: Sequence[str]) -> Markup:
    """The line samples and labels of `curves_chart`, in its order."""
    items = []
    for index, label in enumerate(labels):
        line = tag("line", x1=0, x2=30, y1=6, y2=6, class_=f"curve curve-{index % 6}")
        items.append(tag("li", tag("svg", line, viewBox="0 0 30 12", class_="line-sample", aria_hidden="true"), label))
    return tag("ul", items, class_="legend")
