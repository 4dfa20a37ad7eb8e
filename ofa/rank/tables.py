"""A ranking report as tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ofa.rank import words

#: Steps of single genes shown, of the best and of the worst buys.
_BEST, _WORST = 10, 3


def print_ranking(facts: dict[str, Any], *, console: Console | None = None) -> None:
    """Predictor, supernet and genes, with intervals; fits into 80 columns."""
    console = console or Console()
    predicted, alone = facts["predicted"], facts["standalone"]
    _print_scores(console, f"against {predicted['num']} subnets the predictor never saw", predicted, facts["level"])
    _print_notes(console, words.predicted_notes(predicted))
    if alone is not None:
        _print_scores(console, f"against {alone['num']} networks trained alone", alone, facts["level"])
        _print_notes(console, words.standalone_notes(alone))
    _print_steps(console, facts["sensitivity"])


def _print_scores(console: Console, title: str, part: dict[str, Any], level: float) -> None:
    """Correlations in one table, regrets in another: side by side they are too wide."""
    rows = list(words.score_rows(part))
    regrets = [name for name in rows[0][1] if "regret" in name]
    correlations = [name for name in rows[0][1] if name not in regrets]
    parts = ((correlations, f"{title} ({level:.0%} intervals)"), (regrets, "accuracy points lost"))
    for columns, heading in parts:
        cells = [[name, *(scores[column] for column in columns)] for name, scores in rows]
        console.print(_table(heading, ["ranked by", *columns], cells))


def _print_steps(console: Console, sensitivity: dict[str, Any]) -> None:
    cost, head = sensitivity["costs"][0], words.step_head(sensitivity)
    kinds, steps = ([words.step_row(step, cost) for step in sensitivity[name]] for name in ("kinds", "steps"))
    shown = steps if len(steps) <= _BEST + _WORST else [*steps[:_BEST], ["..."], *steps[-_WORST:]]
    if kinds:
        console.print(_table(words.sensitivity_title(sensitivity), head, kinds))
    console.print(_table("gene by gene" if kinds else words.sensitivity_title(sensitivity), head, shown))
    _print_notes(console, [words.sensitivity_note(sensitivity)])


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for number, name in enumerate(head):
        table.add_column(escape(name), justify="left" if number == 0 else "right", no_wrap=number > 0)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _print_notes(console: Console, notes: list[str]) -> None:
    for line in notes:
        console.print(line, highlight=False, markup=False)
