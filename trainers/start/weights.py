"""Where the weights of a training come from when they are not fresh: `train.init` carried out."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx

from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import append_line, read_lines
from search_spaces.supernet import Supernet
from trainers.checkpoints.store import load_supernet
from trainers.settings.init import InitSettings
from trainers.start.pretrained import load_pretrained


@dataclass(frozen=True)
class Start:
    """What was loaded: `facts` for supernet.json, `text` for the person watching; a teacher if the source has one."""

    facts: dict[str, Any]
    text: str
    teacher: fx.GraphModule | None = None
    teacher_space: SearchSpace | None = None
    """The space whose largest network the teacher is."""


def load_start(supernet: Supernet, settings: InitSettings) -> Start:
    """Put the start weights into `supernet`. Raises `UserError` if they are not there, are others, or do not fit."""
    found = settings.found_sha256()
    if settings.sha256 not in (None, found):
        raise UserError(
            f"has hash {found[:12]}, but train.init.sha256 is {str(settings.sha256)[:12]}", file=settings.source
        )
    if settings.run is not None:
        return _from_run(supernet, settings.run)
    report = load_pretrained(supernet, settings.source)
    return Start(facts=report.to_json(), text=str(report))


def announce(start: Start, run: Path) -> None:
    """Tell the start weights on stderr and, once, in the run's log."""
    print(f"start weights: {start.text}", file=sys.stderr, flush=True)
    line = {"kind": "start", "step": 0, **start.facts}
    if line not in read_lines(run / "training.jsonl", "training log"):
        append_line(run / "training.jsonl", line)


@torch.no_grad()
def _from_run(supernet: Supernet, run: Path) -> Start:
    """Weights of a run's supernet: all of them, or those of the one network that `supernet` holds."""
    loaded = load_supernet(run)
    ours, theirs = supernet.space, loaded.space
    if ours.fingerprint != theirs.fingerprint:
        raise UserError(
            f"is of space {theirs.fingerprint}, this training of {ours.fingerprint}",
            file=run / "supernet.json",
            key="fingerprint",
            hint="Start weights of a run need the same space, classes and image channels",
        )
    tensors = loaded.supernet.state_dict()
    wanted = {name: tensor.shape for name, tensor in supernet.state_dict().items()}
    if wanted != {name: tensor.shape for name, tensor in tensors.items()}:
        if ours.size != 1:
            raise UserError("holds another part of this space", file=run / "supernet.json", key="space.restriction")
        (architecture,) = ours.decode(ours.largest())
        theirs.encode([architecture], file=run / "supernet.json")
        network = loaded.supernet.extract(architecture)
        tensors = {f"slots.{name}": tensor for name, tensor in network.state_dict().items()}
    supernet.load_state_dict(tensors)
    (largest,) = theirs.decode(theirs.largest())
    facts = {"run": str(run), "sha256": loaded.weights_sha256}
    return Start(facts, f"from the supernet in {run}", loaded.supernet.extract(largest), theirs)
