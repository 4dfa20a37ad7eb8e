"""Published predictors: read from files like theirs, they say what theirs say; anything else is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from predictors.base import Predictor, load_predictor
from predictors.fit import fit_predictor
from predictors.published import import_predictor
from predictors.storage import write_predictor
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.common.errors import UserError

HERE = Path(__file__).parent
PUBLISHED = json.loads((HERE / "published_accuracies.json").read_text())
DATA = Path(os.environ.get("OFA_BENCH_DATA", HERE.parents[2] / "shared" / "data"))
RESNET_SIZES = (128, 144, 160, 176, 192, 224, 240, 256)

#: space, naming of the tensors, image sizes in the order of the inputs, groups in the order of the inputs
KINDS: dict[str, tuple[str, str, tuple[int, ...], tuple[str, ...]]] = {
    "tutorial": ("ofa_mobilenet_v3", "tutorial", tuple(range(112, 225, 16)), ("kernel", "expand", "resolution")),
    "mobilenet": ("ofa_mobilenet_v3", "library", (224, 160, 192), ("resolution", "kernel", "expand")),
    "proxyless": ("ofa_proxyless_nas", "library", (128, 160, 224), ("resolution", "kernel", "expand")),
    "resnet": ("ofa_resnet50", "library", RESNET_SIZES, ("resolution", "stem_depth", "width", "expand")),
}
OPTIONS = {
    "kernel": (3, 5, 7),
    "expand": (3, 4, 6),
    "stem_depth": (0, 1),
    "width": (0.65, 0.8, 1.0),
    "resnet expand": (0.2, 0.25, 0.35),
}


def network(num_inputs: int, hidden: Sequence[int] = (24, 16), bias: bool = True) -> list[nn.Linear]:
    torch.manual_seed(3)
    sizes = [num_inputs, *hidden, 1]
    layers = [nn.Linear(sizes[i], sizes[i + 1], bias=bias or i < len(hidden)) for i in range(len(hidden) + 1)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    return layers


def state_dict(layers: list[nn.Linear], naming: str) -> dict[str, torch.Tensor]:
    """As the published code names them."""
    if naming == "tutorial":
        tensors = [(f"{2 * i}.{name}", t) for i, layer in enumerate(layers) for name, t in layer.state_dict().items()]
        return dict(tensors)
    result = {"base_acc": torch.tensor([0.7])}
    for i, layer in enumerate(layers[:-1]):
        result |= {f"layers.{i}.0.{name}": tensor for name, tensor in layer.state_dict().items()}
    return result | {f"layers.{len(layers) - 1}.weight": layers[-1].weight.detach()}


def expected(layers: list[nn.Linear], naming: str, features: torch.Tensor) -> np.ndarray:
    """The network, written out."""
    x = features
    for layer in layers[:-1]:
        x = torch.relu(layer(x))
    return (layers[-1](x)[:, 0] + (0.7 if naming == "library" else 0.0)).detach().numpy()


def features(architecture: Architecture, sizes: Sequence[int], groups: Sequence[str]) -> list[float]:
    """One network's inputs, one choice after the other."""
    columns: list[float] = []
    for group in groups:
        value = architecture.values[group]
        options = sizes if group == "resolution" else OPTIONS[group]
        if group == "expand" and "width" in groups:
            options = OPTIONS["resnet expand"]
        for entry in value if isinstance(value, tuple) else (value,):
            columns += [float(entry == option) for option in options]
    return columns


def save(tensors: Any, path: Path) -> Path:
    torch.save(tensors, path)
    return path


def small(kind: str, path: Path, hidden: Sequence[int] = (24, 16)) -> tuple[list[nn.Linear], Path]:
    space, naming, sizes, groups = KINDS[kind]
    num = len(features(get_space({"name": space}).decode(get_space({"name": space}).largest())[0], sizes, groups))
    layers = network(num, hidden, bias=naming == "tutorial")
    with torch.no_grad():
        layers[-1].weight *= 0.1
        if naming == "tutorial":
            layers[-1].bias.fill_(0.7)
    return layers, save(state_dict(layers, naming), path)


def space_of(predictor: Predictor) -> SearchSpace:
    return SearchSpace.from_description(predictor.space_description)


# -- the same numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(24, 16), (9,), ()], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_accuracies_are_those_of_the_network_written_out(kind: str, hidden: tuple[int, ...], tmp_path: Path) -> None:
    name, naming, sizes, groups = KINDS[kind]
    layers, path = small(kind, tmp_path / "small.pth", hidden)
    given = None if kind == "tutorial" else sizes
    write_predictor(import_predictor(path, space=name, resolutions=given), tmp_path / "predictor")
    predictor = load_predictor(tmp_path / "predictor")
    space = space_of(predictor)
    assert space.name == name
    rows = space.sample(700, np.random.default_rng(0), uniform=False)
    x = torch.tensor([features(architecture, sizes, groups) for architecture in space.decode(rows)])
    prediction = predictor.predict(space, rows)
    assert np.abs(prediction.mean - expected(layers, naming, x)).max() < 1e-6
    assert prediction.lower is None and prediction.upper is None
    assert np.ptp(prediction.mean) > 0.01


@pytest.mark.parametrize("file", [name for name in PUBLISHED if name != "about"])
def test_published_files_give_the_published_accuracies(file: str, tmp_path: Path) -> None:
    path = DATA / "published" / "accuracy_predictors" / file
    if not path.exists():
        pytest.skip(f"needs {file} in OFA_BENCH_DATA/published/accuracy_predictors")
    known = PUBLISHED[file]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == known["sha256"]
    predictor = import_predictor(path)
    space = space_of(predictor)
    rows = space.encode([architecture(entry) for entry in known["networks"]])
    found = predictor.predict(space, rows).mean
    assert np.abs(found - [entry["accuracy"] for entry in known["networks"]]).max() < 1e-6


@pytest.mark.peer
@pytest.mark.parametrize("file", [name for name in PUBLISHED if name != "about"])
def test_published_files_beside_the_published_code(file: str) -> None:
    """OFA_PEER_PYTHON=/path/to/venv/bin/python OFA_BENCH_DATA=... pytest -m peer tests/predictors"""
    python, path = os.environ.get("OFA_PEER_PYTHON"), DATA / "published" / "accuracy_predictors" / file
    if not python or not path.exists():
        pytest.skip("needs OFA_PEER_PYTHON, an interpreter with the published package `ofa`, and OFA_BENCH_DATA")
    predictor = import_predictor(path)
    space = space_of(predictor)
    rows = space.sample(200, np.random.default_rng(8), uniform=False)
    sizes = RESNET_SIZES if PUBLISHED[file]["encoder"] == "resnet" else None
    job = {"file": str(path), "encoder": PUBLISHED[file]["encoder"], "hidden": 400, "layers": 3, "image_sizes": sizes}
    job["networks"] = [published_form(entry) for entry in space.decode(rows)]
    done = subprocess.run(
        [python, str(HERE / "peer_accuracies.py")], input=json.dumps(job), cwd="/", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert np.abs(predictor.predict(space, rows).mean - json.loads(done.stdout)).max() < 1e-6


def architecture(published: dict[str, Any]) -> Architecture:
    """From {ks, e, d, r}, or {e, d, w, r} with the stem first in d."""
    values = {"resolution": published["r"], "expand": published["e"]}
    if "ks" in published:
        return Architecture({**values, "kernel": published["ks"], "depth": published["d"]})
    stem, *depth = published["d"]
    width = [OPTIONS["width"][number] for number in published["w"]]
    return Architecture({**values, "stem_depth": int(stem > 0), "depth": depth, "width": width})


def published_form(architecture: Architecture) -> dict[str, Any]:
    values = {name: list(v) if isinstance(v, tuple) else v for name, v in architecture.values.items()}
    expand = [entry or 0 for entry in values["expand"]]
    if "kernel" in values:
        return {"ks": [k or 0 for k in values["kernel"]], "e": expand, "d": values["depth"], "r": values["resolution"]}
    width = [OPTIONS["width"].index(entry) for entry in values["width"]]
    depth = [2 * values["stem_depth"], *values["depth"]]
    return {"e": expand, "d": depth, "w": width, "r": values["resolution"]}


# -- which space, which inputs -----------------------------------------------------------------------------------------


def test_what_the_published_files_leave_open_is_filled_in(tmp_path: Path) -> None:
    tutorial = space_of(import_predictor(small("tutorial", tmp_path / "a.pth")[1]))
    assert (tutorial.name, tutorial.settings["width_mult"]) == ("ofa_mobilenet_v3", 1.2)
    assert tutorial.genome.option_values("resolution").tolist() == [128, 144, 160, 176, 192, 208, 224]
    resnet = space_of(import_predictor(small("resnet", tmp_path / "b.pth")[1]))
    assert resnet.name == "ofa_resnet50"
    assert resnet.genome.option_values("resolution").tolist() == list(RESNET_SIZES)
    mobilenet = import_predictor(small("mobilenet", tmp_path / "c.pth")[1], resolutions=[224, 160, 192])
    assert space_of(mobilenet).name == "ofa_mobilenet_v3"
    narrow = import_predictor(tmp_path / "a.pth", width_mult=1.0)
    assert space_of(narrow).settings["width_mult"] == 1.0


def test_the_layout_can_be_said(tmp_path: Path) -> None:
    """The same weights mean other columns, so other accuracies."""
    path = small("tutorial", tmp_path / "a.pth")[1]
    sizes = range(112, 225, 16)
    tutorial = import_predictor(path, layout="tutorial")
    library = import_predictor(path, layout="library", space="ofa_mobilenet_v3", resolutions=sizes)
    space = space_of(tutorial)
    rows = space.sample(20, np.random.default_rng(0))
    assert np.abs(tutorial.predict(space, rows).mean - library.predict(space, rows).mean).min() > 1e-6


@pytest.mark.parametrize(
    "wrapped", [lambda t: {"state_dict": t, "epoch": 3}, lambda t: {f"module.{k}": v for k, v in t.items()}]
)
def test_wrapped_state_dicts(wrapped: Callable[[Any], Any], tmp_path: Path) -> None:
    layers, path = small("tutorial", tmp_path / "a.pth")
    other = import_predictor(save(wrapped(state_dict(layers, "tutorial")), tmp_path / "b.pth"))
    known = import_predictor(path)
    for name, array in known.model.arrays().items():
        assert np.array_equal(array, other.model.arrays()[name])


@pytest.mark.parametrize(
    ("num_inputs", "naming", "options", "told"),
    [
        (128, "library", {}, ["ofa_mobilenet_v3 with 8 resolutions or ofa_proxyless_nas with 2", "--space"]),
        (125, "library", {}, ["5 of the 125 inputs are image sizes", "--resolutions 160,176"]),
        (125, "library", {"resolutions": [160, 176]}, ["no published space has 125 inputs", "with 5 resolutions"]),
        (128, "library", {"space": "ofa_mobilenet_v3"}, ["8 of the 128 inputs are image sizes", "--resolutions"]),
        (60, "tutorial", {}, ["no published space has 60 inputs in the tutorial layout", "ofa_mobilenet_v3 120"]),
        (125, "tutorial", {}, ["5 of the 125 inputs are image sizes"]),
        (82, "library", {"space": "ofa_mobilenet_v3"}, ["82 inputs", "has 121 or more", "--space ofa_resnet50"]),
        (128, "tutorial", {"space": "ofa_resnet50"}, ["no tutorial layout of ofa_resnet50", "It has: library"]),
        (128, "tutorial", {"space": "ofa_resnet5"}, ["unknown search space", "Did you mean 'ofa_resnet50'?"]),
        (128, "tutorial", {"layout": "tutorail"}, ["unknown layout", "Did you mean 'tutorial'?"]),
        (128, "tutorial", {"resolutions": [160, 160]}, ["different image sizes (got '160, 160')"]),
        (128, "tutorial", {"resolutions": [160]}, ["no published space has 128 inputs", "and 1 resolution"]),
        (121, "tutorial", {"resolutions": [100]}, ["none of the resolutions 100", "It has 128, 132"]),
        (128, "tutorial", {"width_mult": -1.0}, ["width_mult", "greater than 0"]),
    ],
)
def test_what_does_not_fit_is_asked_for(
    num_inputs: int, naming: str, options: dict[str, Any], told: list[str], tmp_path: Path
) -> None:
    layers = network(num_inputs, bias=naming == "tutorial")
    path = save(state_dict(layers, naming), tmp_path / "a.pth")
    with pytest.raises(UserError) as caught:
        import_predictor(path, **options)
    assert not [text for text in told if text not in str(caught.value)], str(caught.value)


def test_accuracies_in_per_cent_are_refused(tmp_path: Path) -> None:
    layers, _ = small("tutorial", tmp_path / "a.pth")
    tensors = {name: 100 * t if name.startswith("4.") else t for name, t in state_dict(layers, "tutorial").items()}
    with pytest.raises(UserError, match=r"a\.pth: gives random networks .* shares in 0..1"):
        import_predictor(save(tensors, tmp_path / "a.pth"))


# -- and then ----------------------------------------------------------------------------------------------------------


def test_a_part_of_its_space_is_predicted_alike_and_no_more(tmp_path: Path) -> None:
    predictor = import_predictor(small("tutorial", tmp_path / "a.pth")[1])
    whole = space_of(predictor)
    part = whole.restrict(resolution=[160, 224], kernel=[7, 3], depth=[4], expand=[6])
    rows = part.sample(50, np.random.default_rng(0))
    same = whole.encode(part.decode(rows))
    assert np.array_equal(predictor.predict(part, rows).mean, predictor.predict(whole, same).mean)
    everything = get_space({"name": "ofa_mobilenet_v3", "width_mult": 1.2})
    with pytest.raises(UserError, match="a part of ofa_mobilenet_v3 without resolution = 132"):
        predictor.bind(everything)
    with pytest.raises(UserError, match=r"published for another space .* width_mult is 1.2, not 1.0"):
        predictor.bind(get_space({"name": "ofa_mobilenet_v3"}))
    assert predictor.predict(whole, rows[:0]).mean.shape == (0,)


def test_many_networks_at_once_are_predicted_like_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = import_predictor(small("resnet", tmp_path / "a.pth")[1])
    monkeypatch.setattr("predictors.base.CHUNK", 700)
    space = space_of(predictor)
    rows = space.sample(1500, np.random.default_rng(0))
    predict = predictor.bind(space)
    alone = [predict(rows[i : i + 1]).mean[0] for i in range(0, 1500, 100)]
    assert predict(rows).mean[::100] == pytest.approx(alone, abs=1e-6)


def test_fitting_does_not_replace_a_published_predictor(
    tmp_path: Path, space: SearchSpace, make_records: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "supernet.json").write_text(json.dumps({"space": space.description, "weights_sha256": "0"}))
    monkeypatch.setattr("predictors.fit.load_records", lambda *_, **__: make_records(30))
    write_predictor(import_predictor(small("tutorial", tmp_path / "a.pth")[1]), tmp_path / "predictor")

    class Config:
        from predictors.settings import PredictorSettings

        seed, predictor = 0, PredictorSettings()

    with pytest.raises(UserError, match="holds a published predictor"):
        fit_predictor(tmp_path, Config())
    assert load_predictor(tmp_path / "predictor").published is not None
