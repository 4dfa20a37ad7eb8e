"""Start weights: a published checkpoint file in the largest subnet of a supernet, wherever shapes allow it.

Layers are matched by their place (stem, stage and depth, head). Equal shapes are copied; a smaller kernel is put into
the middle of a larger one, and of a larger one the middle is taken; of channels the first ones. Where the supernet is
larger than the checkpoint, what reads a channel that the checkpoint does not have starts at zero, and so does the last
norm of a block that it does not have: the largest subnet then computes what the published network computed (a network
grown without changing its function, as in Chen et al., "Net2Net", https://arxiv.org/abs/1511.05641).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search_spaces.common.errors import UserError
from search_spaces.common.files import file_digest
from search_spaces.common.state_dicts import read_state_dict_file
from search_spaces.operators import Bottleneck, MBConv, Operator
from search_spaces.supernet import Supernet
from trainers.checkpoints.store import read_tensors
from trainers.start.pretrained_names import Block, Published, read_structure
from trainers.start.transformers import NAMING, is_transformer, our_names, silence_missing_blocks, transformer_tensors

_STAGE = re.compile(r"stage(\d+)_block(\d+)")
#: our slot -> the layers of a published network that belong in it, by family; first the slots all families have
_SINGLE = {
    "stem": {"conv": "stem.conv", "norm": "stem.norm"},
    "stem1": {"conv": "stem1.conv", "norm": "stem1.norm"},
    "stem3": {"conv": "stem3.conv", "norm": "stem3.norm"},
    "final_expand": {"conv": "head.conv", "norm": "head.norm"},
    "classifier": {"linear": "classifier"},
}
_FEATURE_MIX = {"mobilenet_v3": {"conv": "mix.conv"}, "proxyless_nas": {"conv": "head.conv", "norm": "head.norm"}}


@dataclass
class StartReport:
    """What became of every weight: tensors and parameters taken from the file, or left at their fresh values."""

    file: str
    sha256: str
    naming: str
    tensors: Counter[str] = field(default_factory=Counter)
    params: Counter[str] = field(default_factory=Counter)
    partial: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "sha256": self.sha256,
            "naming": self.naming,
            "tensors": {key: self.tensors[key] for key in ("loaded", "partial", "fresh")},
            "params": {key: self.params[key] for key in ("loaded", "zeroed", "fresh")},
            "partial": self.partial,
            "fresh": self.fresh,
            "unused": self.unused,
        }

    def __str__(self) -> str:
        tensors, params = self.tensors, self.params
        return (
            f"from {self.file}: {tensors['loaded']} tensors loaded, {tensors['partial']} in part, "
            f"{tensors['fresh']} fresh; of {params.total():,} parameters {params['loaded']:,} are the file's, "
            f"{params['zeroed']:,} start at zero, {params['fresh']:,} are fresh"
            + (f"; {len(self.unused)} layers of the file have no place here" if self.unused else "")
        )


def read_weights_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or, opened as tensors only, of a file of torch.save."""
    return read_tensors(path, "weights file") if path.suffix == ".safetensors" else read_state_dict_file(path)


@torch.no_grad()
def load_pretrained(supernet: Supernet, path: Path) -> StartReport:
    """Put the weights of a checkpoint file into the largest subnet of `supernet`, most important channels first.

    Raises `UserError` if the file is no checkpoint, is of no known naming, or if no layer of it fits.
    """
    tensors = read_weights_file(path)
    if is_transformer(tensors) or supernet.space.family == "vision_transformer":
        return _load_transformer(supernet, tensors, path)
    published = read_structure(tensors)
    if published is None:
        raise UserError(
            "its layers are named as in no network known here",
            file=path,
            hint=f"MBConv networks and ResNets of timm and torchvision are; its first name: {next(iter(tensors))}",
        )
    _check_finite(tensors, path)
    report = StartReport(str(path), file_digest(path), published.naming)
    (largest,) = supernet.space.decode(supernet.space.largest())
    used: set[int] = set()
    comparable = (supernet.space.family == "resnet") == (published.naming == "ResNet")
    for slot, operator in supernet.space.network(largest) if comparable else ():
        block = _block_for(slot, operator, supernet.space.family, published)
        for name, tensor in _tensors(supernet, slot):
            layer, _, part = name.rpartition(".")
            source = block.get(layer, {}).get(part)
            if source is None:
                _count(report, f"{slot}.{name}", tensor, taken=0)
                continue
            taken, zeroed = _place(tensor, source.to(tensor), layer)
            _count(report, f"{slot}.{name}", tensor, taken=taken, zeroed=zeroed, whole=tensor.numel() == source.numel())
            if taken:
                used.add(id(source))
        if not block and _is_deeper(slot, operator, published):
            _silence(supernet, slot, operator, report)
    if not report.params["loaded"]:
        raise _nothing_fits(published.naming, supernet, path)
    supernet.sort_channels()
    report.unused = published.unknown + _left_over(published, used)
    return report


def _load_transformer(supernet: Supernet, tensors: Mapping[str, Tensor], path: Path) -> StartReport:
    if not is_transformer(tensors) or supernet.space.family != "vision_transformer":
        raise _nothing_fits(NAMING if is_transformer(tensors) else "no vision transformer", supernet, path)
    _check_finite(tensors, path)
    found = transformer_tensors(tensors, supernet, path)
    report = StartReport(str(path), file_digest(path), NAMING)
    for name, tensor in supernet.slots.state_dict(keep_vars=True).items():
        taken = found.get(name)
        if taken is not None:
            tensor.copy_(taken)
        _count(report, name, tensor, taken=0 if taken is None else tensor.numel(), whole=taken is not None)
    zeroed = silence_missing_blocks(supernet, tensors)
    report.params["zeroed"] += zeroed
    report.params["fresh"] -= zeroed
    report.unused = [name for name in tensors if not any(ours in found for ours in our_names(name))]
    supernet.sort_channels()
    return report


def _nothing_fits(naming: str, supernet: Supernet, path: Path) -> UserError:
    return UserError(
        f"no layer of this file ({naming}) fits the space {supernet.space.name}",
        file=path,
        key="train.init.file",
        hint="Leave train.init out, or take a checkpoint of the space's own kind of network",
    )


def _check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    if bad := [name for name, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]:
        raise UserError("numbers that are not finite (NaN or infinity)", file=path, key=bad[0])


def _block_for(slot: str, operator: Operator, family: str, published: Published) -> Block:
    """The published layers that belong in a slot, by our names; nothing where the two blocks are of different kinds."""
    match = _STAGE.fullmatch(slot)
    if match is None and slot != "first":
        wanted = _FEATURE_MIX.get(family, {}) if slot == "feature_mix" else _SINGLE.get(slot, {})
        return {ours: published.single[theirs] for ours, theirs in wanted.items() if theirs in published.single}
    stage, place = (0, 0) if match is None else (int(match[1]), int(match[2]) - 1)
    stage -= family == "resnet"  # in the others the first block is a stage of its own
    if stage >= len(published.stages) or place >= len(published.stages[stage]):
        return {}
    block = published.stages[stage][place]
    if isinstance(operator, MBConv) and operator.expansion != ("expand_conv" in block):
        return {}
    return block


def _tensors(supernet: Supernet, slot: str) -> Iterator[tuple[str, Tensor]]:
    """Weights and statistics of a slot; kernel transformations stay the identity, which is exact."""
    for name, tensor in supernet.slots[slot].state_dict(keep_vars=True).items():
        if not name.endswith("num_batches_tracked") and ".transform_" not in name:
            yield name, tensor


def _place(target: Tensor, source: Tensor, layer: str) -> tuple[int, int]:
    """Copy what fits; (numbers taken from `source`, numbers set to zero)."""
    if layer == "linear" and len(target) != len(source):
        return 0, 0  # other classes: nothing of theirs is ours
    if target.ndim == 1:
        num = min(len(target), len(source))
        target[:num] = source[:num]
        return num, 0
    if target.ndim == 4 and source.ndim == 2:  # a linear layer after the pooling is a 1x1 convolution
        source = source[:, :, None, None]
    if layer == "conv" and source.shape[1] == 3 and target.shape[1] == 1:  # grey images: the same grey in all channels
        source = source.sum(dim=1, keepdim=True)
    rows, columns = (min(ours, theirs) for ours, theirs in zip(target.shape[:2], source.shape[:2], strict=True))
    taken = rows * columns
    if target.ndim == 4:
        side, edge = min(target.shape[-1], source.shape[-1]), target.shape[-1] - source.shape[-1]
        if edge % 2:
            return 0, 0
        source = torch.nn.functional.pad(source, [edge // 2] * 4)  # a negative padding cuts
        taken *= side**2
    target[:rows] = 0
    target[:rows, :columns] = source[:rows, :columns]
    return taken, target[:rows].numel() - taken


def _is_deeper(slot: str, operator: Operator, published: Published) -> bool:
    """Whether this block only adds to its input, in a stage that the published network has with fewer blocks."""
    match = _STAGE.fullmatch(slot)
    if match is None:
        return False
    adds = operator.residual if isinstance(operator, MBConv) else isinstance(operator, Bottleneck)
    stage = int(match[1]) - isinstance(operator, Bottleneck)
    deeper = stage < len(published.stages) and int(match[2]) > len(published.stages[stage])
    return bool(adds and deeper)


def _silence(supernet: Supernet, slot: str, operator: Operator, report: StartReport) -> None:
    """Let a block begin as the identity: its last norm gives zero."""
    norm: Any = supernet.slots[slot].get_submodule("project_norm" if isinstance(operator, MBConv) else "expand_norm")
    norm.weight.zero_()
    report.params["zeroed"] += norm.weight.numel()
    report.params["fresh"] -= norm.weight.numel()


def _count(report: StartReport, name: str, tensor: Tensor, *, taken: int, zeroed: int = 0, whole: bool = False) -> None:
    state = "fresh" if not taken else "loaded" if whole and taken == tensor.numel() else "partial"
    report.tensors[state] += 1
    if state != "loaded":
        getattr(report, state).append(name)
    if isinstance(tensor, torch.nn.Parameter):
        report.params["loaded"] += taken
        report.params["zeroed"] += zeroed
        report.params["fresh"] += tensor.numel() - taken - zeroed


def _left_over(published: Published, used: set[int]) -> list[str]:
    """Layers of the file of which nothing was taken."""
    layers = dict(published.single)
    for number, stage in enumerate(published.stages):
        for place, block in enumerate(stage):
            layers |= {f"stage {number} block {place} {name}": layer for name, layer in block.items()}
    return [name for name, layer in layers.items() if not any(id(tensor) in used for tensor in layer.values())]
