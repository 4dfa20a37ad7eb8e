"""Files that the reader of a page has from elsewhere, made here: small ones."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.docs.pages import ROOT

#: a space of some hundred small networks, and a training of a second
SMALL_SPACE = {
    "name": "mobilenet_v3_digits",
    "resolution": [12, 16],
    "kernel": [3, 5],
    "expand": [3, 4],
    "depth": [1, 2],
    "widths": [8, 16],
    "strides": [2, 1],
    "activations": ["relu", "hard_swish"],
    "squeeze_excite": [False, True],
    "expanded_channels": 32,
    "feature_channels": 32,
}
SMALL_TRAIN = {"epochs": 2, "batch_size": 64, "micro_batch": 16, "optimizer": {"lr": 0.1}, "ema_decay": 0.9}
SMALL_SPLIT = {"calibration": 60, "selection": 200, "test": 100}
SMALL_DEVICE = {"runtime": "onnxruntime", "rounds": 4, "fit_networks": 4, "holdout": 20, "max_other_load": None}
#: for predictor.json and reports of seconds
SMALL_REST = {"records": {"num": 24}, "predictor": {"folds": 2, "bootstrap": 100}}


def checkout(folder: Path) -> None:
    """The shipped configs that pages run, by their names, made small."""
    shutil.copytree(ROOT / "configs", folder / "configs")
    small = {"space": SMALL_SPACE, "train": SMALL_TRAIN, **SMALL_REST}
    digits = {"name": "mnist_5k", "limit": 1500, "split": SMALL_SPLIT}
    path = folder / "configs" / "quickstart.yaml"
    config = yaml.safe_load(path.read_text())
    devices = [{**SMALL_DEVICE, "name": name, "runtime": name} for name in ("onnxruntime", "torch")]
    _write(path, {**config, **small, "data": digits, "devices": devices})
    path = folder / "configs" / "mcu_cnn.yaml"
    config = yaml.safe_load(path.read_text())
    budgets = {"small": {"instructions": "60%", "peak_memory": "80%"}}
    _write(path, {**config, **small, "data": digits, "search": {"budgets": budgets}})


def photos(folder: Path) -> None:
    """`my_photos.yaml` and `my_photos/CLASS/*.png`: see `write_blots`."""
    checkout(folder)
    write_blots(folder / "my_photos", num=120)
    config: dict[str, Any] = {
        "name": "my_photos",
        "space": SMALL_SPACE,
        "data": {"name": "image_folder", "path": "my_photos", "image_size": 16, "channels": 1, "split": SMALL_SPLIT},
        "train": SMALL_TRAIN,
        "devices": [{**SMALL_DEVICE, "name": "this_computer"}],
        **SMALL_REST,
        "search": {"budgets": {"fast": {"latency": "40%"}, "accurate": {"latency": "90%", "flash": "8MiB"}}},
    }
    _write(folder / "my_photos.yaml", config)


def write_blots(folder: Path, *, num: int) -> None:
    """`num` grey images of 20 x 20 pixels in each of ten folders, told apart by the place of a blot."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in range(10):
        (folder / f"class_{label}").mkdir(parents=True)
        for number in range(num):
            pixels = rng.integers(0, 60, (20, 20))
            row, column = 3 + 6 * (label % 3), 3 + 5 * (label // 3)
            pixels[row : row + 4, column : column + 4] += 150
            Image.fromarray(pixels.astype("uint8")).save(folder / f"class_{label}" / f"{number}.png")


def run_of_photos(folder: Path) -> None:
    """The same, and `runs/my_photos` with `ofa run` behind it; tables `phone.json` and `board.json` of its space."""
    shutil.copytree(_run_of_photos().name, folder, dirs_exist_ok=True)


def several_runs(folder: Path) -> None:
    """That run, and two more, `runs/short` and `runs/other`, which differ from it in training and in seed."""
    from tests.docs.walks import shell

    run_of_photos(folder)
    shell("ofa run my_photos.yaml --set name=short --set train.epochs=1", folder)
    shell("ofa run my_photos.yaml --set name=other --set seed=1", folder)


@cache
def _run_of_photos() -> tempfile.TemporaryDirectory[str]:
    """Made once; removed as the process ends."""
    from tests.docs.walks import shell

    made = tempfile.TemporaryDirectory(prefix="run-of-photos-")
    folder = Path(made.name)
    photos(folder)
    shell("ofa run my_photos.yaml", folder)
    (folder / "fill_in.py").write_text(_FILL_IN)
    for device in ("phone", "board"):
        shutil.copyfile(folder / "runs" / "my_photos" / "tables" / "this_computer.json", folder / f"{device}.json")
    return made


def everything(folder: Path) -> None:
    """What README.md speaks of: photos, and files of the once-for-all project."""
    photos(folder)
    published_files(folder)


_FILL_IN = """import csv, sys
rows = list(csv.DictReader(open(sys.argv[1], newline="")))
writer = csv.DictWriter(open(sys.argv[1], "w", newline=""), rows[0])
writer.writeheader()
writer.writerows({**row, "value": len(row["operator"])} for row in rows)
"""


def published_files(folder: Path) -> None:
    """What the once-for-all project published, by name, shape and form, with random weights."""
    import torch

    from latency_tables.once_for_all.operators import operator_texts
    from ofa.imports.names import network_names
    from ofa.imports.net_config import network_config
    from ofa.imports.pth import write_state_dict
    from ofa.imports.spaces import layout
    from search_spaces import Architecture, get_space
    from search_spaces.supernet import build_supernet

    space = get_space({"name": "ofa_mobilenet_v3", "width_mult": 1.2})
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.rand(shape, generator=generator) * 0.1 for name, shape in layout(space).shapes.items()}
    torch.save({"state_dict": weights}, folder / "ofa_mbv3_d234_e346_k357_w1.2")
    sizes = [128, 400, 400, 400, 1]
    predictor = {}
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        predictor[f"{2 * number}.weight"] = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
        predictor[f"{2 * number}.bias"] = torch.full((outputs,), 0.5)
    torch.save(predictor, folder / "acc_predictor.pth")
    for side in (160, 176, 192, 224):
        texts = operator_texts(space.restrict(resolution=[side])).values()
        lines = {text: {"count": 10, "mean": 0.5, "std": 0.1} for parts in texts for text in parts}
        (folder / f"{side}.yaml").write_text(yaml.safe_dump(lines))
    subnets = json.loads((ROOT / "tests/ofa/imports/published_subnets.json").read_text())["subnets"]
    found = next(subnet for subnet in subnets if subnet["name"].startswith("note10_lat-22ms"))
    architecture = Architecture.from_json(found["architecture"])
    settings = {"name": found["space"], "width_mult": found["width_mult"], "resolution": [architecture.resolution]}
    (folder / "note10_lat-22ms").mkdir()
    config = network_config(get_space(settings), architecture)
    (folder / "note10_lat-22ms" / "net.config").write_text(json.dumps(config))
    size = {"image_size": architecture.resolution}
    network = build_supernet(get_space(settings)).extract(architecture)
    names = network_names(get_space(settings), architecture, network.state_dict())
    tensors = {names[name]: tensor for name, tensor in network.state_dict().items()}
    write_state_dict(folder / "note10_lat-22ms" / "init", tensors)
    (folder / "note10_lat-22ms" / "run.config").write_text(json.dumps(size))


def _write(path: Path, config: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(config, sort_keys=False))
