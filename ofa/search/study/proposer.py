"""What proposes the next networks to evaluate for real: a small protocol, so that samplers and predictors are alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from search_spaces.genome import Population


@dataclass(frozen=True)
class History:
    """What a study knows when it asks for more networks. Rows are canonical and in the order they were started."""

    population: Population
    """(num, num_genes) networks whose accuracy is known, each once, whichever worker evaluated them."""
    accuracies: npt.NDArray[np.float64]
    """(num,) in 0..1 on the selection split."""
    pending: Population
    """(num_pending, num_genes) networks that other workers are evaluating now."""
    stream: tuple[int, ...]
    """Seeds the proposal's random numbers, with the study's seed: other numbers for every proposal and worker, and the
    same again when a worker that was killed goes on from the same history.
    """

    def __len__(self) -> int:
        return len(self.accuracies)


class Proposer(Protocol):
    """Proposes networks; all that it remembers between calls is `history`, so that workers can come and go.

    The study sees to the rest, so a proposer need not care: rows over a limit are repaired, a network that is known or
    pending is passed over, what is on file is told and not evaluated, and a proposer that has nothing new to offer is
    helped out by neighbours of what it proposed.
    """

    def propose(self, history: History, num: int) -> Population:
        """Up to `num` rows (num, num_genes), the one to evaluate first in front; no rows: nothing more to try."""
