"""Networks drawn to hold a ranking against: a list of their own, none of which any predictor was fitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from predictors.sampling import record_list
from search_spaces.common.errors import UserError

if TYPE_CHECKING:
    from predictors.record_file import Records
    from predictors.settings import Sampling
    from search_spaces import SearchSpace

Rows = npt.NDArray[np.int64]

#: With fewer networks than this, intervals are as wide as what they are about.
MIN_NETWORKS = 8
#: Sets the list apart from that of the records, which is drawn with the run's seed itself.
_OWN = 10**9


def fresh_networks(space: SearchSpace, records: Records, num: int, *, seed: int, sampling: Sampling) -> Rows:
    """(num, num_genes) networks, in an order fixed by the space and `seed`; those on file for other ends are left out.

    So the same networks come again, and a larger `num` appends, whatever else is recorded meanwhile. They spread as the
    sampled records do; in place of nested groups, whose members are no independent evidence, networks are drawn alone.
    Fewer than `num` where the space has no more. Raises `UserError` if that leaves fewer than `MIN_NETWORKS`.
    """
    if num < MIN_NETWORKS:
        raise UserError(f"a ranking is judged by at least {MIN_NETWORKS} networks", key="-n", value=num)
    taken = {key for key, origin in zip(records.keys, records.origins, strict=True) if origin != "rank"}
    spread: Sampling = "uniform" if sampling == "uniform" else "stratified"
    rows = record_list(space, num + len(taken) + 2, seed=_OWN + seed, sampling=spread)[2:]  # the first are both ends
    free = [position for position, one in enumerate(space.decode(rows)) if one.key not in taken][:num]
    if len(free) < MIN_NETWORKS:
        raise UserError(
            f"only {len(free)} of the {space.size} networks of {space.name} took no part in fitting or searching; a "
            f"ranking is judged by at least {MIN_NETWORKS}",
            key="-n",
            value=num,
        )
    return rows[free]
