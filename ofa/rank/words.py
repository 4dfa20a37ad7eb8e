"""A ranking report in words and numbers, for the terminal and the page alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from search_spaces.common.units import METRICS, format_quantity

Facts = Mapping[str, Any]

#: How the ways to rank read.
NAMES = {
    "predictor": "predictor",
    "supernet": "supernet's subnets",
    "macs": "MACs alone",
    "params": "parameters alone",
    "depth": "depth alone",
}
STEP_HEAD = ("gene", "accuracy, points", "cost", "points per {unit}", "")


def score_rows(part: Facts) -> Iterator[tuple[str, dict[str, str]]]:
    """(what ranks, {statistic: with its interval}) of one part of the report, the noise ceiling last; regrets are in
    accuracy points.
    """
    for name, score in part["scores"].items():
        yield NAMES.get(name, name), _scores(score)
    ceiling = part["ceiling"] if "num_images" not in part else part["ceiling"]["same_images"]
    if ceiling is not None:
        yield "perfect ranking", _scores(ceiling)


def predicted_notes(part: Facts) -> list[str]:
    """What the scores of the predictor are to be held against."""
    own = part["ceiling"]["own_images"]["tau"]["value"]
    notes = [
        f"A perfect ranking: the true order, held against accuracies on {part['num_images']} images, simulated by "
        "drawing the images again. Better than that is chance, or learnt from these very images. (Were every network "
        f"tried on images of its own, its tau would be {own:.2f}.)"
    ]
    off = f"Predictions are off by {100 * part['rmse']:.2f} points (RMSE)"
    if part["coverage"] is not None:
        off += f"; their intervals hold {part['coverage']:.0%} of these accuracies"
    return [*notes, f"{off}."]


def standalone_notes(part: Facts) -> list[str]:
    """What the scores against networks trained alone are to be held against."""
    num, between = len(part["seeds"]), part["between_seeds"]
    notes = [f"Each trained alone for {part['epochs']:g} epochs with {num} seed{'s' if num != 1 else ''}."]
    if between is None:
        return [*notes, "With one seed nothing says how far chance decides their order: no noise ceiling is known."]
    alike = f"Two trainings of the same networks with other seeds rank them alike to a tau of {_interval(between, 2)}"
    return [*notes, f"{alike}; the truth here is the mean of {num}, so a perfect ranking would score somewhat more."]


def sensitivity_title(sensitivity: Facts) -> str:
    return f"what a gene buys, paid in {sensitivity['costs'][0]}"


def step_head(sensitivity: Facts) -> list[str]:
    unit, _ = _unit(sensitivity["costs"][0])
    return [name.format(unit=unit) for name in STEP_HEAD]


def step_row(step: Facts, cost: str) -> list[str]:
    """One step as `step_head` has it: the last is `noise` where the gain cannot be told from none."""
    genes = f"{step['gene']} ×{step['num_genes']}" if step["num_genes"] > 1 else step["gene"]
    per, (_, factor) = step["gain_per"].get(cost), _unit(cost)
    return [
        f"{genes}: {step['start']}→{step['end']}",
        _interval(_times(step["gain"], 100), 2, signed=True),
        _change(step["changes"][cost], cost),
        "–" if per is None else _interval(_times(per, 100 * factor), 3, significant=True),
        "noise" if step["beyond_noise"] is False else "",
    ]


def sensitivity_note(sensitivity: Facts) -> str:
    """How the steps are to be read."""
    what = (
        f"One gene changed by one option, all else held, averaged over {sensitivity['num_networks']} random networks, "
        "as the predictor sees it; the best buys first."
    )
    if not sensitivity["num_refits"]:
        return f"{what} How far the predictor is off is not known, so there are no intervals."
    return (
        f"{what} Intervals come from {sensitivity['num_refits']} predictors, each fitted without a part of the "
        "records; where one holds 0, the gain is within the noise."
    )


def _scores(score: Facts) -> dict[str, str]:
    regrets = {f"top-{k} regret": _interval(_times(one, 100), 2) for k, one in score["regret"].items()}
    return {"Kendall tau": _interval(score["tau"], 2), "Spearman": _interval(score["spearman"], 2), **regrets}


def _interval(value: Facts, decimals: int, *, signed: bool = False, significant: bool = False) -> str:
    """`0.82 (0.74 to 0.88)`, without the ends where they are not known."""
    form = f".{decimals}{'g' if significant else 'f'}"
    ends = "" if value["lower"] is None else f" ({value['lower']:{form}} to {value['upper']:{form}})"
    return f"{value['value']:{'+' if signed else ''}{form}}{ends}"


def _times(value: Facts, factor: float) -> dict[str, float | None]:
    return {name: None if part is None else part * factor for name, part in value.items()}


def _change(value: float, cost: str) -> str:
    metric = cost.partition("@")[0]
    if metric == "latency" and abs(value) < 0.1:
        return f"{1000 * value:+.3g} µs"
    rounded = float(f"{value:.3g}")
    return f"{'+' if value >= 0 else ''}{format_quantity(rounded, metric) if metric in METRICS else f'{rounded:g}'}"


def _unit(cost: str) -> tuple[str, float]:
    """What a gain is told per, and how many base units that is."""
    metric = cost.partition("@")[0]
    if metric == "macs":
        return "MMACs", 1e6
    if metric == "instructions":
        return "Minstructions", 1e6
    return METRICS[metric][0] if metric in METRICS else metric, 1.0
