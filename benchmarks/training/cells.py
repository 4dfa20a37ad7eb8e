"""The cells of the experiment under a setting, in the order in which they are carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.training.architectures import alone_architectures, evaluated_architectures
from benchmarks.training.budget import KnownBudgets, fixed_macs, walks
from benchmarks.training.cell import Cell, cell_name
from benchmarks.training.recipe_list import Recipes
from benchmarks.training.setting import Setting
from search_spaces import Architecture
from search_spaces.common.errors import UserError
from trainers.architectures import restriction_to


def recipe_cells(
    setting: Setting, recipes: Recipes, budgets: KnownBudgets, wanted: Callable[[str], bool] = lambda name: True
) -> Iterator[Cell]:
    """All recipes with one seed, the reference first, then with the next: all train for the MACs of the reference.

    Cells whose name is not `wanted` are left out. Budgets are worked out as they are needed.
    """
    labels = [setting.reference, *(label for label in recipes if label != setting.reference)]
    evaluated: dict[str, tuple[Architecture, ...]] = {}
    for seed in setting.recipe_seeds:
        for label in labels:
            if not wanted(cell_name("recipe", label, seed)):
                continue
            space, train = _sections(setting, recipes, label)
            budget = budgets.get(setting, *_sections(setting, recipes, setting.reference))
            if label != setting.reference:
                own_seed = seed if walks(setting, space, train) else None  # other draws cost the same with any seed
                budget = budgets.get(setting, space, train, macs=budget.macs, seed=own_seed)
            if label not in evaluated:
                evaluated[label] = tuple(evaluated_architectures(setting, setting.build_space(space)))
            yield Cell(
                kind="recipe",
                label=label,
                seed=seed,
                setting=setting,
                space=space,
                train={**train, "epochs": budget.epochs},
                evaluated=evaluated[label],
                planned_macs=budget.macs,
            )


def _sections(setting: Setting, recipes: Recipes, label: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sections `space` and `train` of a recipe, the latter without epochs."""
    recipe = recipes[label]
    return {**setting.space, **recipe.get("space", {})}, {**setting.train, **recipe["train"]}


def alone_cells(setting: Setting, epochs: float | None = None) -> list[Cell]:
    """The networks trained alone for `epochs` (None: for every length), seed by seed, within a seed the ends first."""
    if epochs is None:
        return [cell for length in setting.lengths_alone for cell in alone_cells(setting, length)]
    architectures = alone_architectures(setting, setting.build_space())
    phase = {"name": "alone", "epochs": epochs, "sampling": "largest"}
    cells = []
    for seed in setting.alone_seeds:
        for architecture in (architectures[0], architectures[-1], *architectures[1:-1]):
            space = {**setting.space, "restrict": restriction_to(setting.build_space(), architecture)}
            cell = Cell(
                kind="alone",
                label=f"{architecture.key}-{epochs:g}ep",
                seed=seed,
                setting=setting,
                space=space,
                train={**setting.train, "phases": [phase]},
                evaluated=(architecture,),
                planned_macs=fixed_macs(setting, setting.build_space(space), epochs),
            )
            cells.append(cell)
    return cells


def finetune_cells(setting: Setting, sources: list[Cell]) -> list[Cell]:
    """The networks that are trained alone, taken from each of the supernets `sources` and trained on for a while.

    Raises `UserError` for a supernet of another space, which does not hold them.
    """
    epochs, distillation = setting.lengths_alone[0] * setting.finetune_share, setting.finetune_distillation
    phase: dict[str, Any] = {"name": "finetune", "epochs": epochs, "sampling": "largest", "distillation": distillation}
    cells = []
    for source in sources:
        if dict(source.space) != dict(setting.space):
            raise UserError(f"{source.label} has a space of its own, without the networks that are trained alone")
        for architecture in alone_architectures(setting, setting.build_space()):
            space = {**source.space, "restrict": restriction_to(setting.build_space(), architecture)}
            built, teacher = setting.build_space(space), distillation == "teacher"
            cell = Cell(
                kind="finetune",
                label=f"{source.label}-{architecture.key}",
                seed=source.seed,
                setting=setting,
                space=space,
                train={**setting.train, **setting.finetune, "phases": [phase]},
                evaluated=(architecture,),
                planned_macs=fixed_macs(setting, built, epochs, teacher=teacher),
                source=source,
            )
            cells.append(cell)
    return cells
