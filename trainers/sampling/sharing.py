"""Which first operators the subnets of a step have in common, so that they are computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from search_spaces import Architecture, SearchSpace
from trainers.sampling.sampler import Subnet
from trainers.settings.phase import PhaseSettings


@dataclass(frozen=True)
class Shared:
    """Subnets `members` (numbers in the step) begin with the same `num` operators, at the same resolution."""

    members: tuple[int, ...]
    num: int


def shared_starts(
    space: SearchSpace,
    subnets: Sequence[Subnet],
    settings: PhaseSettings,
    limit: Callable[[Architecture], int] | None = None,
) -> list[Shared]:
    """The groups of subnets that share their start. `limit` says how many first operators of a network may be shared.

    Where gradients of the largest subnet and of the others are to be told apart, the largest shares nothing.
    """
    members: dict[int, list[int]] = {}
    for number, subnet in enumerate(subnets):
        if not (settings.conflicts == "project" and subnet.role == "largest"):
            members.setdefault(subnet.architecture.resolution, []).append(number)
    found = []
    for numbers in members.values():
        architectures = [subnets[number].architecture for number in numbers]
        num = num_shared(space, architectures) if len(numbers) > 1 else 0
        if limit is not None:
            num = min(num, limit(architectures[0]))
        if num > 0:
            found.append(Shared(tuple(numbers), num))
    return found


def num_shared(space: SearchSpace, architectures: Sequence[Architecture]) -> int:
    """How many operators, from the first on, all these networks have in common."""
    networks = [space.network(architecture) for architecture in architectures]
    shared = 0
    while all(len(network) > shared and network[shared] == networks[0][shared] for network in networks):
        shared += 1
    return shared
