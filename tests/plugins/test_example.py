"""The example package of docs/plugins is installed, and each thing in it used through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plugins.conftest import ROOT, Run

Ofa = Callable[..., dict[str, Any]]

#: one run that takes everything from the plug-in: space, runtime, predictor, algorithm, form
CONFIG: dict[str, Any] = {
    "name": "plugged",
    "space": {
        "name": "plain_convnet_28",
        "resolution": [12, 16],
        "depth": [1, 2],
        "widths": [8, 16],
        "strides": [2, 1],
    },
    "data": {
        "name": "synthetic",
        "num_classes": 3,
        "num_images": 600,
        "image_size": 16,
        "channels": 1,
        "split": {"calibration": 60, "selection": 90, "test": 90},
    },
    "train": {"recipe": "sandwich", "epochs": 3, "batch_size": 60, "optimizer": {"lr": 0.1}},
    "devices": [
        {
            "name": "here",
            "runtime": "torch_nchw",
            "rounds": 3,
            "sample_ms": 0.5,
            "fit_networks": 4,
            "holdout": 20,
            "max_other_load": None,
            "pin": False,
        }
    ],
    "records": {"num": 14},
    "predictor": {"candidates": ["knn"], "folds": 2, "bootstrap": 100},
    "search": {"budgets": {"small": {"macs": "60%"}}, "algorithm": "annealing", "candidates": 2},
    "export": {"forms": ["npz", "onnx"]},
}


def test_the_space_and_the_device_are_there_by_name(run_python: Run, tmp_path: Path) -> None:
    """In one process, to the end: listed, counted, refused where the name is wrong."""
    code = """
import sys
from ofa.cli import main
words = ["--num-classes", "10", "--in-channels", "1"]
for command in (["spaces", "plain_convnet_28", *words, "--json"],
                ["measure", "--space", "plain_convnet_28", "--device", "horowitz_45nm", *words, "-o", "energy.json"],
                ["tables", "energy.json"],
                ["measure", "--space", "plain_convnet_28", "--device", "horowitz", *words, "-o", "x.json"]):
    try:
        main(command)
    except SystemExit as ended:
        print("exit", ended.code)
print("torch" in sys.modules)
"""
    done = run_python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, _, rest = done.stdout.partition("\nexit 0")
    details = json.loads(first)
    assert (details["size"], details["plugin"]) == (2187, "ofa-example 0.1.0")
    assert "energy in mJ of 67 operators of plain_convnet_28" in rest
    assert "Did you mean 'horowitz_45nm'?" in done.stderr
    assert "horowitz_45nm of ofa-example 0.1.0" in done.stderr
    assert done.stdout.endswith("exit 2\nFalse\n")
    table = json.loads((tmp_path / "energy.json").read_text())
    stem = table["entries"]["conv-1-16-28-3-2-relu"]  # 28,224 MACs, 3,920 bytes of activations, 208 of weights
    assert stem == pytest.approx((28_224 * 0.3 + 3_920 * 12.5 + 208 * 162.5) * 1e-9)


@pytest.mark.slow
def test_one_run_takes_everything_from_the_plugin(ofa: Ofa, run_python: Run, tmp_path: Path) -> None:
    (tmp_path / "plugged.yaml").write_text(yaml.safe_dump(CONFIG))
    ofa("run", "plugged.yaml", cwd=tmp_path)
    run = tmp_path / "runs" / "plugged"
    budget = json.loads((run / "search.json").read_text())["budgets"][0]
    assert budget["algorithm"] == "annealing"
    assert json.loads((run / "predictor" / "predictor.json").read_text())["model"] == "knn"
    table = json.loads((run / "tables" / "here.json").read_text())
    assert table["device"]["runtime"] == "torch_nchw" and "ofa-example 0.1.0" in table["device"]["runtime_version"]
    report = json.loads((run / "specialized" / "small" / "report.json").read_text())
    assert report["forms"]["npz"]["max_abs"] <= 1e-4
    assert (run / "specialized" / "small" / "model.npz").stat().st_size == report["forms"]["npz"]["bytes"]

    fitted = ofa("fit", run, cwd=tmp_path)
    assert fitted["model"] == "knn" and list(fitted["grade"]["cross_validation"]) == ["knn"]
    exported = ofa("export", run, "small", "--format", "npz", "-o", "out", cwd=tmp_path)
    assert list(exported["forms"]) == ["npz"]
    counted = ["measure", "--space", run / "config.yaml", "--device", "horowitz_45nm", "--num-classes", 3]
    ofa(*counted, "--in-channels", 1, "-o", "energy.json", cwd=tmp_path)
    search = ["search", "--accuracy", run / "predictor", "--device", "energy.json", "--max", "energy=50%"]
    found = ofa(*search, "--algorithm", "annealing", cwd=tmp_path)
    assert found["candidates"] and found["num_scored"] > 0

    left = run_python("-m", "ofa", *search, cwd=tmp_path, installed=False)  # the package is gone, what it made is not
    assert left.returncode == 2 and "unknown accuracy model 'knn'" in left.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["ofa/search/algorithms/test_conformance.py"], "annealing"),
        (["predictors/test_models.py", "predictors/test_storage.py"], "knn"),
        # the sorting of channels is of blocks with elastic inner channels, which this family has none of
        (
            ["search_spaces/test_conformance.py", "search_spaces/test_conformance_networks.py"],
            "plain_convnet_28 and not sorting_channels",
        ),
        (["latency_tables/onnx/test_graph.py", "trainers/test_alone.py"], "plain_convnet_28"),
    ],
    ids=["algorithm", "predictor", "space", "measured and trained"],
)
def test_the_conformance_suites_certify_a_plugin(
    files: list[str], chosen: str, run_python: Run, tmp_path: Path
) -> None:
    """As the tutorial says: from a checkout, with the package installed."""
    paths = [str(ROOT / "tests" / file) for file in files]
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), "-c", str(ROOT / "setup.cfg")]
    done = run_python("-m", "pytest", *options, *paths, "-k", chosen, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
