"""Evaluation of subnets: extract, recalibrate, score; statistics cached under weights, architecture and split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.supernet import Supernet, build_supernet
from trainers.data import ImageData
from trainers.evaluation import evaluate
from trainers.evaluation.evaluate import evaluate_architecture, evaluate_network, specialize


@pytest.fixture(scope="module")
def supernet(space: SearchSpace) -> Supernet:
    return build_supernet(space, seed=0)


def test_scores_are_those_of_the_specialised_network(supernet: Supernet, space: SearchSpace, data: ImageData) -> None:
    (architecture,) = space.decode(space.smallest())
    network = specialize(supernet, architecture, data)
    ((x, labels),) = data.batches("selection", resolution=architecture.resolution, batch_size=1000)
    logits = network(x)
    result = evaluate_architecture(supernet, architecture, data, batch_size=7)
    assert result.num_images == data.size("selection") == len(x)
    assert result.accuracy == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert result.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-4)


def test_supernet_is_left_alone(supernet: Supernet, space: SearchSpace, data: ImageData) -> None:
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    evaluate_architecture(supernet, space.decode(space.largest())[0], data)
    for name, tensor in supernet.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_cache(
    supernet: Supernet, space: SearchSpace, data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    real = evaluate.recalibrate

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(evaluate, "recalibrate", counting)
    largest, smallest = (space.decode(row)[0] for row in (space.largest(), space.smallest()))
    first = specialize(supernet, largest, data, tmp_path)
    again = specialize(supernet, largest, data, tmp_path)
    assert len(calls) == 1
    for name, tensor in first.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    specialize(supernet, smallest, data, tmp_path)
    assert len(calls) == 2
    (entry,) = [path for path in tmp_path.iterdir() if largest.key in path.name]
    entry.write_bytes(entry.read_bytes()[:-7])  # damaged: computed anew, and mended
    specialize(supernet, largest, data, tmp_path)
    assert len(calls) == 3
    specialize(supernet, largest, data, tmp_path)
    assert len(calls) == 3
    other = build_supernet(space, seed=1)
    assert not torch.equal(
        specialize(other, largest, data, tmp_path).get_parameter("classifier.linear.weight"),
        first.get_parameter("classifier.linear.weight"),
    )
    assert len(calls) == 4  # other weights, other statistics


def test_test_split_is_refused(supernet: Supernet, space: SearchSpace, data: ImageData) -> None:
    with pytest.raises(UserError, match="test split is read once"):
        evaluate_architecture(supernet, space.decode(space.largest())[0], data, split="test")


def test_accuracy_and_loss_of_known_logits() -> None:
    network = torch.nn.Identity()
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    result = evaluate_network(network, [(logits[:2], torch.tensor([0, 1])), (logits[2:], torch.tensor([1]))])
    assert result.accuracy == pytest.approx(2 / 3) and result.num_images == 3
    assert result.loss == pytest.approx(F.cross_entropy(logits, torch.tensor([0, 1, 1])).item())
