"""e: MACs and parameters of 1,000 architectures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.peer import architectures
from benchmarks.peer.item import Check, Comparison, Item, Lane, Options, Part, Session

WANTED = 20


def items(options: Options) -> list[Item]:
    num, num_hooks = (50, 3) if options.short else (1000, 100)
    drawn = architectures.draw(architectures.space_of(), num, seed=0)
    ours, theirs = {"subnets": architectures.ours(drawn)}, {"subnets": architectures.theirs(drawn)}
    hooks = {"subnets": theirs["subnets"][:num_hooks]}
    rows = 1000 if options.short else 100_000
    return [
        Item(
            key="e-count",
            title=f"MACs and parameters of {num} architectures, MobileNetV3 width 1.0",
            parts={"peer": Part("theirs", "subnets"), "ours": Part("ours", "counting")},
            lanes=[
                Lane("config", "peer, MACs by configuration", "peer", "count_by_configuration", lambda r: theirs),
                Lane("hooks", "peer, MACs by hooks and parameters", "peer", "count_by_hooks", lambda r: hooks),
                Lane("ours", "ours, both", "ours", "count", lambda r: ours),
                Lane("scratch", "ours, both, tables built anew", "ours", "count_from_scratch", lambda r: ours),
                Lane("rows", "ours, both, rows of a population", "ours", "count_population", _rows(rows)),
            ],
            comparisons=[
                Comparison("counting, beside by configuration", "ours", "config", "rate", WANTED),
                Comparison("counting, beside by hooks", "ours", "hooks", "rate", WANTED),
                Comparison("counting from scratch, beside by configuration", "scratch", "config", "rate"),
                Comparison("counting rows, beside by configuration", "rows", "config", "rate", WANTED),
            ],
            repeats=2 if options.short else 5,
            minutes=1.5,
            check=_same_counts,
        )
    ]


def _same_counts(session: Session) -> list[Check]:
    ours = session.records["ours"][0]
    configuration, hooks = session.records["config"][0], session.records["hooks"][0]
    return [
        _equal("MACs as the peer counts them by configuration", ours["macs"], configuration["macs"]),
        _equal("parameters as the peer counts them", ours["params"], hooks["params"]),
    ]


def _equal(title: str, ours: Sequence[float], theirs: Sequence[float]) -> Check:
    same = sum(round(one) == round(other) for one, other in zip(ours, theirs, strict=False))
    return Check(title, f"{same} of {len(theirs)} to the unit", same == len(theirs))


def _rows(num: int) -> Any:
    return lambda repetition: {"num": num, "seed": repetition}
