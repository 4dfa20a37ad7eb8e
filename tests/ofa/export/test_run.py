"""Exporting from a run folder: all winners, any other network, fine-tuning, and what is said when files are missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load as load_tensors

from ofa.config import RunConfig, load_config
from ofa.export import finetune as finetuning
from ofa.export.adhoc import export_architecture
from ofa.export.finetune import FinetuneSettings, finetune, finetune_config, score_finetuned, train_finetuned
from ofa.export.forms.mcu import McuForm
from ofa.export.forms.safetensors import SafetensorsForm
from ofa.export.session import LEDGER, ExportSession
from ofa.export.winners import export_winners
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_lines, write_json
from search_spaces.supernet import Supernet
from tests.ofa.export.fakes import HalfWritten, Honest, InInt8, LatePackage, Refusing, not_installed, register
from trainers.checkpoints.store import load_supernet, save_supernet, weights_digest, write_tensors
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
        "export": {"forms": list(FORMS), "measure_forms": False},
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


def test_a_run_goes_on_without_a_form_that_fails_and_warns(
    run: Path,
    config: RunConfig,
    architecture: Architecture,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    register(monkeypatch, HalfWritten())
    write_search(run, {"small": architecture})
    config = config.model_copy(update={"export": config.export.model_copy(update={"forms": ("safetensors", "half")})})
    reports = export_winners(run, config, quiet=True)
    assert set(reports["small"]["forms"]) == {"safetensors"} and (run / "reference.json").exists()
    assert capsys.readouterr().err == "[tiny] warning: small was exported without half: ValueError\n"


@pytest.fixture
def some(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer that has few forms."""
    register(
        monkeypatch, SafetensorsForm(), Honest(), InInt8(), LatePackage(), only=True, mcu=McuForm, gone=not_installed
    )


def test_all_means_what_is_installed_and_says_what_brings_the_rest(
    some: None, run: Path, ofa: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer = ofa("export", run, "smallest", "--format", "all", "-o", out, "--json")
    report = json.loads(answer.out)
    assert answer.code == 0 and not answer.err and report["failed"] == {}
    assert list(report["forms"]) == ["safetensors", "honest", "in-int8"]
    assert report["missing"] == {"gone": "pip install nowhere", "latepackage": "pip install nowhere"}
    assert report["left_out"] == {"mcu": "is for a board, and none is named: --board NAME"}
    stamp = (out / "honest.bin").stat().st_mtime_ns
    text = ofa("export", run, "smallest", "--format", "all", "-o", out)
    assert text.code == 0 and not text.err
    assert text.out.endswith(
        "not made:\n  gone: pip install nowhere\n  latepackage: pip install nowhere\n"
        "  mcu: is for a board, and none is named: --board NAME\n"
    )
    assert (out / "honest.bin").stat().st_mtime_ns == stamp  # a package that is missing makes nothing unfinished


def test_forms_by_name(some: None, run: Path, ofa: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer = ofa("export", run, "smallest", "--format", "safetensors, in_int8", "-o", out, "--json")
    assert answer.code == 0 and list(json.loads(answer.out)["forms"]) == ["safetensors", "in-int8"]
    for words, told in (
        ("gone", "--format: needs the package 'nowhere', which is not installed (got 'gone'). pip install nowhere"),
        ("honst", "--format: unknown export form 'honst'. Did you mean 'honest'?"),
        ("all,honest", "--format.forms: 'all' has every form in it already"),
        ("in-int8,in_int8", "--format.forms: names a form twice"),
    ):
        refused = ofa("export", run, "smallest", "--format", words, "-o", tmp_path / "none")
        assert refused.code == 2 and told in refused.err and not refused.out
    # one that is installed comes out beside one that is not
    answer = ofa("export", run, "smallest", "--format", "honest,gone", "-o", out)
    assert answer.code == 2 and (out / "honest.bin").exists() and "honest.bin" in answer.out
    assert answer.err == "error: gone: needs the package 'nowhere', which is not installed. pip install nowhere\n"


def test_the_operator_is_on_the_terminal_and_in_the_json(
    run: Path, ofa: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    register(monkeypatch, Refusing(), InInt8())
    words = ("export", run, "smallest", "--format", "refusing,safetensors,in-int8", "-o", tmp_path / "out")
    answer = ofa(*words)
    assert answer.code == 2 and answer.err.startswith("error: refusing: cannot take the operator `")
    assert answer.err.endswith(": no kernel for a gate\n") and answer.err.count("\n") == 1
    table = answer.out.split("out:\n")[1].splitlines()
    assert max(map(len, table)) <= 80 and "model.safetensors" in table[3] and " dB " in table[4]
    assert "of the network's" in table[5]
    answer = ofa(*words, "--json")
    failure = json.loads(answer.out)["failed"]["refusing"]
    assert answer.code == 2 and failure["slot"] and failure["operator"].startswith("mbconv-")
    assert f"`{failure['slot']}` ({failure['operator']})" in failure["message"]


@pytest.mark.parametrize(
    ("written", "read"), [("all", ("all",)), (["all"], ("all",)), (["onnx", "safetensors"], ("onnx", "safetensors"))]
)
def test_forms_in_a_config(run: Path, written: object, read: tuple[str, ...]) -> None:
    config = load_config(run / "config.yaml", [f"export.forms={json.dumps(written)}"])
    assert config.export.forms == read


TUNING = FinetuneSettings(epochs=2, lr=3e-3, weight_decay=1e-2, batch_size=60)


def test_fine_tuning_learns_is_deterministic_and_done_once(
    run: Path, config: RunConfig, architecture: Architecture, tmp_path: Path
) -> None:
    session = ExportSession(run, config)
    before = weights_digest(session.specialized(architecture).state_dict())
    tuned, outcome = finetune(session, architecture, TUNING)
    assert outcome.kept and outcome.after > outcome.before + 0.1 and not tuned.training
    assert weights_digest(session.specialized(architecture).state_dict()) == before
    found = weights_digest(tuned.state_dict())
    torch.manual_seed(123)
    other = tmp_path / "other"
    shutil.copytree(run, other, ignore=shutil.ignore_patterns("finetuned"))
    again, _ = finetune(ExportSession(other, config), architecture, TUNING)
    assert weights_digest(again.state_dict()) == found != before
    stamps = {path: path.stat().st_mtime_ns for path in (run / "finetuned").rglob("*")}
    cached, _ = finetune(session, architecture, TUNING)
    assert weights_digest(cached.state_dict()) == found
    assert stamps == {path: path.stat().st_mtime_ns for path in (run / "finetuned").rglob("*")}


def test_fine_tuning_that_loses_accuracy_is_dropped_and_others_stay(
    run: Path, config: RunConfig, architecture: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = ExportSession(run, config)
    good, _ = finetune(session, architecture, TUNING)
    scores = iter((0.9, 0.5))
    with monkeypatch.context() as patch:
        patch.setattr(finetuning, "_accuracy", lambda *_: next(scores))
        short = TUNING.model_copy(update={"epochs": 0.2})
        kept, outcome = finetune(session, architecture, short)
    assert (outcome.before, outcome.after, outcome.kept) == (0.9, 0.5, False)
    own = session.specialized(architecture)
    assert weights_digest(kept.state_dict()) == weights_digest(own.state_dict()) != weights_digest(good.state_dict())
    again, _ = finetune(session, architecture, TUNING)  # the other settings went into a folder of their own
    assert weights_digest(again.state_dict()) == weights_digest(good.state_dict())


def test_the_teacher_is_the_largest_subnet_and_counts(
    run: Path, config: RunConfig, architecture: Architecture, space: SearchSpace, tmp_path: Path
) -> None:
    session = ExportSession(run, config)
    short = TUNING.model_copy(update={"epochs": 0.5})
    alone = finetune_config(session, architecture, short.model_copy(update={"distill": "none"}))
    taught = finetune_config(session, architecture, short)
    digests, facts = [], []
    for name, training in (("alone", alone), ("taught", taught)):
        train_finetuned(training, tmp_path / name)
        facts.append(score_finetuned(session, architecture, training, tmp_path / name))
        digests.append(facts[-1]["trained_sha256"])
    assert digests[0] != digests[1]
    with pytest.raises(UserError, match=r"other settings: .*distillation.*-o"):
        train_finetuned(taught, tmp_path / "alone")
    teacher = load_tensors((tmp_path / "taught" / "checkpoints" / "teacher.safetensors").read_bytes())
    largest = session.supernet.supernet.extract(session.largest).state_dict()
    assert weights_digest(teacher) == weights_digest(largest)
    by_slot = space.cost("macs").contributions(space.encode([architecture]))[0]
    one_image = 3 * by_slot.sum() - by_slot[0]  # the images themselves need no gradient
    teacher = space.cost("macs").maximum()[0]
    assert facts[0]["macs"] == facts[0]["steps"] * 60 * one_image
    assert facts[0]["macs"] < facts[1]["macs"] <= facts[1]["steps"] * 60 * (one_image + teacher)


def test_a_fine_tuned_network_is_exported(run: Path, config: RunConfig, architecture: Architecture) -> None:
    with pytest.raises(UserError, match="ofa finetune"):
        export_architecture(run, config, "smallest", forms=None, out=None, finetuned=True, quiet=True)
    tuned, outcome = finetune(ExportSession(run, config), architecture, TUNING)
    assert outcome.kept
    folder, report = export_architecture(run, config, "smallest", forms=None, out=None, finetuned=True, quiet=True)
    assert report["finetuning"]["after"] == outcome.after == report["accuracy"]["selection"]["accuracy"]
    assert report["network_sha256"] == weights_digest(tuned.state_dict())
    given, _ = export_architecture(
        run, config, str(run / "finetuned" / architecture.key), forms=None, out=run / "exports" / "given", quiet=True
    )
    assert (given / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    weights = run / "finetuned" / architecture.key / "network.safetensors"
    stored = load_tensors(weights.read_bytes())
    stored["stem.conv.weight"] += 1
    write_tensors(weights, stored)
    with pytest.raises(UserError, match=r"network\.safetensors.*finetuned\.json was written for"):
        export_architecture(run, config, "smallest", forms=None, out=None, finetuned=True, quiet=True)
