"""Networks as the published code describes them in `net.config`: every layer with all of its fields.

`network_config` writes that description of a network of ours, `canonical` brings what was found into the same form
(names of older versions, fields left at their defaults), and `first_difference` compares the two field by field.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofa.imports.names import NAMINGS, module_of
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError, unknown_name
from search_spaces.operators import (
    Bottleneck,
    Classifier,
    Conv,
    MBConv,
    Operator,
    PoolConv,
    ResidualConv,
    make_divisible,
)

#: family -> the published network's class
NETWORKS = {"mobilenet_v3": "MobileNetV3", "proxyless_nas": "ProxylessNASNets", "resnet": "ResNets"}

_ACTIVATIONS = {"relu": "relu", "relu6": "relu6", "hard_swish": "h_swish"}
_RENAMED = {"MBInvertedConvLayer": "MBConvLayer", "MobileInvertedResidualBlock": "ResidualBlock"}
_NORM = {"momentum": 0.1, "eps": 1e-5, "ws_eps": None, "gn_channel_per_group": None}
_ORDER = "weight_bn_act"

#: the fields of every layer that may be left out, with their values then; all others must be there
_DEFAULTS: dict[str, dict[str, Any]] = {
    "ConvLayer": {
        "kernel_size": 3,
        "stride": 1,
        "dilation": 1,
        "groups": 1,
        "bias": False,
        "has_shuffle": False,
        "use_se": False,
        "use_bn": True,
        "act_func": "relu",
        "dropout_rate": 0,
        "ops_order": _ORDER,
    },
    "IdentityLayer": {"use_bn": False, "act_func": None, "dropout_rate": 0, "ops_order": _ORDER},
    "LinearLayer": {"bias": True, "use_bn": False, "act_func": None, "dropout_rate": 0, "ops_order": _ORDER},
    "MBConvLayer": {
        "kernel_size": 3,
        "stride": 1,
        "expand_ratio": 6,
        "mid_channels": None,
        "act_func": "relu6",
        "use_se": False,
        "groups": None,
    },
    "ResNetBottleneckBlock": {
        "kernel_size": 3,
        "stride": 1,
        "expand_ratio": 0.25,
        "mid_channels": None,
        "act_func": "relu",
        "groups": 1,
        "downsample_mode": "avgpool_conv",
    },
    "ResidualBlock": {"shortcut": None},
}


def network_config(space: SearchSpace, architecture: Architecture) -> dict[str, Any]:
    """The `net.config` of a network of `space`, with all fields, as the last published version writes it."""
    naming = NAMINGS[space.family]
    operators = space.network(architecture)
    norms = [operator.norm_eps for _, operator in operators if hasattr(operator, "norm_eps")]
    config: dict[str, Any] = {"name": NETWORKS[space.family], "bn": {**_NORM, "eps": norms[0]}}
    for slot, operator in operators:
        module = module_of(naming, slot)
        if module is None:
            continue
        listed, place, _ = module.partition(".{}")
        layer = _layer(operator, _expand_ratio(architecture, slot, space))
        if place:
            config.setdefault(listed, []).append(layer)
        else:
            config[listed] = layer
    return config


def canonical(config: Mapping[str, Any], *, file: Path) -> dict[str, Any]:
    """A `net.config` with today's names and every field filled in. Raises `UserError` for one of another make."""
    result = dict(_canonical(config, "", file))
    family = next((family for family, name in NETWORKS.items() if name == config.get("name")), None)
    if family is None:
        raise unknown_name("network", config.get("name"), NETWORKS.values(), file=file, key="name")
    norm = result.setdefault("bn", {"eps": 1e-3 if family == "proxyless_nas" else 1e-5})
    if not isinstance(norm, dict):
        raise UserError("must be the settings of batch norm", file=file, key="bn", value=norm)
    result["bn"] = {**_NORM, **norm}
    if not isinstance(result.get("blocks"), list):
        raise UserError("must be the list of the network's blocks", file=file, key="blocks")
    return result


def first_difference(found: Any, expected: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """(key, value found, value expected) of the first field that is not as expected."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in [*expected, *(name for name in found if name not in expected)]:
            inner = f"{key}.{name}" if key else str(name)
            difference = first_difference(found.get(name, MISSING), expected.get(name, MISSING), inner)
            if difference is not None:
                return difference
        return None
    if isinstance(found, list) and isinstance(expected, list):
        pairs = zip(found, expected, strict=False)
        differences = (first_difference(a, b, f"{key}[{number}]") for number, (a, b) in enumerate(pairs))
        first = next((difference for difference in differences if difference is not None), None)
        return first or (None if len(found) == len(expected) else (key, len(found), len(expected)))
    same = found == expected and isinstance(found, bool) == isinstance(expected, bool)
    return None if same else (key, found, expected)


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()


def _layer(operator: Operator, expand_ratio: float) -> dict[str, Any]:
    channels = {"in_channels": int(operator.in_channels), "out_channels": int(operator.out_channels)}
    if isinstance(operator, Classifier):
        features = {"in_features": channels["in_channels"], "out_features": channels["out_channels"]}
        return {"name": "LinearLayer", **features, **_DEFAULTS["LinearLayer"], "dropout_rate": operator.dropout}
    identity = {"name": "IdentityLayer", **channels, **_DEFAULTS["IdentityLayer"]}
    if isinstance(operator, Conv | PoolConv):
        layer = {"name": "ConvLayer", **channels, **_DEFAULTS["ConvLayer"]}
        layer["act_func"] = _ACTIVATIONS[operator.activation]
        if isinstance(operator, PoolConv):
            return {**layer, "kernel_size": 1, "use_bn": False}
        layer |= {"kernel_size": operator.kernel_size, "stride": operator.stride}
        residual = isinstance(operator, ResidualConv)
        return {"name": "ResidualBlock", "conv": layer, "shortcut": identity} if residual else layer
    assert isinstance(operator, MBConv | Bottleneck)
    fields = {
        "kernel_size": int(operator.kernel_size),
        "stride": int(operator.stride),
        "expand_ratio": expand_ratio,
        "mid_channels": int(operator.mid_channels),
        "act_func": _ACTIVATIONS[operator.activation],
    }
    if isinstance(operator, Bottleneck):
        return {
            "name": "ResNetBottleneckBlock",
            **channels,
            **_DEFAULTS["ResNetBottleneckBlock"],
            **fields,
        }
    fields["use_se"] = operator.se_channels > 0
    conv = {"name": "MBConvLayer", **channels, **_DEFAULTS["MBConvLayer"], **fields}
    return {"name": "ResidualBlock", "conv": conv, "shortcut": identity if operator.residual else None}


def _expand_ratio(architecture: Architecture, slot: str, space: SearchSpace) -> Any:
    """The expand ratio of a block of a stage; 1 elsewhere."""
    stages = [slot.name for slot in space.slots if slot.name.startswith("stage")]
    ratios = architecture.values["expand"]
    assert isinstance(ratios, tuple)
    return ratios[stages.index(slot)] if slot in stages else 1


def _canonical(value: Any, key: str, file: Path) -> Any:
    if isinstance(value, list):
        return [_canonical(entry, f"{key}[{number}]", file) for number, entry in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    renamed = {"conv" if name == "mobile_inverted_conv" else name: entry for name, entry in value.items()}
    layer = {name: _canonical(entry, f"{key}.{name}" if key else name, file) for name, entry in renamed.items()}
    if not key or "name" not in layer:
        return layer
    layer["name"] = _RENAMED.get(layer["name"], layer["name"]) if isinstance(layer["name"], str) else layer["name"]
    if layer["name"] not in _DEFAULTS:
        raise unknown_name("layer", layer["name"], _DEFAULTS, file=file, key=f"{key}.name")
    layer = {**_DEFAULTS[layer["name"]], **layer}
    if layer["name"] == "IdentityLayer":  # earlier versions wrote [24] for 24
        for name in ("in_channels", "out_channels"):
            entry = layer.get(name)
            layer[name] = entry[0] if isinstance(entry, list) and len(entry) == 1 else entry
    if layer["name"] in ("MBConvLayer", "ResNetBottleneckBlock"):
        _fill_middle(layer, key, file)
    return layer


def _fill_middle(layer: dict[str, Any], key: str, file: Path) -> None:
    """The middle channels that the published code builds where they are left out, and its depthwise groups."""
    for name in ("in_channels", "out_channels", "expand_ratio"):
        if isinstance(layer.get(name), bool) or not isinstance(layer.get(name), int | float):
            raise UserError("must be a number", file=file, key=f"{key}.{name}", value=layer.get(name))
    bottleneck = layer["name"] == "ResNetBottleneckBlock"
    if layer["mid_channels"] is None:
        middle = round(layer["out_channels" if bottleneck else "in_channels"] * layer["expand_ratio"])
        layer["mid_channels"] = int(make_divisible(middle)) if bottleneck else middle
    if not bottleneck and layer["groups"] == layer["mid_channels"]:
        layer["groups"] = None
