"""The accuracy of an exported file: computed by the file itself, as its users will run it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ofa.export.forms.base import Predict
from ofa.export.forms.registry import get_form
from trainers.data import ImageData
from trainers.data.test_ledger import score_once, stored_score
from trainers.evaluation.evaluate import evaluate_network

#: the form whose file is scored: the first of these that was exported, deployable ones first
PREFERENCE = ("onnx", "pt2", "safetensors")


class _Exported(nn.Module):
    """A form's function where a module is asked for."""

    def __init__(self, predict: Predict) -> None:
        super().__init__()
        self.predict = predict

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(x)


def scored_form(forms: Iterable[str]) -> str:
    """Which of `forms` is scored."""
    available = list(forms)
    return next((name for name in PREFERENCE if name in available), available[0])


def selection_score(folder: Path, form: str, data: ImageData, *, resolution: int, batch_size: int) -> dict[str, Any]:
    """{"accuracy", "loss", "num_images", "form"} on the selection split, accuracy in 0..1."""
    batches = data.batches("selection", resolution=resolution, batch_size=batch_size)
    return {**asdict(evaluate_network(_Exported(get_form(form).load(folder)), batches)), "form": form}


def form_accuracy(
    network: nn.Module, folder: Path, form: str, data: ImageData, *, resolution: int, batch_size: int
) -> dict[str, Any]:
    """What a form in integers loses: {"form", "network"}, the scores of both on the selection split."""
    batches = data.batches("selection", resolution=resolution, batch_size=batch_size)
    found = selection_score(folder, form, data, resolution=resolution, batch_size=batch_size)
    return {"form": found, "network": asdict(evaluate_network(network, batches))}


def final_test_score(
    folder: Path, form: str, data: ImageData, *, resolution: int, batch_size: int, ledger: Path, key: str
) -> dict[str, Any]:
    """The same on the test split, read once per network: a network that has a score in `ledger` keeps it."""

    def score(batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        return {name: float(value) for name, value in asdict(evaluate_network(module, batches)).items()}

    module = _Exported(get_form(form).load(folder))
    stored = score_once(data, key=key, ledger=ledger, resolution=resolution, batch_size=batch_size, score=score)
    return {**stored, "num_images": int(stored["num_images"]), "form": form}


def known_test_score(data: ImageData, *, ledger: Path, key: str) -> dict[str, Any] | None:
    """The test score of a network that has one, without reading the test split."""
    stored = stored_score(ledger, key=key, split_sha256=data.split_sha256["test"])
    return None if stored is None else {**stored, "num_images": int(stored["num_images"])}
