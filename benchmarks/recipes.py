"""Which recipe trains the best supernet at equal MACs?

    python -m benchmarks.recipes             # every recipe x 3 seeds
    python -m benchmarks.recipes --list      # what is done, and what the rest costs
    python -m benchmarks.recipes --setting long --only "sandwich-*"    # ten times as long
    python -m benchmarks.recipes --report    # tables and figure of what is done, together with benchmarks.standalone

Every recipe trains for the MACs that the reference recipe spends. Each supernet is judged by the accuracy on the
selection split of its smallest, its largest and 30 subnets between them, evenly spread over log MACs, with batch-norm
statistics of their own.

Goes on where it was stopped; several may run side by side. The data are found through the variable OFA_BENCH_DATA
(default: `../shared/data` beside the checkout).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.peer.process import ROOT
from benchmarks.training import runner
from benchmarks.training.budget import KnownBudgets
from benchmarks.training.cell import Cell
from benchmarks.training.cells import alone_cells, finetune_cells, recipe_cells
from benchmarks.training.exposure import seen_by_the_largest
from benchmarks.training.plots import draw
from benchmarks.training.recipe_list import RECIPES
from benchmarks.training.results import finished_networks, finished_recipes
from benchmarks.training.setting import Setting
from benchmarks.training.summary import summarise
from benchmarks.training.tables import alone_table, recipes_table
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_json, write_text

FIGURES = {"short": ROOT / "docs" / "recipes.svg", "long": ROOT / "docs" / "recipes_long.svg"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes", description=__doc__.splitlines()[0])
    parser.add_argument("--report", action="store_true", help="tables and figure of what is done")
    parser.add_argument("--figure", type=Path, help="file of the figure, .svg or .png (default: the one in docs)")
    parser.add_argument("--no-figure", action="store_true", help="tables only")
    runner.add_options(parser)
    setting, options = runner.parse(parser)

    budgets = KnownBudgets(options.results)
    if not options.report:
        return runner.main(recipe_cells(setting, RECIPES, budgets, runner.wanted(options)), options)
    try:
        figure = None if options.no_figure else options.figure or FIGURES[options.setting]
        there = {path.stem for path in options.results.glob("*.json")}
        cells = list(recipe_cells(setting, RECIPES, budgets, there.__contains__))
        print(report(setting, cells, options.results, figure), end="")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def report(setting: Setting, recipes: list[Cell], results: Path, figure: Path | None) -> str:
    """The tables of what is done; kept in the folder report of the results, with the figure."""
    for cell in recipes:
        if cell.file(results).exists() and not cell.is_done(results):
            print(f"{cell.file(results)}: of other inputs, left out", file=sys.stderr)
    trained = finished_recipes(recipes, results)
    if not trained:
        raise UserError("no training of a recipe is finished", file=results, hint="Run this without --report")
    alone = [finished_networks(alone_cells(setting, epochs), results, "alone") for epochs in setting.lengths_alone]
    finetuned = []
    for label in dict.fromkeys(cell.label for cell in recipes):
        sources = [cell for cell in recipes if cell.label == label and dict(cell.space) == dict(setting.space)]
        found = finished_networks(finetune_cells(setting, sources), results, label)
        finetuned += [] if found is None else [found]
    seen = {cell.label: seen_by_the_largest(cell) for cell in recipes if cell.seed == setting.recipe_seeds[0]}
    summaries = [summarise(trained, each, finetuned, reference=setting.reference, seen=seen) for each in alone]
    text = "\n".join([recipes_table(summaries[0]), *map(alone_table, summaries)])
    write_json(results / "report" / "summary.json", {"by_length_alone": summaries})
    write_text(results / "report" / "tables.md", text)
    if figure is not None:
        longest = next((each for each in reversed(alone) if each is not None), None)
        draw(trained, longest, figure, reference=setting.reference)
    return text


if __name__ == "__main__":
    sys.exit(main())
