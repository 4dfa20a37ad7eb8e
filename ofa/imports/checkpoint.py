"""A published supernet state dict as a supernet of ours, and the reverse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ofa.imports.matching import take
from ofa.imports.names import NAMINGS, supernet_names
from ofa.imports.pth import read_state_dict, write_state_dict
from ofa.imports.spaces import Layout, identify, layout, title
from ofa.imports.subnet import MEAN, STD
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.common.files import file_digest, read_json
from search_spaces.supernet import Supernet
from trainers.checkpoints.store import load_supernet, save_supernet, weights_digest

if TYPE_CHECKING:
    from trainers.settings.train import TrainingConfig

_NORMALISATION = (
    f"the supernets published with once-for-all take pixels normalised by mean {list(MEAN)} and std {list(STD)}; this "
    "config has others: for one of those, set data.mean and data.std"
)

#: settings that change no tensor of the supernet
_FREE = ("resolution", "dropout", "coupling")


@dataclass(frozen=True)
class PublishedSupernet:
    """A state dict with every tensor placed. `tensors` are by the names of `Supernet(space)`; `notes`: what was filled
    in.
    """

    space: SearchSpace
    tensors: dict[str, Tensor]
    notes: tuple[str, ...]
    source: dict[str, str]

    @property
    def weights_sha256(self) -> str:
        return weights_digest(self.tensors)

    def supernet(self) -> Supernet:
        """In eval mode, with a copy of the weights."""
        with torch.device("meta"):
            supernet = Supernet(self.space)
        supernet.to_empty(device="cpu").load_state_dict(self.tensors)
        return supernet.eval()


def read_supernet(
    path: Path, *, settings: Mapping[str, Any] | None = None, width_mult: float | None = None
) -> PublishedSupernet:
    """Read a published supernet: of the space `settings`, or the published one that its names and shapes tell.

    Raises `UserError` unless every tensor of the file and of the space is accounted for.
    """
    found = read_state_dict(path)
    wanted = identify(found, file=path, settings=settings, width_mult=width_mult)
    hint = "A supernet with options of its own needs --space CONFIG.yaml" if settings is None else None
    return _placed(found, wanted, path, hint=hint)


def read_supernet_of(path: Path, space: SearchSpace) -> PublishedSupernet:
    """Read a published supernet of exactly `space` (its classes and image channels too).

    Raises `UserError` that says what differs: settings, where the file is of another published space; else tensors.
    """
    if space.family not in NAMINGS:
        raise UserError(f"nothing was published for the family {space.family}", key="space.name", value=space.name)
    found = read_state_dict(path)
    wanted = layout(space)
    try:
        return _placed(found, wanted, path)
    except UserError as mismatch:
        try:
            other = _placed(found, identify(found, file=path), path).space
        except UserError:
            raise mismatch from None
    raise UserError(
        f"is a supernet of {title(other)}, which is not the space of this config: {_differences(other, space)}",
        file=path,
        hint=_hint(other, space),
    )


def write_folder(
    folder: Path, published: PublishedSupernet, *, data: Mapping[str, Any], info: Mapping[str, Any]
) -> None:
    """Write supernet.safetensors and supernet.json into `folder`, as a training would leave them after 0 steps.

    At once if they are there already. Raises `UserError` if the folder holds another supernet, or a training.
    """
    described = folder / "supernet.json"
    facts = {"data": {**data, "imported": published.source}, "step": 0, **info}
    if described.exists():
        held = read_json(described, "supernet description")
        same = isinstance(held, dict) and held.get("weights_sha256") == published.weights_sha256
        if same and all(held.get(key) == value for key, value in facts.items() if key != "data"):
            load_supernet(folder)  # whole, too
            return
        raise UserError("this folder already holds another supernet", file=described, hint="Choose another folder")
    if (folder / "checkpoints").is_dir() and any((folder / "checkpoints").glob("step-*")):
        raise UserError("a training has begun in this folder", file=folder, hint="Choose another name for this run")
    save_supernet(folder, published.supernet(), published.space, facts)


def read_for_run(path: Path, config: TrainingConfig, run: Path) -> tuple[PublishedSupernet, dict[str, Any]]:
    """A published supernet as the finished training of `config` in `run`, and what `write_folder` needs for that.

    The images of the config are loaded: its splits calibrate and select. Raises `UserError` if the config's space, or
    the number of classes of its data, is not that of the file, and if the run belongs to other settings.
    """
    from trainers.data import load_data
    from trainers.settings.train import training_inputs
    from trainers.training import check_same_training

    check_same_training(config, run)
    data = load_data(config.data, seed=config.seed)
    space = get_space(config.space, num_classes=data.num_classes, in_channels=data.in_channels)
    published = read_supernet_of(path, space)
    if data.in_channels == len(MEAN) and not np.allclose([data.mean, data.std], [MEAN, STD], atol=0.005):
        published = replace(published, notes=(*published.notes, _NORMALISATION))
    info = {"seed": config.seed, "inputs": json.loads(json.dumps(training_inputs(config)))}
    return published, {"data": data.description(), "info": info}


def export_supernet(folder: Path, path: Path) -> tuple[SearchSpace, int]:
    """Write the supernet of a run or folder as a published state dict; (its space, number of tensors)."""
    loaded = load_supernet(folder)
    if loaded.space.family not in NAMINGS:
        raise UserError(f"nothing was published for the family {loaded.space.family}", file=folder)
    tensors = published_tensors(loaded.supernet)
    write_state_dict(path, tensors)
    return loaded.space, len(tensors)


def published_tensors(supernet: Supernet) -> dict[str, Tensor]:
    """The weights of a supernet by their published names."""
    ours = supernet.state_dict()
    names = supernet_names(supernet.space, ours)
    return {names[name]: tensor for name, tensor in ours.items()}


def _placed(found: Mapping[str, Tensor], wanted: Layout, path: Path, *, hint: str | None = None) -> PublishedSupernet:
    taken, notes = take(found, wanted.shapes, file=path, of=title(wanted.space), hint=hint)
    tensors = {ours: taken[name] for ours, name in wanted.names.items()}
    return PublishedSupernet(wanted.space, tensors, tuple(notes), {"file": path.name, "sha256": file_digest(path)})


def _differences(theirs: SearchSpace, wanted: SearchSpace) -> str:
    pairs = [("family", theirs.family, wanted.family)]
    if theirs.family == wanted.family:
        pairs = [(key, theirs.settings[key], wanted.settings[key]) for key in theirs.settings if key not in _FREE]
        pairs += [(key, getattr(theirs, key), getattr(wanted, key)) for key in ("num_classes", "in_channels")]
    return "; ".join(f"{key} is {there!r} in the file and {here!r} here" for key, there, here in pairs if there != here)


def _hint(theirs: SearchSpace, wanted: SearchSpace) -> str:
    if theirs.num_classes != wanted.num_classes:
        return "A supernet keeps its classifier: the data set needs the same classes in the same order"
    return "Set these under `space:` in the config"
