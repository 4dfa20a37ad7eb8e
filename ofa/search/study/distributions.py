"""A space as Optuna sees it: one distribution per gene, under the gene's own name, and only for genes that are on.

An evenly spaced gene of whole numbers (kernel 3, 5, 7) is an integer distribution, so that samplers know its order;
any other (expand ratios 3, 4, 6; words; pairs of a coupled gene) is categorical. A gene that is switched off (a block
beyond the depth) is not suggested, and a trial has no parameter of its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from search_spaces.common.errors import UserError

if TYPE_CHECKING:
    import optuna

    from search_spaces import SearchSpace
    from search_spaces.genome import Gene, Population


def distribution(gene: Gene) -> BaseDistribution:
    """Of one gene; its values are the gene's options."""
    options = gene.options
    if len(options) > 1 and all(type(option) is int for option in options):
        steps = {int(step) for step in np.diff(np.array(options))}
        if len(steps) == 1 and (step := steps.pop()) > 0:
            return IntDistribution(low=int(options[0]), high=int(options[-1]), step=step)  # type: ignore[arg-type]
    return CategoricalDistribution(options)


def all_distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Of every gene, switched on or not."""
    return {gene.name: distribution(gene) for gene in space.genes}


def distributions(space: SearchSpace, row: Population) -> dict[str, BaseDistribution]:
    """Of the genes that are on in the network `row` (num_genes,)."""
    active = space.active(row[None])[0]
    return {gene.name: distribution(gene) for gene, on in zip(space.genes, active, strict=True) if on}


def params(space: SearchSpace, row: Population, *, only_active: bool = True) -> dict[str, Any]:
    """The option of every gene (that is on) of `row` (num_genes,), by its name."""
    active = space.active(row[None])[0] | (not only_active)
    return {
        gene.name: gene.options[int(option)] for gene, option, on in zip(space.genes, row, active, strict=True) if on
    }


def row_of(space: SearchSpace, values: Mapping[str, Any]) -> Population:
    """The canonical row (num_genes,) of a trial's parameters. Values of genes that are off do not matter, nor whether
    there are any; `UserError` for a gene that is on and has no value, or one that is not an option.
    """
    row = np.zeros(space.num_genes, dtype=np.int64)
    missing = np.zeros(space.num_genes, dtype=bool)
    for i, gene in enumerate(space.genes):
        if gene.name not in values:
            missing[i] = True
        elif values[gene.name] in gene.options:
            row[i] = gene.options.index(values[gene.name])
        else:
            raise UserError(
                "not an option", key=gene.name, value=values[gene.name], hint=f"Options: {list(gene.options)}"
            )
    lacking = np.flatnonzero(space.active(row[None])[0] & missing)
    if len(lacking):
        raise UserError(f"a network of {space.name} needs a value of this gene", key=space.genes[lacking[0]].name)
    return space.canonical(row[None])[0]


def suggest(trial: optuna.Trial, space: SearchSpace) -> Population:
    """Ask `trial` for every gene that is on; the canonical row (num_genes,)."""
    row = np.zeros(space.num_genes, dtype=np.int64)
    for i, gene in enumerate(space.genes):  # what a gene hangs on comes before it
        if space.active(row[None])[0, i]:
            row[i] = gene.options.index(_suggest(trial, gene))
    return row


def _suggest(trial: optuna.Trial, gene: Gene) -> Any:
    wanted = distribution(gene)
    if isinstance(wanted, IntDistribution):
        return trial.suggest_int(gene.name, wanted.low, wanted.high, step=wanted.step)
    return trial.suggest_categorical(gene.name, gene.options)
