"""Which images of the selection split a subnet gets right: what the noise of its accuracy is estimated from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from search_spaces.common.errors import UserError
from search_spaces.common.files import append_line, read_lines

if TYPE_CHECKING:
    from search_spaces import Architecture
    from trainers.checkpoints.store import LoadedSupernet
    from trainers.data import ImageData

Correct = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Answer:
    """For every image of the split, in its order, whether the network is right; and its mean loss in nats."""

    correct: Correct
    loss: float

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())

    @property
    def num_images(self) -> int:
        return len(self.correct)


class AnswerBook:
    """The answers on file, one JSON line a network; the unknown is evaluated and appended.

    `identity` says which supernet and which images they are of: lines of others are left alone.
    """

    def __init__(self, path: Path, evaluate: Callable[[Architecture], Answer], *, identity: Mapping[str, str]) -> None:
        self._path, self._evaluate, self._identity = path, evaluate, dict(identity)
        self._known: dict[str, Answer] = {}
        for number, line in enumerate(read_lines(path, "answers file"), start=1):
            if isinstance(line, dict) and all(line.get(name) == value for name, value in self._identity.items()):
                self._known.setdefault(str(line.get("key")), _answer(line, f"{path}: line {number}"))

    def __contains__(self, architecture: Architecture) -> bool:
        return architecture.key in self._known

    def __call__(self, architecture: Architecture) -> Answer:
        if architecture not in self:
            answer = self._evaluate(architecture)
            append_line(self._path, {"key": architecture.key, **_line(answer), **self._identity})
            self._known[architecture.key] = answer
        return self._known[architecture.key]


def answer(supernet: LoadedSupernet, architecture: Architecture, data: ImageData, *, batch_size: int) -> Answer:
    """Evaluate a subnet on the selection split, as `evaluate_architecture` does, image by image."""
    import torch
    import torch.nn.functional as F

    from trainers.evaluation.evaluate import specialize
    from trainers.evaluation.recalibration import pieces

    network = specialize(supernet, architecture, data, batch_size=batch_size).eval()
    network.to(memory_format=torch.channels_last)
    device = next(network.parameters()).device
    correct, loss = [], 0.0
    with torch.inference_mode():
        for x, labels in data.batches(
            "selection", resolution=architecture.resolution, batch_size=batch_size, device=device
        ):
            parts = pieces(x)
            for part, wanted in zip(parts, labels.split(len(parts[0])), strict=True):
                logits = network(part).float()
                correct.append((logits.argmax(dim=1) == wanted).cpu().numpy())
                loss += F.cross_entropy(logits, wanted, reduction="sum").double().item()
    found = np.concatenate(correct)
    return Answer(found, loss / len(found))


def _line(answer: Answer) -> dict[str, Any]:
    return {
        "num_images": answer.num_images,
        "loss": answer.loss if math.isfinite(answer.loss) else None,
        "correct": np.packbits(answer.correct).tobytes().hex(),
    }


def _answer(line: dict[str, Any], where: str) -> Answer:
    num, loss, text = line.get("num_images"), line.get("loss"), line.get("correct")
    try:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UserError("must be hexadecimal digits, a bit an image", file=where, key="correct") from None
    if isinstance(num, bool) or not isinstance(num, int) or num < 1 or len(bits) != -(-num // 8) * 8:
        raise UserError("is not the number of bits of correct", file=where, key="num_images", value=num)
    return Answer(bits[:num].astype(bool), math.inf if loss is None else float(loss))
