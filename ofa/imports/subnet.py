"""A published specialised network: its description, and its weights, as a network of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from ofa.export.architecture_file import FILE, ArchitectureFile, Preprocessing, write_architecture_file
from ofa.imports.architectures import from_published, is_published_form, keys_of, published_resolution
from ofa.imports.matching import take
from ofa.imports.names import NAMINGS, PUBLISHED, network_names
from ofa.imports.pth import read_state_dict
from ofa.imports.spaces import title
from ofa.imports.static import fixed_widths, from_net_config, sized
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.common.files import atomic_directory, file_digest, read_json, write_json
from search_spaces.plain import build_network
from trainers.checkpoints.store import weights_digest, write_tensors

SCHEMA = 1
DESCRIBED, WEIGHTS = "subnet.json", "network.safetensors"

#: how the published networks were given their pictures (ImageNet's usual normalisation)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Subnet:
    """`tensors`: by the names of the extracted network, None without weights. `source`: what it was read from."""

    space: SearchSpace
    architecture: Architecture
    tensors: dict[str, Tensor] | None
    source: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)

    def cost(self, metric: str) -> int:
        """`macs` or `params`, exactly."""
        return int(self.space.cost(metric).evaluate(self.space.encode([self.architecture]))[0])

    def network(self) -> GraphModule:
        """The network in eval mode, with the imported weights or fresh ones."""
        network = build_network(self.space, self.architecture)
        if self.tensors is not None:
            network.load_state_dict(self.tensors)
        return network.eval()


def read_subnet(
    path: Path,
    *,
    run_config: Path | None = None,
    resolution: int | None = None,
    weights: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    width_mult: float | None = None,
) -> Subnet:
    """Read a `net.config`, or an architecture in the form `{ks, e, d, image_size}`.

    The resolution comes from the file, from `run_config` or from `resolution`, and the space from `settings` or from
    what is in the files. Raises `UserError` for a network that is of no known space, or weights that are not its own.
    """
    data = read_json(path, "network description")
    if not isinstance(data, dict):
        raise UserError("not a network description", file=path, value=type(data).__name__)
    state = None if weights is None else read_state_dict(weights)
    side = _resolution(data, path, run_config, resolution)
    source: dict[str, Any] = {"file": path.name, "sha256": file_digest(path)}
    training: dict[str, Any] = {}
    if is_published_form(data):
        space = _space_of(data, path, side, state, settings, width_mult)
        architecture = from_published(data, space, resolution=side, file=path)
    elif "blocks" in data:
        space, architecture, training = from_net_config(
            data, file=path, resolution=side, settings=settings, width_mult=width_mult
        )
    else:
        raise UserError(
            "neither a net.config nor an architecture",
            file=path,
            hint='Expected {"name": "MobileNetV3", "blocks": [...], ...} or {"ks": [...], "e": [...], "d": [...]}',
        )
    tensors = None
    if state is not None:
        assert weights is not None
        tensors = _weights(space, architecture, state, weights)
        source["weights"] = {"file": weights.name, "sha256": file_digest(weights)}
    return Subnet(space, architecture, tensors, source, training)


def write_subnet(folder: Path, subnet: Subnet) -> dict[str, Any]:
    """Write the folder in one step: architecture.json, subnet.json and, with weights, network.safetensors.

    Returns the content of subnet.json. Raises `UserError` if the folder holds anything but this same subnet.
    """
    facts = {
        "schema": SCHEMA,
        "space": subnet.space.description,
        "fingerprint": subnet.space.fingerprint,
        "key": subnet.architecture.key,
        "architecture": subnet.architecture.to_json(),
        "resolution": subnet.architecture.resolution,
        "params": subnet.cost("params"),
        "macs": subnet.cost("macs"),
        "source": subnet.source,
        "training": subnet.training,
        "weights_sha256": None if subnet.tensors is None else weights_digest(subnet.tensors),
    }
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / DESCRIBED).exists():
            raise UserError("holds other files than an imported network", file=folder, key="-o")
        if read_json(folder / DESCRIBED, "subnet") != facts:
            raise UserError("this folder already holds another network", file=folder, key="-o")
    with atomic_directory(folder) as new:
        write_architecture_file(new / FILE, _described(subnet))
        if subnet.tensors is not None:
            write_tensors(new / WEIGHTS, subnet.tensors)
        write_json(new / DESCRIBED, facts)
    return facts


def _resolution(data: Mapping[str, Any], path: Path, run_config: Path | None, stated: int | None) -> int:
    """The one resolution that the files and the option tell."""
    told: list[tuple[Path | str, int]] = [] if stated is None else [("--resolution", stated)]
    own = published_resolution(data, file=path)
    if own is not None:
        told.append((path, own))
    if run_config is not None:
        settings = read_json(run_config, "run.config")
        side = published_resolution(settings, file=run_config) if isinstance(settings, dict) else None
        if side is None:
            raise UserError("says no image_size", file=run_config, key="image_size")
        told.append((run_config, side))
    if not told:
        raise UserError(
            "the resolution is not known", file=path, hint="Give its run.config (--run-config), or --resolution"
        )
    if len({side for _, side in told}) > 1:
        raise UserError("; ".join(f"the resolution is {side} by {where}" for where, side in told), file=path)
    return told[0][1]


def _space_of(
    data: Mapping[str, Any],
    path: Path,
    resolution: int,
    state: Mapping[str, Tensor] | None,
    settings: Mapping[str, Any] | None,
    width_mult: float | None,
) -> SearchSpace:
    """The space of an architecture that does not say it: by its keys and lengths, its width by the weights."""
    settings = settings or {"name": PUBLISHED[_family(data, path)]}
    base = get_space(settings)
    if base.family not in NAMINGS:
        raise UserError(f"nothing was published for the family {base.family}", key="--space", value=base.name)
    ends, widths = (base.num_classes, base.in_channels), {}
    if state is not None:
        (largest,) = base.decode(base.largest())
        names = network_names(base, largest, _tensors(base, largest))
        found = {slot: state.get(names.get(f"{slot}.conv.weight", "")) for slot in fixed_widths(base)}
        widths = {
            slot: int(tensor.shape[0]) for slot, tensor in found.items() if tensor is not None and tensor.dim() == 4
        }
        classifier = state.get("classifier.linear.weight")
        if classifier is not None and classifier.dim() == 2:
            ends = int(classifier.shape[0]), ends[1]
    elif width_mult is None and "width_mult" not in settings:
        width_mult = base.settings["width_mult"]
    return sized(settings, resolution, ends, widths, width_mult, file=path)


def _family(data: Mapping[str, Any], path: Path) -> str:
    lengths = {key: len(value) for key, value in data.items() if isinstance(value, list)}
    if "w" in data:
        return "resnet"
    for family in ("mobilenet_v3", "proxyless_nas"):
        space = get_space({"name": PUBLISHED[family]})
        expected = {
            key: sum(choice.group == group for choice in space.genome.choices.values())
            for key, group in keys_of(family).items()
        }
        if lengths.keys() & expected.keys() and all(
            lengths[key] == expected[key] for key in lengths if key in expected
        ):
            return family
    raise UserError("does not tell its space", file=path, hint=f"Give --space: {', '.join(PUBLISHED.values())}")


def _weights(
    space: SearchSpace, architecture: Architecture, state: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """The tensors of a static state dict by the names of the extracted network."""
    ours = _tensors(space, architecture)
    names = network_names(space, architecture, ours)
    wanted = {names[name]: tuple(tensor.shape) for name, tensor in ours.items()}
    taken, _ = take(state, wanted, file=path, of=f"this network of {title(space)}")
    return {name: taken[published] for name, published in names.items()}


def _tensors(space: SearchSpace, architecture: Architecture) -> dict[str, Tensor]:
    """The state dict of an extracted network, without values."""
    with torch.device("meta"):
        return build_network(space, architecture, init=False).state_dict()


def _described(subnet: Subnet) -> ArchitectureFile:
    channels = subnet.space.in_channels
    mean, std = (MEAN, STD) if channels == len(MEAN) else ((0.0,) * channels, (1.0,) * channels)
    preprocessing = Preprocessing(subnet.architecture.resolution, channels, mean, std)
    return ArchitectureFile(subnet.space, subnet.architecture, preprocessing, ())
