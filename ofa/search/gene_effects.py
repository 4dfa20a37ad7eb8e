"""What each gene's choice costs, compared with the cheapest network: shares that do not depend on an order and add up.

A slot reads few genes, and its cost goes from that of the cheapest network to that of the explained one as these genes
change. Each gets its Shapley value: what its change adds, averaged over all orders in which they could change (L. S.
Shapley, "A value for n-person games", 1953), over all 2^k mixtures of the k genes that differ. Sums over slots are sums
of shares, because the value is additive. A maximum is explained where it is reached: in the one slot of the peak.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable

    Floats = npt.NDArray[np.float64]
    Row = npt.NDArray[np.int64]


@dataclass(frozen=True)
class GeneEffects:
    """`cost` = `reference_cost` + `elsewhere` + the sum of `effects` (num_genes,), in the unit of the cost.

    `reference` is the cheapest network. Of a maximum, `slot` is where it is reached, and `elsewhere` how far the
    reference stays below its own maximum in that slot (never positive); of a sum, None and 0.
    """

    cost: float
    reference: Row
    reference_cost: float
    effects: tuple[float, ...]
    slot: str | None = None
    elsewhere: float = 0.0


def gene_effects(table: CostTable, row: Row) -> GeneEffects:
    """Explain the cost of the network `row` (num_genes,) by its genes.

    A gene that the explained network switches off has no effect; one that only the reference switches off counts there
    as its first option.
    """
    least, reference = table.minimum()
    active = table.genome.active(row[None])[0]
    row = np.where(active, row, reference)
    slots: Sequence[int] = range(len(table.slots))
    slot, elsewhere = None, 0.0
    if table.reduce == "max":
        values = table.contributions(np.stack([row, reference]))
        peak = int(values[0].argmax())
        if values[0, peak] < table.constant:
            slots, slot, elsewhere = [], "overhead", table.constant - least
        else:
            slots, slot, elsewhere = [peak], table.slots[peak], float(values[1, peak]) - least
    shares: list[list[float]] = [[] for _ in row]
    for number in slots:
        for gene, share in _shares(table.genes[number], table.tables[number], reference, row).items():
            shares[gene].append(share)
    cost = float(table.evaluate(row[None])[0])
    return GeneEffects(cost, reference, least, tuple(math.fsum(share) for share in shares), slot, elsewhere)


def effects_facts(space: SearchSpace, costs: Mapping[str, CostTable], row: Row) -> dict[str, dict[str, Any]]:
    """By cost, what every gene that has an effect adds to the cost of the cheapest network."""
    facts = {}
    for name, table in costs.items():
        found = gene_effects(table, row)
        architecture = space.decode(found.reference[None])[0]
        facts[name] = {
            "cost": found.cost,
            "reference": {
                "key": architecture.key,
                "architecture": architecture.to_json(),
                "cost": found.reference_cost,
            },
            "slot": found.slot,
            "elsewhere": found.elsewhere,
            "genes": [
                {"gene": gene.name, "option": gene.options[option], "reference": gene.options[other], "effect": effect}
                for gene, option, other, effect in zip(space.genes, row, found.reference, found.effects, strict=True)
                if effect != 0
            ],
        }
    return facts


def _shares(genes: tuple[int, ...], values: Floats, before: Row, after: Row) -> dict[int, float]:
    """By those genes of a slot that change from `before` to `after`, their Shapley values."""
    changed = [gene for gene in genes if before[gene] != after[gene]]
    where = tuple(
        np.array([before[gene], after[gene]] if gene in changed else [after[gene]], dtype=np.int64) for gene in genes
    )
    num = len(changed)
    cube = values[np.ix_(*where)].reshape((2,) * num)
    # weight of a mixture in which m other genes have changed already: m! (num - m - 1)! / num!
    by_count = [math.factorial(m) * math.factorial(num - m - 1) / math.factorial(num) for m in range(num)]
    counts = np.indices((2,) * (num - 1)).sum(axis=0) if num > 1 else np.zeros((), dtype=np.int64)
    weights = np.array(by_count)[counts] if num else np.zeros(())
    return {
        gene: math.fsum(np.ravel(weights * (cube.take(1, axis=axis) - cube.take(0, axis=axis))).tolist())
        for axis, gene in enumerate(changed)
    }
