"""The accuracy of an exported file: computed by the file itself, as its users will run it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ofa.export.failures import reason_of
from ofa.export.forms.base import Predict
from ofa.export.forms.registry import get_form
from ofa.export.job import ExportJob
from ofa.export.settings import ExportSettings
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest
from trainers.data import ImageData
from trainers.data.test_ledger import is_scored, score_once, stored_score
from trainers.evaluation.evaluate import evaluate_network

#: the form whose file is scored: the first of these that was exported, deployable ones first
PREFERENCE = ("onnx", "pt2", "safetensors")


class _Exported(nn.Module):
    """A form's function where a module is asked for."""

    def __init__(self, predict: Predict) -> None:
        super().__init__()
        self.predict = lambda images: predict(images)  # a module would become a part of this one, and be set to eval

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(x)


def scored_form(forms: Iterable[str]) -> str:
    """Which of `forms` is scored for the network."""
    available = list(forms)
    return next((name for name in PREFERENCE if name in available), available[0])


def selection_score(
    predict: Predict, form: str, data: ImageData, *, resolution: int, batch_size: int
) -> dict[str, Any]:
    """{"accuracy", "loss", "num_images", "form"} of a loaded form on the selection split, accuracy in 0..1."""
    batches = data.batches("selection", resolution=resolution, batch_size=batch_size)
    return {**asdict(evaluate_network(_Exported(predict), batches)), "form": form}


def network_score(network: nn.Module, data: ImageData, *, resolution: int, batch_size: int) -> dict[str, Any]:
    """{"accuracy", "loss", "num_images"} of the network in memory: what a form in fewer bits is compared with."""
    batches = data.batches("selection", resolution=resolution, batch_size=batch_size)
    return asdict(evaluate_network(network, batches))


def test_keys(job: ExportJob, settings: ExportSettings, forms: Sequence[str]) -> dict[str, str]:
    """What the ledger knows each form by: one key for every file of other numbers.

    The network's own key is that of the form which is scored for it, if that is exact. Forms that are not depend on
    what they are calibrated on and for.
    """
    first, keys = scored_form(forms), {}
    for name in forms:
        if get_form(name).exact:
            keys[name] = job.test_key if name == first else f"{job.test_key}/{name}"
        else:
            quantization = job.quantization.model_dump(mode="json") if name == "mcu" else None
            setup = digest([settings.num_calibration_images, quantization])[:8]
            keys[name] = f"{job.test_key}/{name}-{setup}"
    return keys


def test_scores(
    job: ExportJob, folder: Path, forms: Sequence[str], *, settings: ExportSettings
) -> dict[str, dict[str, Any] | None]:
    """As `selection_score` on the test split, by form, each read once: what has a score in the ledger keeps it.

    A network that may not read the split, and has not been scored on it by anyone, gets None. To compute the same
    weights in yet another form chooses nothing.
    """
    split_sha256 = job.data.split_sha256["test"]
    keys = test_keys(job, settings, forms)
    may_read = job.read_test or is_scored(job.ledger, key=job.test_key, split_sha256=split_sha256)
    scores: dict[str, dict[str, Any] | None] = {}
    for name in forms:
        # the network's key may have been read with another exact file: one of this form's own comes first
        own = (f"{job.test_key}/{name}", keys[name])
        known = (stored_score(job.ledger, key=key, split_sha256=split_sha256) for key in own)
        stored = next((score for score in known if score is not None), None)
        if stored is None and may_read:
            stored = _read(job, folder, name, key=keys[name], batch_size=settings.batch_size)
        scores[name] = None if stored is None else {**stored, "num_images": int(stored["num_images"]), "form": name}
    return scores


def _read(job: ExportJob, folder: Path, form: str, *, key: str, batch_size: int) -> dict[str, float]:
    def score(batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        return {name: float(value) for name, value in asdict(evaluate_network(module, batches)).items()}

    module, side = _Exported(get_form(form).load(folder)), job.architecture.resolution
    try:
        return score_once(job.data, key=key, ledger=job.ledger, resolution=side, batch_size=batch_size, score=score)
    except (UserError, OSError):
        raise
    except Exception as error:  # it has computed the selection split: the machine is the reason, not the file
        message = f"the form {form!r} could not be computed on the test split: {reason_of(error)}"
        raise UserError(message, hint="The reading is in the ledger; run the same command again") from error
