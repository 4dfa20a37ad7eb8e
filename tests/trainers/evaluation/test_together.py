"""Subnets evaluated together score what they score alone, to the last bit, and share the work."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from search_spaces import Architecture, SearchSpace
from search_spaces.supernet import Supernet, build_supernet
from trainers.data import ImageData
from trainers.evaluation.evaluate import evaluate_architecture
from trainers.evaluation.together import cost_of_sharing, evaluate_together


@pytest.fixture(scope="module")
def supernet(space: SearchSpace) -> Supernet:
    supernet = build_supernet(space, seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return supernet


@pytest.fixture(scope="module")
def related(space: SearchSpace) -> list[Architecture]:
    """Eight networks whose last genes differ, one of them twice, and two of other resolutions."""
    rng = np.random.default_rng(0)
    rows = np.repeat(space.sample(1, rng), 8, axis=0)
    rows[:, -4:] = space.sample(8, rng)[:, -4:]
    others = np.stack([space.smallest(), space.largest()])
    return space.decode(space.canonical(np.concatenate([rows, rows[:1], others])))


@pytest.mark.parametrize("memory_limit", [None, 0, 300_000])
def test_scores_are_those_of_each_alone(
    supernet: Supernet, related: list[Architecture], data: ImageData, memory_limit: int | None
) -> None:
    alone = [evaluate_architecture(supernet, architecture, data, batch_size=7) for architecture in related]
    assert evaluate_together(supernet, related, data, batch_size=7, memory_limit=memory_limit) == alone
    assert len({evaluation.loss for evaluation in alone}) > 3


def test_common_operators_run_once(
    supernet: Supernet, related: list[Architecture], data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    real = Supernet.block

    def counting(self: Supernet, name: str, *args: object, **kwargs: object) -> object:
        made.append(name)
        return real(self, name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Supernet, "block", counting)
    evaluate_together(supernet, related, data)
    assert made.count("stem") == len({architecture.resolution for architecture in related})
    networks = [supernet.space.network(architecture) for architecture in related]
    distinct = {tuple(network[: end + 1]) for network in networks for end in range(len(network))}
    assert len(made) == len(distinct) < sum(map(len, networks))


def test_cost_of_sharing(space: SearchSpace, related: list[Architecture]) -> None:
    network = space.network(related[0])
    assert cost_of_sharing([network]) == 1
    assert cost_of_sharing([network] * 4) == pytest.approx(0.25)
    assert 0.2 < cost_of_sharing([space.network(a) for a in related]) < 1


def test_supernet_and_the_test_split_are_left_alone(
    supernet: Supernet, related: list[Architecture], data: ImageData
) -> None:
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    evaluate_together(supernet, related[:2], data)
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())
    with pytest.raises(ValueError, match="test split is read once"):
        evaluate_together(supernet, related[:1], data, split="test")  # type: ignore[arg-type]
