"""Which architecture of which space a published `net.config` describes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ofa.imports.names import NAMINGS, PUBLISHED, module_of
from ofa.imports.net_config import MISSING, NETWORKS, canonical, first_difference, network_config
from ofa.imports.spaces import stated_width, title, width_multiplier
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.space import Slot


def from_net_config(
    config: Mapping[str, Any],
    *,
    file: Path,
    resolution: int,
    settings: Mapping[str, Any] | None = None,
    width_mult: float | None = None,
) -> tuple[SearchSpace, Architecture, dict[str, Any]]:
    """(space, architecture, training-time fields) of a `net.config`.

    The space is the published one of its family at the width its channels tell, or `settings`. Every field is compared
    with the network of the space; only the classifier's dropout, which the space decides, is given back instead. Raises
    `UserError` naming the first field that differs.
    """
    found = canonical(config, file=file)
    family = next(family for family, name in NETWORKS.items() if name == found["name"])
    settings = dict(settings or {"name": PUBLISHED[family]})
    if get_space(settings).family != family:
        raise UserError(f"is a {found['name']}, which is no network of {settings['name']}", file=file, key="--space")
    space = sized(settings, resolution, _ends(found, family, file), _widths(found, family), width_mult, file=file)
    reader = _Reader(found, space, resolution, file)
    architecture = reader.architecture()
    expected = canonical(network_config(space, architecture), file=file)
    dropout = found["classifier"].get("dropout_rate") if isinstance(found.get("classifier"), dict) else None
    if isinstance(dropout, int | float) and not isinstance(dropout, bool) and 0 <= dropout < 1:
        expected["classifier"]["dropout_rate"] = dropout
    difference = first_difference(found, expected)
    if difference is not None:
        key, value, wanted = difference
        raise UserError(
            f"no network of {title(space)}: this is {value!r}, and {wanted!r} there",
            file=file,
            key=key,
            hint="This field is not known" if wanted is MISSING else None,
        )
    return space, architecture, {"dropout": dropout, "momentum": found["bn"]["momentum"]}


def sized(
    settings: Mapping[str, Any],
    resolution: int,
    ends: tuple[int, int],
    widths: Mapping[str, int],
    width_mult: float | None,
    *,
    file: Path,
) -> SearchSpace:
    """The space of `settings` with this resolution among its options, these (classes, image channels) and the width
    that explains `widths` (channels by slot, of slots that are in every network).
    """
    base = get_space({**settings, "width_mult": 1.0})
    fixed = fixed_widths(base)
    known = {slot: channels for slot, channels in widths.items() if slot in fixed}
    stated, settings = stated_width(settings, width_mult), dict(settings)
    if known:
        inferred, agree = width_multiplier([fixed[slot] for slot in known], list(known.values()))
        if stated is None:
            stated = inferred
        there = fixed_widths(get_space({**settings, "width_mult": stated}))
        if agree == len(known) and any(there[slot] != channels for slot, channels in known.items()):
            raise UserError(f"has width {inferred:g}, not {float(stated):g}", file=file, key="--width-mult")
    if stated is not None:
        settings["width_mult"] = stated
    options = get_space(settings).settings["resolution"]
    settings["resolution"] = sorted({*options, resolution})
    return get_space(settings, *ends)


def fixed_widths(space: SearchSpace) -> dict[str, int]:
    """The channels of the slots that are the same in every network, but the classifier's."""
    result = {}
    (largest,) = space.decode(space.largest())
    (smallest,) = space.decode(space.smallest())
    there = dict(space.network(smallest))
    for slot, operator in space.network(largest)[:-1]:
        if slot in NAMINGS[space.family].modules and there.get(slot, operator).out_channels == operator.out_channels:
            result[slot] = int(operator.out_channels)
    return result


def _ends(found: Mapping[str, Any], family: str, file: Path) -> tuple[int, int]:
    """(num_classes, in_channels)."""
    stem = found.get("first_conv") if family != "resnet" else next(iter(_list(found, "input_stem", file)), None)
    numbers = []
    for key, layer, name in (("classifier", found.get("classifier"), "out_features"), ("stem", stem, "in_channels")):
        number = layer.get(name) if isinstance(layer, dict) else None
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise UserError("must be a positive number", file=file, key=f"{key}.{name}", value=number)
        numbers.append(number)
    return numbers[0], numbers[1]


def _widths(found: Mapping[str, Any], family: str) -> dict[str, int]:
    """Slot -> channels, of the modules that stand alone."""
    layers = {slot: found.get(module) for slot, module in NAMINGS[family].modules.items() if "{}" not in module}
    widths = {slot: layer.get("out_channels") for slot, layer in layers.items() if isinstance(layer, dict)}
    return {slot: width for slot, width in widths.items() if isinstance(width, int)}


def _list(found: Mapping[str, Any], key: str, file: Path) -> list[Any]:
    value = found.get(key)
    if not isinstance(value, list):
        raise UserError("must be a list of layers", file=file, key=key)
    return value


class _Reader:
    """Finds the architecture of `space` that comes nearest to a canonical `net.config`."""

    def __init__(self, found: Mapping[str, Any], space: SearchSpace, resolution: int, file: Path) -> None:
        self.found, self.file, self.resolution = found, file, resolution
        self.space = space.restrict(resolution=[resolution])
        self.stages: dict[int, list[Slot]] = {}
        for slot in self.space.slots:
            if slot.name.startswith("stage"):
                self.stages.setdefault(int(slot.name[len("stage") :].partition("_")[0]) - 1, []).append(slot)
        naming = NAMINGS[space.family]
        listed = [slot.name for slot in self.space.slots if (module_of(naming, slot.name) or "").startswith("blocks.")]
        self.before = sum(not name.startswith("stage") for name in listed)
        self.blocks = _list(found, "blocks", file)

    def architecture(self) -> Architecture:
        depths, active = self._depths()
        values: dict[str, Any] = {"resolution": self.resolution, "depth": depths}
        groups = {choice.group for choice in self.space.genome.choices.values()}
        for group in ("kernel", "expand", "width"):
            if group in groups:
                values[group] = [None] * sum(c.group == group for c in self.space.genome.choices.values())
        for number, (index, slot) in enumerate(active, start=self.before):
            block, key = self._block(number)
            if "kernel" in groups:
                values["kernel"][index] = self._option(f"kernel.{index}", block, "kernel_size", key)
            values["expand"][index] = self._option(f"expand.{index}", block, "expand_ratio", key)
            if "width" in groups and slot.name.endswith("_block1"):
                stage = int(slot.name[len("stage") :].partition("_")[0])
                values["width"][stage + 1] = self._width(slot, f"width.{stage + 1}", block, key)
        if "width" in groups:
            stem = _list(self.found, "input_stem", self.file)
            if len(stem) not in (2, 3) or not all(isinstance(layer, dict) for layer in stem):
                raise UserError("must be the 2 or 3 layers of the stem", file=self.file, key="input_stem")
            values["stem_depth"] = len(stem) - 2
            slots = {slot.name: slot for slot in self.space.slots}
            last = len(stem) - 1
            values["width"][0] = self._width(slots["stem1"], "width.0", stem[0], "input_stem[0]")
            values["width"][1] = self._width(slots["stem3"], "width.1", stem[last], f"input_stem[{last}]")
        return self.space.decode(self.space.encode([Architecture(values)], file=self.file))[0]

    def _depths(self) -> tuple[list[Any], list[tuple[int, Slot]]]:
        """The depths whose blocks agree best with the file in channels and strides, and the (number, slot) of these."""
        num = len(self.blocks) - self.before
        best: tuple[int, list[Any], list[tuple[int, Slot]]] | None = None
        sizes = []
        for depths, active in self._candidates():
            sizes.append(len(active))
            if len(active) == num:
                agree = sum(self._fits(place, slot) for place, (_, slot) in enumerate(active, start=self.before))
                if best is None or agree > best[0]:
                    best = agree, depths, active
        if best is None:
            low, high = min(sizes) + self.before, max(sizes) + self.before
            raise UserError(
                f"{len(self.blocks)} blocks; networks of {self.space.name} have {low} to {high}",
                file=self.file,
                key="blocks",
            )
        return best[1], best[2]

    def _candidates(self) -> Iterator[tuple[list[Any], list[tuple[int, Slot]]]]:
        """Every mix of depths with its active blocks."""
        starts = [0, *itertools.accumulate(len(slots) for slots in self.stages.values())]
        options = [self.space.genome.option_values(f"depth.{stage}").tolist() for stage in self.stages]
        for depths in itertools.product(*options):
            active = [
                (starts[stage] + place, slot)
                for stage, depth in enumerate(depths)
                for place, slot in enumerate(self.stages[stage])
                if bool(slot.present({f"depth.{stage}": depth}))
            ]
            yield list(depths), active

    def _fits(self, number: int, slot: Slot) -> bool:
        block, _ = self._block(number)
        ends = (block.get("in_channels"), block.get("out_channels"), block.get("stride"))
        return ends in {(op.in_channels, op.out_channels, op.stride) for op in self._operators(slot)}

    def _operators(self, slot: Slot) -> Sequence[Any]:
        return self.space.slot_operators(slot)

    def _block(self, number: int) -> tuple[Mapping[str, Any], str]:
        """The layer of a block that has its sizes, and its key."""
        block, key = self.blocks[number], f"blocks[{number}]"
        if isinstance(block, dict) and block.get("name") == "ResidualBlock":
            block, key = block.get("conv"), f"{key}.conv"
        if not isinstance(block, dict):
            raise UserError("not a layer", file=self.file, key=key, value=block)
        return block, key

    def _option(self, choice: str, block: Mapping[str, Any], field: str, key: str) -> Any:
        options = self.space.genome.option_values(choice).tolist()
        value = block.get(field)
        if value not in options or isinstance(value, bool):
            raise self._not_an_option(f"{key}.{field}", value, options)
        return value

    def _width(self, slot: Slot, choice: str, layer: Mapping[str, Any], key: str) -> Any:
        """The narrowest option of a width that gives the channels of this layer."""
        options = self.space.genome.option_values(choice).tolist()
        others = {name: self.space.genome.option_values(name).tolist()[0] for name in slot.choices}
        channels = {option: int(slot.operator({**others, choice: option}).out_channels) for option in options}
        for option in options:
            if channels[option] == layer.get("out_channels"):
                return option
        raise self._not_an_option(f"{key}.out_channels", layer.get("out_channels"), list(channels.values()))

    def _not_an_option(self, key: str, value: object, options: Sequence[object]) -> UserError:
        listed = ", ".join(map(str, dict.fromkeys(options)))
        return UserError(
            f"no network of {title(self.space)} has {value!r} here", file=self.file, key=key, hint=f"Options: {listed}"
        )
