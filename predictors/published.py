"""Published accuracy predictors of once-for-all networks: which space they are of, and what their inputs mean.

The files hold weights alone. The order of the one-hot inputs follows from the naming of the tensors (`LAYOUTS`), the
space from their number; what stays open (the resolutions, the width multiplier) was published beside the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from predictors.base import Predictor, Published
from predictors.checkpoint_file import Naming, PredictorCheckpoint, read_checkpoint
from predictors.columns import column_name
from predictors.relu_mlp import ReluMLP
from search_spaces import SearchSpace, get_space, list_spaces
from search_spaces.common.errors import UserError, unknown_name
from search_spaces.common.files import digest

#: by layout and family of spaces, the groups of choices in the order of the inputs
LAYOUTS: dict[Naming, dict[str, tuple[str, ...]]] = {
    "tutorial": {"mobilenet_v3": ("kernel", "expand", "resolution")},
    "library": {
        "mobilenet_v3": ("resolution", "kernel", "expand"),
        "proxyless_nas": ("resolution", "kernel", "expand"),
        "resnet": ("resolution", "stem_depth", "width", "expand"),
    },
}

#: the spaces that are tried when none is named
SPACES = ("ofa_mobilenet_v3", "ofa_proxyless_nas", "ofa_resnet50")

#: the image sizes of the published files, which do not say them; by layout and family
RESOLUTIONS: dict[tuple[Naming, str], tuple[int, ...]] = {
    ("tutorial", "mobilenet_v3"): tuple(range(112, 225, 16)),
    ("library", "resnet"): (128, 144, 160, 176, 192, 224, 240, 256),
}

#: the published MobileNetV3 predictor and latency tables are of the network of this width
WIDTH_MULT = {"ofa_mobilenet_v3": 1.2}

#: no list of image sizes is longer: 128, 132, ..., 256
_MOST_RESOLUTIONS = 33


@dataclass(frozen=True)
class _Inputs:
    """What the inputs of a network are."""

    space: SearchSpace
    layout: Naming
    resolutions: tuple[int, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        columns: list[str] = []
        for group in LAYOUTS[self.layout][self.space.family]:
            if group == "resolution":
                columns += [column_name("resolution", size) for size in self.resolutions]
            else:
                columns += _columns(self.space, group)
        return tuple(columns)


def import_predictor(
    path: Path | str,
    *,
    space: str | None = None,
    width_mult: float | None = None,
    layout: str | None = None,
    resolutions: Sequence[int] | None = None,
    source: str | None = None,
    licence: str | None = None,
) -> Predictor:
    """The predictor in a `.pth` file. What is not given is inferred; `UserError` where that is not possible."""
    checkpoint = read_checkpoint(path)
    inputs = _inputs(checkpoint, space, width_mult, _layout(layout, checkpoint), resolutions)
    known = inputs.space.genome.option_values("resolution").tolist()
    common = [size for size in known if size in inputs.resolutions]
    if not common:
        raise UserError(
            f"{inputs.space.name} has none of the resolutions {_words(inputs.resolutions)}",
            key="--resolutions",
            hint=f"It has {_words(known)}",
        )
    part = inputs.space if common == known else inputs.space.restrict(resolution=common)
    predictor = Predictor(
        name="relu_mlp",
        model=checkpoint.model,
        target="accuracy",
        space_description=part.description,
        space_fingerprint=part.fingerprint,
        inputs=digest([checkpoint.sha256, inputs.columns, part.description]),
        columns=inputs.columns,
        published=Published(checkpoint.path.name, checkpoint.sha256, source, licence),
    )
    _check_outputs(predictor, part, checkpoint)
    return predictor


def _layout(text: str | None, checkpoint: PredictorCheckpoint) -> Naming:
    if text is None:
        return checkpoint.naming
    for layout in LAYOUTS:
        if text == layout:
            return layout
    raise unknown_name("layout", text, LAYOUTS, key="--layout")


def _inputs(
    checkpoint: PredictorCheckpoint,
    name: str | None,
    width_mult: float | None,
    layout: Naming,
    resolutions: Sequence[int] | None,
) -> _Inputs:
    num = checkpoint.model.num_features
    if resolutions is not None:
        _check_resolutions(resolutions)
    if name is None:
        name = _fitting(checkpoint.path, num, layout, None if resolutions is None else len(resolutions))
    space = _space(name, width_mult)
    if space.family not in LAYOUTS[layout]:
        raise _no_layout(space, layout)
    others = _num_others(space, layout)
    if others >= num or (resolutions is not None and others + len(resolutions) != num):
        wanted = f"{others + 1} or more" if resolutions is None else others + len(resolutions)
        given = "" if resolutions is None else f" with {_counted(len(resolutions))}"
        raise UserError(
            f"the first layer has {num} inputs, but the {layout} layout of {space.name}{given} has {wanted}",
            file=checkpoint.path,
            hint=_choices(num),
        )
    sizes = RESOLUTIONS.get((layout, space.family), ()) if resolutions is None else tuple(resolutions)
    if others + len(sizes) != num:
        raise UserError(
            f"{num - others} of the {num} inputs are image sizes, and the file does not say which",
            file=checkpoint.path,
            key="--resolutions",
            hint="Give them in the order of the inputs, like --resolutions 160,176,192,208,224",
        )
    return _Inputs(space, layout, sizes)


def _space(name: str, width_mult: float | None) -> SearchSpace:
    if name not in list_spaces():
        raise unknown_name("search space", name, list_spaces(), key="--space")
    width = WIDTH_MULT.get(name) if width_mult is None else width_mult
    if width_mult is not None and "width_mult" not in get_space({"name": name}).settings:
        raise UserError(f"{name} has no width multiplier", key="--width-mult", value=width_mult)
    return get_space({"name": name} if width is None else {"name": name, "width_mult": width}, key="--space")


def _fitting(path: Path, num: int, layout: Naming, num_resolutions: int | None) -> str:
    """The name of the one published space that has `num` inputs."""
    fits = [
        (space.name, num - others)
        for space, others in _candidates(layout)
        if 1 <= num - others <= _MOST_RESOLUTIONS and num_resolutions in (None, num - others)
    ]
    if len(fits) == 1:
        return fits[0][0]
    if fits:
        listed = " or ".join(f"{name} with {_counted(left)}" for name, left in fits)
        raise UserError(f"{num} inputs may be those of {listed}", file=path, key="--space", hint="Name the space")
    given = "" if num_resolutions is None else f" and {_counted(num_resolutions)}"
    raise UserError(f"no published space has {num} inputs in the {layout} layout{given}", file=path, hint=_choices(num))


def _candidates(layout: Naming) -> list[tuple[SearchSpace, int]]:
    spaces = [_space(name, None) for name in SPACES if name in list_spaces()]
    return [(space, _num_others(space, layout)) for space in spaces if space.family in LAYOUTS[layout]]


def _num_others(space: SearchSpace, layout: Naming) -> int:
    """Inputs that are no image sizes."""
    groups = LAYOUTS[layout][space.family]
    return sum(len(_columns(space, group)) for group in groups if group != "resolution")


def _columns(space: SearchSpace, group: str) -> list[str]:
    """Columns of the choices of a group by their index, each with its options in order."""
    entries = [choice for choice in space.genome.choices.values() if choice.group == group]
    names = [choice.name for choice in sorted(entries, key=lambda choice: choice.index or 0)]
    return [column_name(name, value) for name in names for value in space.genome.option_values(name).tolist()]


def _choices(num: int) -> str:
    """What `num` inputs could be, or what there is at all."""
    known = [(layout, space, others) for layout in LAYOUTS for space, others in _candidates(layout)]
    fitting = [
        f"--layout {layout} --space {space.name} with {_counted(num - others)}"
        for layout, space, others in known
        if 1 <= num - others <= _MOST_RESOLUTIONS
    ]
    if fitting:
        return f"Possible: {'; '.join(fitting)}"
    every = [f"{space.name} {others} ({layout})" for layout, space, others in known]
    return f"Inputs beside one for each resolution: {', '.join(every)}"


def _no_layout(space: SearchSpace, layout: Naming) -> UserError:
    able = [name for name in LAYOUTS if space.family in LAYOUTS[name]]
    if not able:
        published = ", ".join(name for name in SPACES if name in list_spaces())
        what = f"{space.name} is of a family without published predictors ({space.family})"
        return UserError(what, key="--space", hint=f"Published: {published}")
    return UserError(f"there is no {layout} layout of {space.name}", key="--layout", hint=f"It has: {', '.join(able)}")


def _check_resolutions(resolutions: Sequence[int]) -> None:
    if not resolutions or min(resolutions) < 1 or len(set(resolutions)) != len(resolutions):
        raise UserError("must be one or more different image sizes", key="--resolutions", value=_words(resolutions))


def _check_outputs(predictor: Predictor, space: SearchSpace, checkpoint: PredictorCheckpoint) -> None:
    """Accuracies are shares in 0..1: what is in per cent, or not of this space at all, shows on random networks."""
    from predictors.columns import ColumnEncoder

    assert predictor.columns is not None
    rows = space.sample(1000, np.random.default_rng(0), uniform=False)
    outputs = checkpoint.model.predict(ColumnEncoder(space, predictor.columns)(rows)).mean
    middle = float(np.median(outputs))
    if not np.isfinite(outputs).all() or not 0 <= middle <= 1:
        raise UserError(
            f"gives random networks {middle:.4g} at the median: accuracies must be shares in 0..1",
            file=checkpoint.path,
        )


def network_text(model: ReluMLP) -> str:
    """The network in a word: `128-400-400-400-1`."""
    return "-".join(map(str, (model.num_features, *model.hidden, 1)))


def _counted(num: int) -> str:
    return f"{num} resolution{'' if num == 1 else 's'}"


def _words(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))
