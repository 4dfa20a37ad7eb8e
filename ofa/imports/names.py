"""The names of tensors in published once-for-all state dicts, beside ours. Data, and the few rules that read it.

A published name is that of a module, a layer in it and a tensor of the layer:
`blocks.3.conv` + `inverted_bottleneck.conv` + `weight`. In a supernet an elastic layer wraps an ordinary one, which
doubles the last word (`inverted_bottleneck.conv.conv.weight`, `...bn.bn.bias`, `classifier.linear.linear.bias`); the
networks cut out of it have the single word, and so have supernets' layers that are not elastic. Both were published,
as was `mobile_inverted_conv` for what is called `conv` today, so both are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from search_spaces import Architecture, SearchSpace

#: the published space of each family
PUBLISHED = {
    "mobilenet_v3": "ofa_mobilenet_v3",
    "proxyless_nas": "ofa_proxyless_nas",
    "resnet": "ofa_resnet50",
}

#: our layer in a block -> the published layer in its module; of single layers, inverted residuals and bottlenecks
LAYERS = {
    "conv": "conv",
    "norm": "bn",
    "linear": "linear",
}
INVERTED_RESIDUAL = {
    "expand_conv": "inverted_bottleneck.conv",
    "expand_norm": "inverted_bottleneck.bn",
    "depth_conv": "depth_conv.conv",
    "depth_norm": "depth_conv.bn",
    "se.reduce": "depth_conv.se.fc.reduce",
    "se.expand": "depth_conv.se.fc.expand",
    "project_conv": "point_linear.conv",
    "project_norm": "point_linear.bn",
}
BOTTLENECK = {
    "reduce_conv": "conv1.conv",
    "reduce_norm": "conv1.bn",
    "middle_conv": "conv2.conv",
    "middle_norm": "conv2.bn",
    "expand_conv": "conv3.conv",
    "expand_norm": "conv3.bn",
    "shortcut_conv": "downsample.conv",
    "shortcut_norm": "downsample.bn",
}

_STAGE = re.compile(r"stage\d+_block\d+")
_TRANSFORM = re.compile(r"transform_(\d+to\d+)")


@dataclass(frozen=True)
class Naming:
    """How a family's published networks call the modules that are our slots.

    `modules`: slot -> module; `block`: the module of every block of a stage. `{}` is the place in the published list,
    counted from 0 over the slots that a network has. `layers`: our layer -> the layer in the module.
    `all_elastic`: whether every layer of the supernet is elastic, or those of the stages only.
    """

    modules: Mapping[str, str]
    block: str
    layers: Mapping[str, str]
    all_elastic: bool = False


NAMINGS = {
    "mobilenet_v3": Naming(
        modules={
            "stem": "first_conv",
            "first": "blocks.{}.conv",
            "final_expand": "final_expand_layer",
            "feature_mix": "feature_mix_layer",
            "classifier": "classifier",
        },
        block="blocks.{}.conv",
        layers=LAYERS | INVERTED_RESIDUAL,
    ),
    "proxyless_nas": Naming(
        modules={
            "stem": "first_conv",
            "first": "blocks.{}.conv",
            "feature_mix": "feature_mix_layer",
            "classifier": "classifier",
        },
        block="blocks.{}.conv",
        layers=LAYERS | INVERTED_RESIDUAL,
    ),
    "resnet": Naming(
        modules={
            "stem1": "input_stem.{}",
            "stem2": "input_stem.{}.conv",
            "stem3": "input_stem.{}",
            "classifier": "classifier",
        },
        block="blocks.{}",
        layers=LAYERS | BOTTLENECK,
        all_elastic=True,
    ),
}


def supernet_names(space: SearchSpace, ours: Iterable[str]) -> dict[str, str]:
    """{our name in `Supernet(space).state_dict()`: the published name}."""
    naming = NAMINGS[space.family]
    modules = _modules(naming, [slot.name for slot in space.slots])
    result = {}
    for name in ours:
        _, slot, rest = name.split(".", 2)
        elastic = naming.all_elastic or slot not in naming.modules
        result[name] = _published(naming, modules[slot], rest, elastic=elastic)
    return result


def network_names(space: SearchSpace, architecture: Architecture, ours: Iterable[str]) -> dict[str, str]:
    """{our name in the state dict of an extracted network: the name in the published static network}."""
    naming = NAMINGS[space.family]
    modules = _modules(naming, [slot for slot, _ in space.network(architecture)])
    result = {}
    for name in ours:
        slot, rest = name.split(".", 1)
        result[name] = _published(naming, modules[slot], rest, elastic=False)
    return result


def module_of(naming: Naming, slot: str) -> str | None:
    """The published module of a slot, with `{}` for its place in a list; None for slots without tensors."""
    return naming.block if _STAGE.fullmatch(slot) else naming.modules.get(slot)


def modern(name: str) -> str:
    """A name as the last published version writes it: without the prefix of DataParallel, and with today's words."""
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name.replace(".mobile_inverted_conv.", ".conv.")


def single(name: str) -> str:
    """The name with the word that an elastic layer doubles written once."""
    for word in ("conv", "bn", "linear"):
        name = re.sub(rf"\.{word}\.{word}\.(?=\w+$)", f".{word}.", name)
    return name


def is_transform(published: str) -> bool:
    """Whether this is a kernel transformation matrix; static networks have none."""
    return published.endswith("_matrix")


def is_counter(published: str) -> bool:
    """Whether this counts the batches a norm has seen; checkpoints of the first releases of torch have none."""
    return published.endswith(".num_batches_tracked")


def _modules(naming: Naming, slots: Iterable[str]) -> dict[str, str]:
    """slot -> published module, for the slots of one network in order; slots without tensors are left out."""
    result: dict[str, str] = {}
    places: dict[str, int] = {}
    for slot in slots:
        module = module_of(naming, slot)
        if module is not None:
            listed = module.partition("{}")[0]
            result[slot] = module.format(places.get(listed, 0))
            places[listed] = places.get(listed, 0) + 1
    return result


def _published(naming: Naming, module: str, ours: str, *, elastic: bool) -> str:
    """The published name of our tensor `ours` (`depth_conv.transform_7to5`) in the module of its slot."""
    layer, _, tensor = ours.rpartition(".")
    published = naming.layers[layer]
    transform = _TRANSFORM.fullmatch(tensor)
    if transform is not None:
        return f"{module}.{published}.{transform[1]}_matrix"
    word = published.rpartition(".")[2]
    doubled = f".{word}" if elastic and word in ("conv", "bn", "linear") else ""
    return f"{module}.{published}{doubled}.{tensor}"
