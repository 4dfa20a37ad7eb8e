"""Networks trained alone: the truth that subnets of a supernet are held against.

    python -m benchmarks.standalone                      # 12 networks of 1 to 8 M MACs, twice each
    python -m benchmarks.standalone --list               # what is done, and what the rest costs
    python -m benchmarks.standalone --finetune sandwich  # instead: the same networks, taken from supernets of a recipe

Each is trained from scratch by the same trainer, with the same data and hyper-parameters, for as many epochs as the
largest subnet of the reference supernet sees (or as `training/setting.py` says). With `--finetune` they start from the
weights of supernets that `benchmarks.recipes` left in the work folder, and train for a tenth of these epochs.

Goes on where it was stopped; several may run side by side. The data are found through the variable OFA_BENCH_DATA
(default: `../shared/data` beside the checkout).
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.training import runner
from benchmarks.training.budget import KnownBudgets
from benchmarks.training.cell import Cell, cell_name
from benchmarks.training.cells import alone_cells, finetune_cells, recipe_cells
from benchmarks.training.recipe_list import RECIPES
from benchmarks.training.setting import Setting
from search_spaces.common.errors import UserError, unknown_name


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.standalone", description=__doc__.splitlines()[0])
    parser.add_argument("--finetune", metavar="RECIPE", help="fine-tune networks taken from supernets of this recipe")
    runner.add_options(parser)
    setting, options = runner.parse(parser)

    try:
        cells = alone_cells(setting) if options.finetune is None else _fine_tuning(setting, options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return runner.main(cells, options)


def _fine_tuning(setting: Setting, options: argparse.Namespace) -> list[Cell]:
    label = options.finetune
    if label not in RECIPES:
        raise unknown_name("recipe", label, RECIPES, key="--finetune")
    names = {cell_name("recipe", label, seed) for seed in setting.recipe_seeds}
    return finetune_cells(
        setting, list(recipe_cells(setting, RECIPES, KnownBudgets(options.results), names.__contains__))
    )


if __name__ == "__main__":
    sys.exit(main())
