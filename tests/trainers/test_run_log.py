"""TensorBoard and `training.jsonl` say the same, each of them once, also of a run that was killed and resumed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from search_spaces.common.files import read_lines
from trainers.accounting import Ledger
from trainers.evaluation.evaluate import Evaluation
from trainers.loss_watch import LossWatch, StepRecord
from trainers.run_log import RunLog

PHASE: Any = SimpleNamespace(settings=SimpleNamespace(name="all"), index=0)
ROLES = ("largest", "smallest")


def train(run: Path, start: int, end: int, *, evaluate_at: tuple[int, ...] = (), killed: bool = False) -> None:
    """Steps `start`..`end` of an invented training whose numbers follow from the step alone."""
    watch = LossWatch(num_classes=10, factor=None)
    log = RunLog(run, watch, start=start, every=2, batch_size=8, writes=True, ledger=Ledger())
    for step in range(start, end):
        subnets: Any = [SimpleNamespace(role=role, architecture=SimpleNamespace(key=role)) for role in ROLES]
        losses = torch.tensor([1.0, 2.0]) / (1 + step)
        log.step(StepRecord(step, PHASE, 0.1, subnets, losses, torch.tensor(0.5 + step), 1000 * (step + 1)))
        if step + 1 in evaluate_at and log.evaluation_of(step + 1) is None:
            scores = {role: (role, Evaluation(accuracy=0.01 * step, loss=1.5, num_images=100)) for role in ROLES}
            log.evaluation(step + 1, PHASE, scores)
    if not killed:
        log.close()


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(run / "tensorboard"), tensor_size_guidance={"scalars": 0})
    events.Reload()
    told = events.PluginTagToContent("scalars")
    return {tag: [(e.step, float(make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)] for tag in told}


def in_log(run: Path, kind: str) -> list[int]:
    return [line["step"] for line in read_lines(run / "training.jsonl", "log") if line["kind"] == kind]


def test_everything_there_is_to_follow_is_shown(tmp_path: Path) -> None:
    train(tmp_path, 0, 6, evaluate_at=(6,))
    shown = scalars(tmp_path)
    single = {"learning_rate", "images_per_second", "data_share", "training_macs", "gradient_norm"}
    by_role = {f"{name}/{role}" for name in ("loss", "selection_accuracy", "selection_loss") for role in ROLES}
    assert set(shown) == single | by_role
    assert shown["training_macs"] == [(2, 2000), (4, 4000), (6, 6000)]
    assert shown["loss/smallest"][0] == (2, 1.0)
    assert shown["selection_accuracy/largest"] == [(6, pytest.approx(0.05))]


@pytest.mark.parametrize("checkpoint", [4, 5])
def test_a_resumed_run_shows_every_point_once_and_loses_none(tmp_path: Path, checkpoint: int) -> None:
    train(tmp_path, 0, 9, evaluate_at=(4, 8), killed=True)  # the last checkpoint is older than what is logged
    train(tmp_path, checkpoint, 12, evaluate_at=(4, 8, 12))
    shown = scalars(tmp_path)
    assert [step for step, _ in shown["loss/largest"]] == in_log(tmp_path, "step") == [2, 4, 6, 8, 10, 12]
    assert [step for step, _ in shown["selection_loss/largest"]] == in_log(tmp_path, "evaluation") == [4, 8, 12]


def test_roles_share_a_chart(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

    train(tmp_path, 0, 2, evaluate_at=(2,))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (event,) = events.Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    tags = {chart.title: list(chart.multiline.tag) for category in layout.category for chart in category.chart}
    assert tags["accuracy by role"] == ["^selection_accuracy/.*"]
