"""How published checkpoints of MBConv networks and ResNets call their layers, and the one structure they all are.

Names as timm (`efficientnet`, `mobilenetv3`, `resnet` and their variants), torchvision (`mobilenet_v2`, `mobilenet_v3`,
`efficientnet`, `resnet`) and the first PyTorch ports of EfficientNet write them. What the layers of a block are is told
by their shapes; names only say which belong together, and in which order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

#: the tensors of one layer: weight, bias, running_mean, running_var
Layer = dict[str, Tensor]
#: layers of a block by the names they have in our blocks (`depth_conv`, `project_norm`, ...)
Block = dict[str, Layer]


@dataclass(frozen=True)
class Naming:
    """`block`: the start of the names of a block, with groups `stage` (if they are numbered by stage) and `place`.

    `layers`: patterns of the names of all other layers -> what they are.
    """

    block: str
    layers: Mapping[str, str]


NAMINGS: Mapping[str, Naming] = {
    "timm MBConv": Naming(
        r"blocks\.(?P<stage>\d+)\.(?P<place>\d+)\.",
        {
            "conv_stem": "stem.conv",
            "bn1": "stem.norm",
            "conv_head": "head.conv",
            "bn2": "head.norm",
            "classifier": "classifier",
        },
    ),
    "EfficientNet port": Naming(
        r"_blocks\.(?P<place>\d+)\.",
        {
            "_conv_stem": "stem.conv",
            "_bn0": "stem.norm",
            "_conv_head": "head.conv",
            "_bn1": "head.norm",
            "_fc": "classifier",
        },
    ),
    "torchvision EfficientNet": Naming(
        r"features\.(?P<stage>\d+)\.(?P<place>\d+)\.block\.",
        {
            r"features\.0\.0": "stem.conv",
            r"features\.0\.1": "stem.norm",
            r"features\.\d+\.0": "head.conv",
            r"features\.\d+\.1": "head.norm",
            r"classifier\.1": "classifier",
        },
    ),
    "torchvision MobileNet": Naming(
        r"features\.(?P<place>\d+)\.(block|conv)\.",
        {
            r"features\.0\.0": "stem.conv",
            r"features\.0\.1": "stem.norm",
            r"features\.\d+\.0": "head.conv",
            r"features\.\d+\.1": "head.norm",
            r"classifier\.0": "mix.conv",
            r"classifier\.[13]": "classifier",
        },
    ),
    "ResNet": Naming(
        r"layer(?P<stage>\d+)\.(?P<place>\d+)\.",
        {
            r"conv1\.0": "stem1.conv",
            r"conv1\.1": "stem1.norm",
            r"conv1\.6": "stem3.conv",
            "bn1": "stem3.norm",
            "fc": "classifier",
        },
    ),
}


@dataclass(frozen=True)
class Published:
    """A checkpoint as a stem, stages of blocks, and a head. `unknown`: names that have no place in these."""

    naming: str
    single: dict[str, Layer]
    stages: list[list[Block]]
    unknown: list[str] = field(default_factory=list)


def read_structure(tensors: Mapping[str, Tensor]) -> Published | None:
    """The structure of a state dict, by the naming that knows blocks in it; None if no naming does."""
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    layers: dict[str, Layer] = {}
    for name in sorted(tensors, key=_natural):
        owner, _, part = name.rpartition(".")
        if part != "num_batches_tracked":
            layers.setdefault(owner, {})[part] = tensors[name]
    for title, naming in NAMINGS.items():
        blocks: dict[tuple[int, int], dict[str, Layer]] = {}
        single: dict[str, Layer] = {}
        unknown: list[str] = []
        for name, layer in layers.items():
            if match := re.match(naming.block, name + "."):
                numbers = match.groupdict()
                place = int(numbers.get("stage") or 0), int(numbers["place"])
                blocks.setdefault(place, {})[name[match.end() :]] = layer
            elif role := next((r for pattern, r in naming.layers.items() if re.fullmatch(pattern, name)), None):
                single[role] = layer
            else:
                unknown.append(name)
        if blocks:
            return _arranged(title, single, blocks, unknown, by_stage="<stage>" in naming.block)
    return None


def _arranged(
    title: str, single: dict[str, Layer], blocks: dict[tuple[int, int], Block], unknown: list[str], *, by_stage: bool
) -> Published:
    stages: list[list[Block]] = []
    stage_before, width_before = None, None
    for (stage, _), named in sorted(blocks.items()):
        block = _bottleneck(named) if title == "ResNet" else _inverted_residual(named)
        if block is None:
            convolutions = [layer for layer in named.values() if layer["weight"].ndim == 4]
            if len(convolutions) == 1 and len(named) == 2:  # a convolution that is listed as a block: the head's first
                if "head.conv" in single:
                    single["mix.conv"] = single.pop("head.conv")
                single["head.conv"] = convolutions[0]
                single["head.norm"] = next(layer for layer in named.values() if layer["weight"].ndim == 1)
            else:
                unknown += list(named)
            continue
        last = block["expand_conv" if title == "ResNet" else "project_conv"]["weight"]
        new = stage != stage_before if by_stage else len(last) != width_before
        if new:
            stages.append([])
        stages[-1].append(block)
        stage_before, width_before = stage, len(last)
    if "stem3.norm" in single and "stem3.conv" not in single:  # a stem of one wide convolution, which has no place here
        del single["stem3.norm"]
        unknown.append("bn1")
    return Published(title, single, stages, unknown)


def _inverted_residual(named: Mapping[str, Layer]) -> Block | None:
    """[1x1 expansion], depthwise, [squeeze-excite], 1x1 projection; None for any other block."""
    norms = [layer for layer in named.values() if "running_mean" in layer]
    convolutions = [layer for layer in named.values() if layer["weight"].ndim == 4]
    depthwise = [layer for layer in convolutions if layer["weight"].shape[1] == 1 and layer["weight"].shape[2] > 1]
    squeeze = [layer for layer in convolutions if "bias" in layer]
    pointwise = [layer for layer in convolutions if layer["weight"].shape[2] == 1 and "bias" not in layer]
    if len(depthwise) != 1 or len(pointwise) not in (1, 2) or len(norms) != 1 + len(pointwise):
        return None
    block = {"depth_conv": depthwise[0], "depth_norm": norms[-2], "project_conv": pointwise[-1]}
    block["project_norm"] = norms[-1]
    if len(pointwise) == 2:
        block |= {"expand_conv": pointwise[0], "expand_norm": norms[0]}
    if len(squeeze) == 2:
        reduce, expand = sorted(squeeze, key=lambda layer: len(layer["weight"]))
        block |= {"se.reduce": reduce, "se.expand": expand}
    return block


def _bottleneck(named: Mapping[str, Layer]) -> Block | None:
    """1x1, 3x3 and 1x1 convolution, [shortcut convolution]; None for any other block."""
    if "conv3" not in named or named["conv2"]["weight"].shape[1] != len(named["conv1"]["weight"]):
        return None  # of two convolutions, or grouped
    block = {"reduce_conv": named["conv1"], "reduce_norm": named["bn1"]}
    block |= {"middle_conv": named["conv2"], "middle_norm": named["bn2"]}
    block |= {"expand_conv": named["conv3"], "expand_norm": named["bn3"]}
    for name, layer in named.items():
        if name.startswith("downsample"):
            block["shortcut_conv" if layer["weight"].ndim == 4 else "shortcut_norm"] = layer
    return block


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts `blocks.10` after `blocks.2`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
