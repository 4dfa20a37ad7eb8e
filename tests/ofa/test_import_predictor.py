"""`ofa import predictor`, and searching with what it makes: no training, no torch, and no interval from nowhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from predictors.base import Predictor, Published
from predictors.relu_mlp import ReluMLP
from predictors.storage import write_predictor
from search_spaces import Architecture, SearchSpace

HEAVY = {"torch", "torchvision", "onnx", "onnxruntime", "sklearn", "scipy", "timm", "optuna"}
SIZES = "search resolution 160, 176, 192, 208, 224"


def tensors(num_inputs: int = 128, hidden: int = 12) -> dict[str, torch.Tensor]:
    """A small predictor as the published tutorial has it: wider and deeper networks at larger images are better."""
    generator = torch.Generator().manual_seed(0)
    return {
        "0.weight": torch.rand(hidden, num_inputs, generator=generator) * torch.arange(num_inputs) / num_inputs,
        "0.bias": -torch.rand(hidden, generator=generator),
        "2.weight": torch.rand(1, hidden, generator=generator) * 1e-3,
        "2.bias": torch.tensor([0.6]),
    }


def library(num_inputs: int = 82) -> dict[str, torch.Tensor]:
    t = tensors(num_inputs)
    layers = {"layers.0.0.weight": t["0.weight"], "layers.0.0.bias": t["0.bias"], "layers.1.weight": t["2.weight"]}
    return {"base_acc": t["2.bias"], **layers}


@pytest.fixture
def pth(tmp_path: Path) -> Path:
    torch.save(tensors(), tmp_path / "acc.pth")
    return tmp_path / "acc.pth"


@pytest.fixture(scope="session")
def imported(ofa, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A predictor folder, to look at."""
    folder = tmp_path_factory.mktemp("published")
    torch.save(tensors(), folder / "acc.pth")
    answer = ofa("import", "predictor", folder / "acc.pth", "-o", folder / "predictor")
    assert answer.code == 0, answer.err
    return folder / "predictor"


# -- import ------------------------------------------------------------------------------------------------------------


def test_what_is_said_of_a_published_predictor(pth: Path, tmp_path: Path, ofa) -> None:
    words = ("import", "predictor", pth, "-o", tmp_path / "p", "--source", "https://example.org", "--licence", "MIT")
    answer = ofa(*words)
    assert (answer.code, answer.err) == (0, "")
    assert "ofa_mobilenet_v3, width 1.2, resolution 128, 144, 160, 176, 192, 208, 224" in answer.out
    assert "published, not fitted here: no grade, and no interval is known" in answer.out
    facts = json.loads((tmp_path / "p" / "predictor.json").read_text())
    assert (facts["grade"], facts["level"], facts["interval_scale"]) == (None, None, None)
    assert facts["published"]["source"] == "https://example.org"
    assert facts["published"]["licence"] == "MIT"
    assert facts["published"]["file"] == "acc.pth"

    again = json.loads(ofa("import", "predictor", pth, "-o", tmp_path / "q", "--json").out)
    assert again["resolutions"] == [128, 144, 160, 176, 192, 208, 224]
    assert 0.6 < again["predicted_accuracy"]["smallest"] < again["predicted_accuracy"]["largest"] < 0.9


def test_a_folder_that_is_there_is_left_alone(pth: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    assert refused("import", "predictor", pth, "-o", tmp_path / "mine").startswith(f"{tmp_path}/mine: --output: is th")
    assert "is there already" in refused("import", "predictor", pth, "-o", pth)


def renamed(old: str, new: str) -> Callable[[dict[str, Any]], Any]:
    return lambda t: {new if name == old else name: tensor for name, tensor in t.items()}


def put(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda t: {**t, **{name.replace("_", "."): value for name, value in changes.items()}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: {}, ["holds no tensors by name"]),
        (lambda t: [1, 2], ["holds no tensors by name"]),
        (lambda t: {**t, "epoch": 3, "note": "x"}, ["epoch, note: not tensors"]),
        (renamed("2.bias", "2.bais"), ["missing 2.bias", "unknown 2.bais"]),
        (renamed("2.weight", "3.weight"), ["missing 2.weight", "unknown 3.weight"]),
        (lambda t: {**t, "1.weight": t["2.bias"], "extra": t["2.bias"]}, ["unknown 1.weight, extra"]),
        (
            lambda t: {"fc.weight": t["0.weight"], "fc.bias": t["0.bias"]},
            ["no accuracy predictor of a known form", "fc."],
        ),
        (lambda t: {name: t[name] for name in ("0.weight", "2.weight")}, ["missing 0.bias, 2.bias"]),
        (put(**{"0_weight": torch.zeros(12, 127)}), ["7 of the 127 inputs are image sizes", "--resolutions"]),
        (put(**{"2_weight": torch.zeros(1, 11)}), ["2.weight [1, 11], not [1, 12]"]),
        (put(**{"2_weight": torch.zeros(2, 12)}), ["2.weight [2, 12], not [1, 12]", "2.bias [1], not [2]"]),
        (put(**{"0_bias": torch.zeros(3)}), ["0.bias [3], not [12]"]),
        (put(**{"0_weight": torch.zeros(12)}), ["0.weight [12], not [units, inputs]"]),
        (put(**{"0_weight": torch.zeros(0, 128)}), ["0.weight [0, 128]"]),
        (put(**{"0_bias": torch.full((12,), float("nan")), "2_bias": torch.tensor([-torch.inf])}), ["0.bias, 2.bias"]),
        (put(**{"0_bias": torch.full((12,), 1e300, dtype=torch.float64)}), ["not finite: 0.bias"]),
        (put(**{"0_bias": torch.zeros(12, dtype=torch.int64)}), ["0.bias is of type torch.int64, not floating-point"]),
        (put(**{"0_weight": torch.zeros(12, 128).to_sparse()}), ["0.weight is not a plain tensor"]),
        (put(**{"2_bias": torch.tensor([75.0])}), ["accuracies must be shares in 0..1"]),
        (lambda t: library(74), ["74 inputs", "no published space"]),
        (lambda t: library(128), ["ofa_mobilenet_v3 with 8 resolutions or ofa_proxyless_nas with 2", "--space"]),
        (lambda t: {**library(), "layers.1.bias": t["2.bias"]}, ["of the library form", "unknown layers.1.bias"]),
        (lambda t: {n: v for n, v in library().items() if n != "base_acc"}, ["missing base_acc"]),
    ],
)
def test_other_weights_are_refused(
    change: Callable[[dict[str, Any]], Any], told: list[str], pth: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    torch.save(change(tensors()), pth)
    message = refused("import", "predictor", pth, "-o", tmp_path / "p")
    assert message.startswith(f"{pth}: ")
    assert not [text for text in told if text not in message], message
    assert not (tmp_path / "p").exists()


class Hostile:
    def __reduce__(self):
        return (Path.touch, (Path("hacked"),))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(
    zipped: bool, pth: Path, tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({**tensors(), "x": Hostile()}, pth, _use_new_zipfile_serialization=zipped)
    assert "holds more than tensors" in refused("import", "predictor", pth, "-o", "p")
    torch.save(torch.nn.Linear(128, 1), pth, _use_new_zipfile_serialization=zipped)
    assert "holds more than tensors: it refers to torch.nn" in refused("import", "predictor", pth, "-o", "p")
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("damage", ["half", "nine tenths", "empty", "text"])
def test_damaged_files_are_refused(
    damage: str, zipped: bool, pth: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    torch.save(tensors(), pth, _use_new_zipfile_serialization=zipped)
    whole = pth.read_bytes()
    parts = {
        "half": whole[: len(whole) // 2],
        "nine tenths": whole[: 9 * len(whole) // 10],
        "empty": b"",
        "text": b"a: 1",
    }
    pth.write_bytes(parts[damage])
    message = refused("import", "predictor", pth, "-o", tmp_path / "p")
    assert message == f"{pth}: truncated, damaged or not a file of torch.save"


def test_files_that_are_none(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert refused("import", "predictor", tmp_path / "no.pth", "-o", tmp_path / "p").endswith("no.pth: no such file")
    assert "is a folder, not a file" in refused("import", "predictor", tmp_path, "-o", tmp_path / "p")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--space ofa_mobilenetv3", ["--space: unknown search space", "Did you mean 'ofa_mobilenet_v3'?"]),
        ("--space ofa_resnet50", ["there is no tutorial layout of ofa_resnet50", "It has: library"]),
        ("--space ofa_proxyless_nas --layout library", ["2 of the 128 inputs are image sizes", "--resolutions"]),
        ("--layout libary", ["--layout: unknown layout", "Did you mean 'library'?"]),
        ("--resolutions 160,17x", ["--resolutions: must be image sizes (got '160,17x')"]),
        ("--resolutions 160,176", ["no published space has 128 inputs", "2 resolutions"]),
        ("--width-mult 0", ["width_mult", "greater than 0"]),
    ],
)
def test_wrong_options_are_refused(
    options: str, told: list[str], pth: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    message = refused("import", "predictor", pth, "-o", tmp_path / "p", *options.split())
    assert not [text for text in told if text not in message], message
    assert not (tmp_path / "p").exists()


# -- search ------------------------------------------------------------------------------------------------------------

SEARCH = ("search", "--space", "ofa_mobilenet_v3", "--device", "samsung_note10", "--max", "latency=25ms")


def test_a_search_without_any_training(imported: Path, tmp_path: Path, ofa) -> None:
    answer = ofa(*SEARCH, "--accuracy", imported, "-n", 3, "-o", tmp_path / "best.json", "--json")
    assert answer.code == 0, answer.err
    facts = json.loads(answer.out)
    assert f"{SIZES} only" in answer.err.replace("searching", "search")
    assert facts["restricted"] == [
        {"by": "the table of samsung_note10", "to": {"resolution": [160, 176, 192, 208, 224]}}
    ]
    assert facts["predictor"]["published"]["note"] == "published, not fitted here"
    assert len(facts["candidates"]) == 3
    for candidate in facts["candidates"]:
        assert set(candidate["predicted_accuracy"]) == {"mean"}
        assert candidate["predicted_costs"]["latency@samsung_note10"] <= 25
    assert json.loads((tmp_path / "best.json").read_text()) == facts["candidates"][0]["architecture"]
    Architecture.from_json(facts["candidates"][0]["architecture"])
    plain = ofa(*SEARCH, "--accuracy", imported, "-n", 3)
    assert "acc.pth: published, not fitted here; no interval is known" in plain.out
    assert " to " not in plain.out


def test_without_a_space_it_is_the_predictors(imported: Path, ofa) -> None:
    named = ofa(*SEARCH, "--accuracy", imported, "--json")
    unnamed = ofa(
        *(word for word in SEARCH if "ofa_m" not in word and word != "--space"), "--accuracy", imported, "--json"
    )
    assert named.out == unnamed.out


def test_a_wider_space_is_searched_as_far_as_the_predictor_knows_it(imported: Path, tmp_path: Path, ofa) -> None:
    config = tmp_path / "wide.yaml"
    config.write_text("space: {name: ofa_mobilenet_v3, width_mult: 1.2}")
    answer = ofa("search", "--space", config, "--accuracy", imported, "--max", "macs=300MMACs")
    assert answer.code == 0
    assert answer.err == "searching resolution 128, 144, 160, 176, 192, 208, 224 only: the predictor knows no other\n"


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ("space: {name: ofa_mobilenet_v3}", ["another space", "its width_mult is 1.2, not 1.0"]),
        ("space: {name: ofa_proxyless_nas}", ["another space", "ofa_proxyless_nas"]),
    ],
)
def test_another_space_is_refused(
    space: str, told: list[str], imported: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "other.yaml").write_text(space)
    message = refused("search", "--space", tmp_path / "other.yaml", "--accuracy", imported, "--max", "macs=300MMACs")
    assert message.startswith(f"{imported}: this predictor was published for")
    assert not [text for text in told if text not in message], message


def test_searching_loads_no_torch(imported: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-X", "importtime", "-m", "ofa", *SEARCH, "--accuracy", str(imported)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in lines}
    assert "numpy" in loaded
    assert not loaded & HEAVY


# -- damaged and odd predictor folders ---------------------------------------------------------------------------------


def change_facts(folder: Path, **changes: Any) -> None:
    path = folder / "predictor.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut arrays": (lambda p: (p / "predictor.safetensors").write_bytes(b"12345678"), "is not the file that"),
    "no arrays": (lambda p: (p / "predictor.safetensors").unlink(), "arrays cannot be read"),
    "cut facts": (lambda p: (p / "predictor.json").write_text("{"), "not valid JSON"),
    "a grade": (lambda p: change_facts(p, level=0.9), "level: must be null: the predictor was published"),
    "not published": (
        lambda p: change_facts(p, published=None),
        "must not be null, unless the predictor was published",
    ),
    "no columns": (lambda p: change_facts(p, columns=None), "columns: goes together with published"),
    "a fitted model": (lambda p: change_facts(p, model="ridge"), "unknown published accuracy model 'ridge'"),
    "fewer columns": (lambda p: change_facts(p, columns=["kernel.0=3"]), "num_features: is not the number of columns"),
    "a strange column": (lambda p: swap_column(p, 0, "kernal.0=3"), "has no choice 'kernal.0'"),
    "a strange value": (lambda p: swap_column(p, 0, "kernel.0=9"), "no column for kernel.0=3"),
    "a column twice": (lambda p: swap_column(p, 0, "kernel.0=5"), "two columns are of the same value"),
    "no column": (lambda p: swap_column(p, 0, "kernel.0"), "is not of the form choice=value"),
    "another space": (lambda p: change_facts(p, fingerprint="0" * 12), "fingerprint: is not that of the space"),
    "no space": (lambda p: change_facts(p, space={}), "not the description of a search space"),
}


def swap_column(folder: Path, number: int, name: str) -> None:
    columns = json.loads((folder / "predictor.json").read_text())["columns"]
    change_facts(folder, columns=[*columns[:number], name, *columns[number + 1 :]])


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_folders_are_refused(damage: str, imported: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    """By the search, and by the report of a run that it was put in."""
    act, told = DAMAGES[damage]
    run = tmp_path / "run"
    shutil.copytree(imported, run / "predictor")
    (run / "config.yaml").write_text("name: tiny")
    act(run / "predictor")
    for words in (("search", "--accuracy", run / "predictor", "--max", "macs=300MMACs"), ("report", run)):
        message = refused(*words)
        assert message.startswith(f"{run}/predictor/predictor."), message
        assert told in message


def test_a_run_searched_with_a_published_predictor(run: Path, ofa, refused: Callable[..., str]) -> None:
    """Its winners are evaluated as ever; nowhere is there an interval, nor a grade."""
    space = SearchSpace.from_description(json.loads((run / "supernet.json").read_text())["space"])
    columns = [
        f"{name}={value}"
        for name, choice in space.genome.choices.items()
        if choice.group != "depth"
        for value in space.genome.option_values(name).tolist()
    ]
    rng = np.random.default_rng(0)
    weights = (rng.random((9, len(columns)), np.float32), rng.random((1, 9), np.float32) / 100)
    shutil.rmtree(run / "predictor")
    predictor = Predictor(
        name="relu_mlp",
        model=ReluMLP(weights, (np.zeros(9, np.float32), np.array([0.2], np.float32))),
        target="accuracy",
        space_description=space.description,
        space_fingerprint=space.fingerprint,
        inputs="of this test",
        columns=tuple(columns),
        published=Published("acc.pth", "0" * 64, None, "<MIT>"),
    )
    write_predictor(predictor, run / "predictor")
    assert "holds a published predictor" in refused("fit", run)
    assert ofa("search", run).code == 0
    facts = json.loads((run / "search.json").read_text())
    assert all(set(budget["winner"]["predicted_accuracy"]) == {"mean"} for budget in facts["budgets"])
    assert all("lower" not in point for front in facts["fronts"].values() for point in front)
    assert ofa("report", run).code == 0
    assert json.loads((run / "report.json").read_text())["predictor"]["grade"] is None
    page = (run / "report.html").read_text()
    assert "published, not fitted here" in page
    assert "&lt;MIT&gt;" in page
    assert "front by the predictor" in page
    assert "front by the predictor, with its interval" not in page
    assert "no interval known" in page
