"""What the operators of a space say of its genes: which option is the larger one, and in which stage a gene acts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from search_spaces import SearchSpace


def sizes_of_options(space: SearchSpace) -> list[npt.NDArray[np.float64]]:
    """For every gene the sizes of its options, in 0..1: the square root of their rank by MACs.

    The MACs are those of the largest network with this gene changed; equal ones share a rank. A gene that can be
    switched off has size 0 then, so that all of its options are larger than that.
    """
    largest = space.largest()
    rows = [largest.copy() for gene in space.genes for _ in gene.options]
    places = [(gene, option) for gene, known in enumerate(space.genes) for option in range(len(known.options))]
    for row, (gene, option) in zip(rows, places, strict=True):
        row[gene] = option
    macs = space.cost("macs").evaluate(space.canonical(np.stack(rows)))
    sizes, start = [], 0
    for known in space.genes:
        ranks = np.unique(macs[start : start + len(known.options)], return_inverse=True)[1].astype(np.float64)
        start += len(known.options)
        hangs = any(space.genome.choices[choice].parent is not None for choice, _ in known.drives)
        sizes.append(np.sqrt((ranks + hangs) / max(ranks.max() + hangs, 1.0)))
    return sizes


def stages_of_genes(space: SearchSpace) -> list[int | None]:
    """For every gene the number of the stage (operators of equal output resolution) where most that read it stand.

    None: it is read in half of the stages or more (a resolution, a width of all), or by nothing in the largest network.
    """
    largest = space.decode(space.largest()[None])[0]
    side = {slot: int(operator.output_resolution) for slot, operator in space.network(largest)}
    order = {resolution: number for number, resolution in enumerate(dict.fromkeys(side.values()))}
    read_in: list[Counter[int]] = [Counter() for _ in space.genes]
    for slot in space.slots:
        if slot.name in side:
            for gene in space.slot_genes(slot):
                read_in[gene][order[side[slot.name]]] += 1
    return [
        counts.most_common(1)[0][0] if counts and 2 * len(counts) < max(len(order), 3) else None for counts in read_in
    ]
