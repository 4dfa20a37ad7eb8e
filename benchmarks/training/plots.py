"""The figure: accuracy over MACs of every recipe, with the networks trained alone. Needs matplotlib (extra `bench`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.training.curves import area
from benchmarks.training.results import Trained
from search_spaces.common.errors import UserError

#: Okabe and Ito's colours, told apart by colour-blind people too; line styles change where they repeat.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", ":")
_ALONE = "#555555"


def prepare_matplotlib() -> None:
    """To files, without a screen; the same figure is the same file. Raises `UserError` without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        message = "matplotlib is not installed"
        raise UserError(message, hint="pip install -e '.[bench]', or leave the figure out with --no-figure") from None
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "benchmark"


def draw(recipes: Sequence[Trained], alone: Trained | None, path: Path, *, reference: str) -> None:
    """Write the figure: accuracies on the left, on the right what they have over the reference recipe.

    The format is that of the suffix, `.svg` or `.png`. Raises `UserError` without matplotlib.
    """
    prepare_matplotlib()
    from matplotlib import pyplot, ticker

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    ranked = sorted(recipes, key=lambda trained: -area(trained.sizes["macs"], trained.accuracies.mean(axis=0)))
    base = next((trained for trained in recipes if trained.label == reference), None)
    for number, trained in enumerate(ranked):
        style = {"color": COLOURS[number % len(COLOURS)], "linestyle": _LINES[number // len(COLOURS) % len(_LINES)]}
        order = np.argsort(trained.sizes["macs"])
        macs, accuracies = trained.sizes["macs"][order] / 1e6, 100 * trained.accuracies.mean(axis=0)[order]
        left.plot(macs, accuracies, label=trained.label, linewidth=1.4, **style)
        if base is not None and base.keys == trained.keys:
            right.plot(macs, _smooth(accuracies - 100 * base.accuracies.mean(axis=0)[order]), linewidth=1.4, **style)
    if alone is not None:
        macs, accuracies = alone.sizes["macs"] / 1e6, 100 * alone.accuracies
        middle, low, high = accuracies.mean(axis=0), accuracies.min(axis=0), accuracies.max(axis=0)
        spread = np.stack([middle - low, high - middle])
        left.errorbar(macs, middle, spread, fmt="o", color=_ALONE, markersize=4, capsize=2, label="trained alone")
    right.axhline(0, color=_ALONE, linewidth=0.8)
    for axes, label in (
        (left, "accuracy on the selection split, %"),
        (right, f"points over {reference} (mean of 5 neighbours)"),
    ):
        axes.set_xscale("log")
        axes.set_xlabel("MACs, millions")
        axes.set_ylabel(label)
        axes.grid(True, linewidth=0.3)
        axes.xaxis.set_major_locator(ticker.LogLocator(base=2))
        axes.xaxis.set_major_formatter(ticker.ScalarFormatter())
        axes.xaxis.set_minor_locator(ticker.NullLocator())
    left.legend(fontsize=7, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, metadata=metadata, dpi=130)
    pyplot.close(figure)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean of up to 5 neighbours."""
    return np.array([values[max(0, i - 2) : i + 3].mean() for i in range(len(values))])
