"""The cells of the experiment under a setting, in the order in which they are carried out."""

from __future__ import annotations

from typing import Any

from benchmarks.training.architectures import alone_architectures, evaluated_architectures, only
from benchmarks.training.budget import epochs_for
from benchmarks.training.cell import Cell
from benchmarks.training.recipe_list import Recipes
from benchmarks.training.setting import Setting


def recipe_cells(setting: Setting, recipes: Recipes) -> list[Cell]:
    """All recipes with one seed, the reference first, then with the next: all train for the MACs of the reference."""
    reference = _recipe_cell(setting, recipes, setting.reference, seed=setting.recipe_seeds[0], epochs=setting.epochs)
    labels = [setting.reference, *(label for label in recipes if label != setting.reference)]
    epochs = {}
    for label in labels:
        cell = _recipe_cell(setting, recipes, label, seed=reference.seed, epochs=setting.epochs)
        same = label == setting.reference
        epochs[label] = (
            setting.epochs if same else epochs_for(setting, cell.built_space, cell.train, reference.planned_macs)
        )
    return [
        _recipe_cell(setting, recipes, label, seed=seed, epochs=epochs[label])
        for seed in setting.recipe_seeds
        for label in labels
    ]


def alone_cells(setting: Setting) -> list[Cell]:
    """The networks trained alone, seed by seed, and within a seed the ends first."""
    architectures = alone_architectures(setting, setting.build_space())
    ends_first = [architectures[0], architectures[-1], *architectures[1:-1]]
    phase = {"name": "alone", "epochs": setting.epochs, "sampling": "largest"}
    return [
        Cell(
            kind="alone",
            label=architecture.key,
            seed=seed,
            setting=setting,
            space={**setting.space, "restrict": only(architecture)},
            train={**setting.train, "phases": [phase]},
            evaluated=(architecture,),
        )
        for seed in setting.alone_seeds
        for architecture in ends_first
    ]


def finetune_cells(setting: Setting, sources: list[Cell]) -> list[Cell]:
    """The networks that are trained alone, taken from each of the supernets `sources` and trained on for a while."""
    phase: dict[str, Any] = {"name": "finetune", "epochs": setting.epochs * setting.finetune_share}
    phase |= {"sampling": "largest", "distillation": setting.finetune_distillation}
    return [
        Cell(
            kind="finetune",
            label=f"{source.label}-{architecture.key}",
            seed=source.seed,
            setting=setting,
            space={**source.space, "restrict": only(architecture)},
            train={**setting.train, **setting.finetune, "phases": [phase]},
            evaluated=(architecture,),
            source=source,
        )
        for source in sources
        for architecture in alone_architectures(setting, setting.build_space())
    ]


def _recipe_cell(setting: Setting, recipes: Recipes, label: str, *, seed: int, epochs: float) -> Cell:
    recipe = recipes[label]
    space = {**setting.space, **recipe.get("space", {})}
    return Cell(
        kind="recipe",
        label=label,
        seed=seed,
        setting=setting,
        space=space,
        train={**setting.train, **recipe["train"], "epochs": epochs},
        evaluated=tuple(evaluated_architectures(setting, setting.build_space(space))),
    )
