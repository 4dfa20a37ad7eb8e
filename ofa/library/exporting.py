"""`ofa.export`, `ofa.load`: a network in files that run without this project, each proved on real images."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import fx

from ofa.export.architecture_file import (
    FILE,
    ArchitectureFile,
    Preprocessing,
    check_replaceable,
    write_architecture_file,
)
from ofa.export.finished import file_facts
from ofa.export.forms.base import Form, Source
from ofa.export.forms.registry import get_form
from ofa.export.forms.safetensors import load_network
from ofa.export.layers import exact_costs
from ofa.export.verify import Difference, verify_forms
from ofa.library.batches import Batches, images_of
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import atomic_directory, write_json


@dataclass(frozen=True)
class Exported:
    """What is in `folder`: by form, how far its outputs are from the network's, and its bytes."""

    folder: Path
    differences: dict[str, Difference]
    num_bytes: dict[str, int]


def export(
    network: fx.GraphModule,
    folder: Path | str,
    *,
    space: SearchSpace,
    architecture: Architecture,
    images: Batches,
    mean: Sequence[float],
    std: Sequence[float],
    forms: Sequence[str] = ("safetensors", "onnx"),
    calibration: Batches | None = None,
    class_names: Sequence[str] | None = None,
    tolerance: float = 1e-4,
) -> Exported:
    """Write `folder` in one step: `architecture.json`, a file for each of `forms`, `report.json`.

    Every form is loaded from its file and compared with the network on `images` (real ones, normalised as in training;
    64 are enough): largest difference of any logit `tolerance`, same classes; forms in integers must keep three
    quarters of the classes, and need `calibration`, images as in training. `mean` and `std`, one a channel, are those
    that images were normalised by after scaling to 0..1: they are written down for whoever runs the files. Raises
    `UserError` where a form is unknown, not installed, cannot take the network, or computes something else; then
    nothing is written. What needs a run (accuracy on the test split, measured latency, boards) is `ofa export RUN`'s.
    """
    folder, device = Path(folder), torch.device("cpu")
    names = tuple(dict.fromkeys(forms))
    chosen = {name: get_form(name) for name in names}
    for name, values in {"mean": mean, "std": std}.items():
        if len(values) != space.in_channels:
            raise UserError(f"needs one number for each of {space.in_channels} channels", key=name, value=list(values))
    titles = tuple(map(str, range(space.num_classes))) if class_names is None else tuple(class_names)
    if len(titles) != space.num_classes:
        raise UserError(f"needs one name for each of {space.num_classes} classes", key="class_names", value=len(titles))
    side = architecture.resolution
    real = torch.cat(images_of(images, space, side, device, key="images"))
    network = copy.deepcopy(network).to(device).eval()
    ranges = None if calibration is None else torch.cat(images_of(calibration, space, side, device, key="calibration"))
    source = Source(network, (space.in_channels, side, side), ranges)
    preprocessing = Preprocessing(side, space.in_channels, tuple(map(float, mean)), tuple(map(float, std)))
    check_replaceable(folder, key="folder")
    with atomic_directory(folder) as temporary:
        described = ArchitectureFile(space, architecture, preprocessing, titles)
        write_architecture_file(temporary / FILE, described)
        for name, form in chosen.items():
            _write(name, form, source, temporary)
        ties = any(operator.has_ties for _, operator in space.network(architecture))
        differences = verify_forms(network, real, folder=temporary, forms=names, tolerance=tolerance, ties=ties)
        facts = {name: file_facts(name, temporary) for name in names}
        report = {
            "schema": 1,
            "key": architecture.key,
            "architecture": architecture.to_json(),
            "costs": exact_costs(space, architecture),
            "forms": {name: facts[name] | asdict(found) for name, found in differences.items()},
        }
        write_json(temporary / "report.json", report)
    return Exported(folder, differences, {name: found["bytes"] for name, found in facts.items()})


def load(folder: Path | str) -> fx.GraphModule:
    """The network of an export folder (form `safetensors`) as torch.nn layers in evaluation mode: images (N, C, R, R),
    normalised -> logits (N, num_classes). Raises `UserError` for a folder that holds none, or a damaged one.
    """
    return load_network(Path(folder))


def _write(name: str, form: Form, source: Source, folder: Path) -> None:
    try:
        form.write(source, folder)
    except (UserError, OSError):
        raise
    except Exception as error:  # every converter has errors of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        hint = "Nothing was exported; leave this form out to get the others"
        raise UserError(f"the network cannot be converted: {reason}", key="forms", value=name, hint=hint) from error
