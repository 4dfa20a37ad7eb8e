"""Exporting from a run folder: all winners, any other network, fine-tuning, and what is said when files are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.fx import GraphModule

from ofa.config import RunConfig, load_config
from ofa.export.adhoc import export_architecture
from ofa.export.finetune import finetune
from ofa.export.session import LEDGER
from ofa.export.settings import ExportSettings
from ofa.export.winners import export_winners
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_lines, write_json
from search_spaces.supernet import Supernet
from trainers.checkpoints import load_supernet, save_supernet, weights_digest
from trainers.data import ImageData

FORMS = ("safetensors",)


@pytest.fixture
def run(tmp_path: Path, supernet: Supernet, space: SearchSpace, data: ImageData) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    split = {"calibration": 64, "selection": 96, "test": 80}
    config = {
        "name": "tiny",
        "space": {"name": "mobilenet_v3_digits", "resolution": [20, 24], "depth": [1, 2]},
        "data": {"name": "synthetic", "num_classes": 4, "num_images": 480, "image_size": 24, "split": split},
        "train": {"recipe": "sandwich", "epochs": 1},
        "search": {"budgets": {"small": {"params": "1M"}, "large": {"params": "2M"}}},
        "export": {"forms": list(FORMS)},
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    save_supernet(run, supernet, space, {"data": data.description(), "seed": 0, "step": 1})
    return run


@pytest.fixture
def config(run: Path) -> RunConfig:
    return load_config(run / "config.yaml")


def write_search(run: Path, winners: dict[str, Architecture]) -> None:
    def facts(architecture: Architecture) -> dict[str, Any]:
        accuracy = {"mean": 0.5, "lower": 0.4, "upper": 0.6}
        found = {"key": architecture.key, "architecture": architecture.to_json(), "predicted_accuracy": accuracy}
        return {**found, "predicted_costs": {"params": 1e5}, "measured": {}, "selection_accuracy": 0.5}

    found: dict[str, Any] = {"algorithm": "exhaustive", "num_scored": 9, "rounds": 1, "candidates": []}
    budgets = [
        {"name": name, "limits": {"params": 1e6}, "written": {"params": "1M"}, "winner": facts(architecture), **found}
        for name, architecture in winners.items()
    ]
    sha256 = load_supernet(run).weights_sha256
    write_json(run / "search.json", {"schema": 1, "weights_sha256": sha256, "fronts": {}, "budgets": budgets})


def test_winners_are_exported_and_the_test_split_read_once_each(
    run: Path, config: RunConfig, architecture: Architecture
) -> None:
    write_search(run, {"small": architecture, "large": architecture})
    reports = export_winners(run, config, quiet=True)
    assert set(reports) == {"small", "large"}
    for name, report in reports.items():
        assert json.loads((run / "specialized" / name / "report.json").read_text()) == report
        assert report["budget"]["limits"] == {"params": 1e6} and report["search"]["selection_accuracy"] == 0.5
    reference = json.loads((run / "reference.json").read_text())
    assert reference["costs"]["macs"] > reports["small"]["costs"]["macs"]
    scored = [line for line in read_lines(run / LEDGER, "ledger") if line["event"] == "scored"]
    assert len(scored) == 2  # one network won both budgets; the other is the largest
    assert reports["small"]["accuracy"]["test"] == reports["large"]["accuracy"]["test"]
    before = (run / LEDGER).read_text()
    assert export_winners(run, config, quiet=True) == reports and (run / LEDGER).read_text() == before


def test_any_network_can_be_exported(run: Path, config: RunConfig, architecture: Architecture, tmp_path: Path) -> None:
    path = tmp_path / "arch.json"
    write_json(path, architecture.to_json())
    folder, report = export_architecture(run, config, str(path), forms=None, out=None, quiet=True)
    assert folder == run / "exports" / architecture.key and report["accuracy"]["test"] is None
    assert not (run / LEDGER).exists()
    again, _ = export_architecture(
        run, config, str(folder / "architecture.json"), forms=["safetensors"], out=tmp_path / "out", quiet=True
    )
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_what_cannot_be_exported_is_said(
    run: Path, config: RunConfig, architecture: Architecture, tmp_path: Path
) -> None:
    def export(which: str, forms: list[str] | None = None, out: Path | None = None) -> None:
        export_architecture(run, config, which, forms=forms, out=out, quiet=True)

    with pytest.raises(UserError, match="ofa search"):
        export("small")
    with pytest.raises(UserError, match="ofa search"):
        export_winners(run, config, quiet=True)
    write_search(run, {"small": architecture})
    with pytest.raises(UserError, match="Did you mean 'small'"):
        export("smal")
    with pytest.raises(UserError, match="no such architecture"):
        export(str(tmp_path / "none.json"))
    foreign = tmp_path / "foreign.json"
    write_json(foreign, {"resolution": 224, "depth": [4]})
    with pytest.raises(UserError, match=r"foreign\.json"):
        export(str(foreign))
    with pytest.raises(UserError, match="unknown export form"):
        export("small", forms=["tflight"])
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="holds other files"):
        export("small", out=other)
    assert (other / "thesis.tex").read_text() == "precious"
    found = json.loads((run / "search.json").read_text())
    write_json(run / "search.json", {**found, "weights_sha256": "0" * 64})
    with pytest.raises(UserError, match="another supernet"):
        export_winners(run, config, quiet=True)


@pytest.fixture
def tuning() -> ExportSettings:
    return ExportSettings(forms=FORMS, finetune_epochs=2, finetune_batch_size=60, finetune_lr=3e-3)


def tune(
    network: GraphModule, data: ImageData, settings: ExportSettings, side: int, cache: Path
) -> tuple[GraphModule, float, float, bool]:
    tuned, outcome = finetune(
        network,
        network,
        data,
        settings,
        resolution=side,
        teacher_resolution=side,
        seed=0,
        cache=cache,
        quiet=True,
    )
    return tuned, outcome.before, outcome.after, outcome.kept


def test_fine_tuning_learns_is_deterministic_and_done_once(
    network: GraphModule, architecture: Architecture, data: ImageData, tuning: ExportSettings, tmp_path: Path
) -> None:
    before = weights_digest(network.state_dict())
    tuned, old, new, kept = tune(network, data, tuning, architecture.resolution, tmp_path / "one")
    assert kept and new > old + 0.1 and not tuned.training
    assert weights_digest(network.state_dict()) == before
    torch.manual_seed(123)
    again, *_ = tune(network, data, tuning, architecture.resolution, tmp_path / "two")
    assert weights_digest(again.state_dict()) == weights_digest(tuned.state_dict()) != before
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").iterdir()}
    cached, *_ = tune(network, data, tuning, architecture.resolution, tmp_path / "one")
    assert weights_digest(cached.state_dict()) == weights_digest(tuned.state_dict())
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "one").iterdir()}


def test_fine_tuning_that_loses_accuracy_is_dropped(
    network: GraphModule, architecture: Architecture, data: ImageData, tuning: ExportSettings, tmp_path: Path
) -> None:
    good, *_ = tune(network, data, tuning, architecture.resolution, tmp_path)
    harmful = tuning.model_copy(update={"finetune_lr": 10.0, "finetune_epochs": 1})
    kept, old, new, is_kept = tune(good, data, harmful, architecture.resolution, tmp_path)
    assert new < old and not is_kept and kept is good
