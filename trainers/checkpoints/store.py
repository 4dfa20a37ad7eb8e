"""The two kinds of weight files: resumable checkpoints of a run, and the finished supernet. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest, file_digest, read_json, write_bytes, write_json

if TYPE_CHECKING:
    from search_spaces.supernet import Supernet

SCHEMA = 1
_STEM = re.compile(r"step-(\d{8,})\.(safetensors|json)")


@dataclass(frozen=True)
class Checkpoint:
    """The state after `step` steps: all tensors, and everything else as JSON in `info`."""

    step: int
    tensors: dict[str, Tensor]
    info: dict[str, Any]
    path: Path


@dataclass(frozen=True)
class LoadedSupernet:
    """A trained supernet; `info` is the content of its supernet.json."""

    supernet: Supernet
    space: SearchSpace
    weights_sha256: str
    info: dict[str, Any]


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write a safetensors file atomically; returns its sha256."""
    data = safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def read_tensors(path: Path, what: str) -> dict[str, Tensor]:
    """Read a safetensors file. Raises `UserError` if it is missing, truncated or anything else than safetensors."""
    try:
        return safetensors.torch.load(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"no such {what}", file=path) from None
    except OSError as error:
        raise UserError(f"this {what} cannot be read: {error.strerror or error}", file=path) from error
    except safetensors.SafetensorError as error:
        raise UserError(
            f"this {what} is truncated, damaged or not a safetensors file ({error})",
            file=path,
            hint="Weights are read from safetensors only; pickled files are refused",
        ) from None


def weights_digest(tensors: Mapping[str, Tensor]) -> str:
    """A sha256 of names, shapes and values, whatever file or device holds them."""
    result = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        result.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}\n".encode())
        result.update(tensor.view(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return result.hexdigest()


def write_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, Tensor], info: Mapping[str, Any], *, keep: int
) -> None:
    """Write tensors, then the JSON that vouches for them by their hash; a checkpoint without its JSON does not exist.

    Older checkpoints but the last `keep` are deleted, and any later ones: they were damaged, or this run would
    not be here. The one before this stays in any case: the next step may show that this state was none to keep.
    """
    stem = f"step-{step:08d}"
    sha256 = write_tensors(folder / f"{stem}.safetensors", tensors)
    described = json.loads(json.dumps({"schema": SCHEMA, "step": step, "sha256": sha256, **info}))
    write_json(folder / f"{stem}.json", {**described, "info_sha256": digest(described)})
    steps = sorted({number for number, _ in _files(folder)}, reverse=True)
    kept = [number for number in steps if number <= step][: max(2, keep)]
    for number, path in sorted(_files(folder), key=lambda item: item[1].suffix):  # .json goes before .safetensors
        if number not in kept:
            path.unlink(missing_ok=True)


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps there are checkpoints of, whole or not."""
    return sorted(step for step, path in _files(folder) if path.suffix == ".json")


def discard_checkpoints(folder: Path, *, first: int) -> None:
    """Delete the checkpoints of step `first` and later."""
    for step, path in sorted(_files(folder), key=lambda item: item[1].suffix):  # .json goes before .safetensors
        if step >= first:
            path.unlink(missing_ok=True)


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[UserError]]:
    """The newest checkpoint that is whole, and what is wrong with newer ones.

    Raises `UserError` if there are checkpoints but none is whole: starting over silently would hide the loss.
    """
    problems: list[UserError] = []
    described = sorted((path for _, path in _files(folder) if path.suffix == ".json"), reverse=True)
    for path in described:
        try:
            return _read_checkpoint(path), problems
        except UserError as error:
            problems.append(error)
    if problems:
        raise UserError(
            f"none of the {len(problems)} checkpoints can be read; the newest: {problems[0]}",
            file=folder,
            hint="Restore one, or delete this folder to train from the start",
        )
    return None, []


def save_supernet(
    run: Path, supernet: Supernet, space: SearchSpace, info: Mapping[str, Any], *, name: str = "supernet"
) -> None:
    """Write NAME.safetensors and, last, the NAME.json that vouches for it (supernet.json: the training is finished)."""
    tensors = {key: tensor.detach().cpu() for key, tensor in supernet.state_dict().items()}
    write_tensors(run / f"{name}.safetensors", tensors)
    write_json(
        run / f"{name}.json",
        {
            "schema": SCHEMA,
            "space": space.description,
            "fingerprint": space.fingerprint,
            "weights_sha256": weights_digest(tensors),
            **info,
        },
    )


def load_supernet(run: Path, *, name: str = "supernet") -> LoadedSupernet:
    """The trained supernet of a run folder, in eval mode on the CPU; or what else `save_supernet` wrote there.

    Raises `UserError` for a missing, truncated or pickled file, a damaged description, or weights of another space.
    """
    from search_spaces.supernet import build_supernet

    described, weights = Path(run) / f"{name}.json", Path(run) / f"{name}.safetensors"
    if not described.exists():
        raise UserError("no trained supernet here", file=run, hint="Train it first: ofa train CONFIG")
    info = read_json(described, "supernet description")
    if not isinstance(info, dict) or info.get("schema") != SCHEMA:
        found = info.get("schema") if isinstance(info, dict) else None
        raise UserError(f"not a supernet description of schema {SCHEMA}", file=described, key="schema", value=found)
    for key, kind in (("space", dict), ("fingerprint", str), ("weights_sha256", str), ("data", dict)):
        if not isinstance(info.get(key), kind):
            raise UserError("missing from this supernet description, or of the wrong type", file=described, key=key)
    space = SearchSpace.from_description(info["space"], file=described)
    if space.fingerprint != info["fingerprint"]:
        raise UserError(
            f"is of space {info['fingerprint']}, but its description builds {space.fingerprint}",
            file=described,
            key="fingerprint",
        )
    tensors = read_tensors(weights, "supernet")
    supernet = build_supernet(space)
    check_tensors(tensors, supernet.state_dict(), file=weights)
    found = weights_digest(tensors)
    if found != info["weights_sha256"]:
        raise UserError(
            f"these weights have hash {found[:12]}, but {described.name} was written for {info['weights_sha256'][:12]}",
            file=weights,
            hint="One of the two files was replaced or damaged",
        )
    supernet.load_state_dict(tensors)
    return LoadedSupernet(supernet=supernet.eval(), space=space, weights_sha256=found, info=info)


def check_tensors(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, file: Path) -> None:
    """Raise `UserError` unless names and shapes agree."""
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or extra:
        parts = [
            f"{len(names)} {kind} (first: {names[0]})"
            for kind, names in (("missing", missing), ("unknown", extra))
            if names
        ]
        raise UserError(f"holds weights of another space: tensors {', '.join(parts)}", file=file)
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            raise UserError(
                f"holds weights of another space: shape {tuple(found[name].shape)} instead of {tuple(tensor.shape)}",
                file=file,
                key=name,
            )


def read_description(path: Path) -> dict[str, Any]:
    """What a checkpoint's JSON says. Raises `UserError` if it is not what was written."""
    info = read_json(path, "checkpoint description")
    if not isinstance(info, dict) or info.get("schema") != SCHEMA or not isinstance(info.get("step"), int):
        raise UserError(f"not a checkpoint description of schema {SCHEMA}", file=path)
    expected = info.pop("info_sha256", None)
    if (expected is not None and digest(info) != expected) or f"step-{info['step']:08d}" != path.stem:
        raise UserError("damaged: not the description that was written", file=path)
    return info


def _read_checkpoint(path: Path) -> Checkpoint:
    info = read_description(path)
    weights = path.with_suffix(".safetensors")
    if not weights.exists():
        raise UserError("its tensors are gone", file=weights)
    if file_digest(weights) != info.get("sha256"):
        raise UserError("truncated or damaged: not the file that was written", file=weights)
    return Checkpoint(step=info["step"], tensors=read_tensors(weights, "checkpoint"), info=info, path=weights)


def _files(folder: Path) -> list[tuple[int, Path]]:
    """(step, path) of every checkpoint file."""
    found = ((_STEM.fullmatch(path.name), path) for path in folder.iterdir()) if folder.is_dir() else ()
    return [(int(match[1]), path) for match, path in found if match]
