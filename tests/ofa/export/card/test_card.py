"""What a model card says, and that nothing a user named breaks it."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ofa.export.architecture_file import ArchitectureFile
from ofa.export.card import FILE, CardFacts, DataFacts, write_card
from ofa.export.card.markdown import escape

Report = dict[str, Any]


@pytest.fixture
def report(digit_export: tuple[Path, Report, ArchitectureFile]) -> Report:
    """Of a real export, with what a run would add; forms have no scores and latencies of their own."""
    found = copy.deepcopy(digit_export[1])
    forms = {
        name: {key: value for key, value in form.items() if key not in ("accuracy", "latency")}
        for name, form in found["forms"].items()
    }
    return {
        **found,
        "forms": forms,
        "latency": {
            "phone": {
                "predicted_ms": 2.0,
                "measured": {"median_ms": 2.1, "p10_ms": 2.05, "p90_ms": 2.5, "count": 20, "form": "onnx"},
            },
            "elsewhere": {"predicted_ms": 3.0, "measured": None},
        },
        "supernet_sha256": "ab" * 32,
        "budget": {"name": "small", "limits": {"latency@phone": 2.5}, "written": {"latency@phone": "2.5ms"}},
        "accuracy": {
            "selection": {"accuracy": 0.9, "loss": 0.3, "num_images": 200, "form": "onnx"},
            "test": {"accuracy": 0.88, "loss": 0.3, "num_images": 100, "form": "onnx"},
        },
    }


@pytest.fixture
def card(digit_export: tuple[Path, Report, ArchitectureFile], card_facts: CardFacts, tmp_path: Path) -> Any:
    """(report, facts, described) -> the text of the card."""

    def write(report: Report, facts: CardFacts = card_facts, described: ArchitectureFile = digit_export[2]) -> str:
        write_card(tmp_path, report=report, described=described, facts=facts)
        return (tmp_path / FILE).read_text(encoding="utf-8")

    return write


def rows(text: str, section: str) -> list[list[str]]:
    """The cells of the first table of a section."""
    content = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in content.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def front(text: str) -> Report:
    return dict(yaml.safe_load(text.split("---\n")[1]))


def test_accuracy_is_said_of_every_form_with_its_interval(card: Any, report: Report) -> None:
    report["forms"]["pt2"]["accuracy"] = {"selection": {"accuracy": 0.91, "num_images": 200}, "test": None}
    report["forms"]["safetensors"]["accuracy"] = {
        "form": {"accuracy": 0.895, "num_images": 200},
        "network": {"accuracy": 0.9, "num_images": 200},
    }
    text = card(report)
    cells = {row[0]: row for row in rows(text, "Files and accuracy")}
    assert cells["`onnx`"][3:5] == ["88.00 % (80.2 to 93.0)", "90.00 % (85.1 to 93.4)"]
    assert cells["`pt2`"][3:5] == ["not scored", "91.00 % (86.2 to 94.2)"]
    assert cells["`safetensors`"][3:5] == ["not scored", "89.50 % (84.5 to 93.0)"]
    assert "On 100 test and 200 selection images" in text
    (result,) = front(text)["model-index"][0]["results"]
    told = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert result["dataset"]["split"] == "test" and told["accuracy (onnx)"] == 0.88


def test_latency_has_the_interval_of_its_table_and_the_machine(card: Any, report: Report) -> None:
    text = card(report)
    found = {row[0]: row[1:] for row in rows(text, "Latency")}
    assert found["phone"] == ["`onnx`", "2 ms (1.8 to 2.2)", "2.1 ms", "2.05 to 2.5 ms"]
    assert found["elsewhere"] == ["–", "3 ms", "not measured", "–"]
    assert "a phone; onnxruntime 1, float32, 1 thread" in text


def test_latencies_of_files_are_said_where_they_were_measured(card: Any, report: Report) -> None:
    report["latency"] = {}
    report["forms"]["pt2"]["latency"] = {"median_ms": 0.5, "p10_ms": 0.4, "p90_ms": 0.6, "count": 20, "threads": 1}
    report["forms"]["onnx"]["latency"] = {"not_measured": "machine busy", "threads": 1}
    report["forms"]["safetensors"]["latency"] = None
    assert rows(card(report), "Latency")[2:] == [
        ["`pt2`", "1", "0.5 ms", "0.4 to 0.6 ms"],
        ["`onnx`", "1", "not measured: machine busy", "–"],
    ]
    report["forms"]["pt2"]["latency"] = report["forms"]["onnx"]["latency"]
    assert "The files by their own runtimes were not measured: machine busy." in card(report)


def test_what_is_to_be_known_of_a_form_is_said(card: Any, report: Report) -> None:
    report["forms"]["pt2"] |= {"isa": "AVX2", "machine": "x86_64"}
    report["forms"]["onnx"] |= {"signal_db": 24.28, "num_moved": 3, "num_images": 64, "float_operators": {"SUM": 1}}
    costs = {"cycles": 12345, "sram_bytes": 2048, "flash_bytes": 4096, "npu_share": 0.9, "cpu_operators": ["GATHER"]}
    report["forms"]["safetensors"] |= {
        "vela": {"version": "5.2", "accelerator": "ethos-u55-128", **costs},
        "executed": "the int8 model before Vela, not the command stream",
    }
    text = card(report)
    assert "- `pt2`: compiled for x86_64 with AVX2: others do not run it." in text
    assert "- `onnx`: computes in fewer bits: 3 of 64 images change their class" in text and "24.3 dB" in text
    assert "in float32 all the same: SUM" in text and "in fewer bits are calibrated" in text
    assert "12,345 cycles, 2 KiB of SRAM" in text and "90 % of the operators" in text and "(the others: GATHER)" in text
    assert "the int8 model before Vela, not the command stream" in text


def test_a_network_without_test_score_or_device_says_so(card: Any, report: Report) -> None:
    text = card({**report, "latency": {}, "accuracy": {**report["accuracy"], "test": None}})
    assert "The test split was not read" in text and "## Latency" not in text
    assert all(r["dataset"]["split"] != "test" for r in front(text)["model-index"][0]["results"])


def test_failed_forms_are_told_with_what_they_could_not_take(card: Any, report: Report) -> None:
    reason = {"message": "no kernel | for *this*", "operator": "mbconv-8_8", "slot": "stage1_block1"}
    text = card({**report, "failed": {"tflite": reason, "aoti": {"message": "no compiler"}}})
    assert "`tflite`: no kernel \\| for \\*this\\*\n" in text
    assert "`aoti`: no compiler\n" in text


def test_boards_are_told_as_they_were_found(card: Any, report: Report) -> None:
    report["boards"] = {
        "board": {
            "board": {"name": "nrf52840", "title": "nRF52840 (Arduino Nano 33 BLE)"},
            "folder": "mcu",
            "accuracy": {"selection": {"accuracy": 0.6}, "test": {"accuracy": 0.5, "num_images": 100}},
            "verified": {
                "compiler": "zig 0.17",
                "emulator": "unicorn 2.1",
                "num_golden": 8,
                "sram_bytes": 11568,
                "sram_size": 262144,
                "stack_bytes": None,
                "stack_size": 2048,
                "flash_bytes": 249600,
                "flash_size": 1048576,
                "instructions": 28752418,
            },
        }
    }
    text = card(report)
    assert rows(text, "Boards")[2] == [
        "board",
        "50.00 % (40.4 to 59.6)",
        "60.00 %",
        "11.3 KiB of 256 KiB",
        "–",
        "243.8 KiB of 1 MiB",
        "28,752,418",
    ]
    assert "[mcu/README.md](mcu/README.md)" in text


def test_what_makes_it_again_can_be_pasted(card: Any, report: Report, card_facts: CardFacts) -> None:
    assert "ofa run config.yaml\nofa export runs/digits small --format safetensors,pt2,onnx\n" in card(report)
    assert card_facts.run is not None
    run = replace(card_facts.run, name="my run; rm", imported={"file": "ofa net.pth", "sha256": "00"})
    del report["budget"]
    report["finetuning"] = {"epochs": 2.0, "before": 0.9, "after": 0.91, "kept": True, "macs": 1.0}
    text = card(report, replace(card_facts, run=run))
    assert (
        "ofa import checkpoint 'ofa net.pth' --config config.yaml\nofa run config.yaml\n"
        "ofa finetune 'runs/my run; rm' architecture.json --epochs 2\n"
        "ofa export 'runs/my run; rm' architecture.json --format safetensors,pt2,onnx --finetuned\n"
    ) in text
    assert "not by a run" in card(report, replace(card_facts, run=None))


def test_licences_are_stated_or_said_not_to_be(card: Any, report: Report, card_facts: CardFacts) -> None:
    text = card(report)
    assert "Weights: not stated" in text and "CC-BY-SA-3.0" in text and front(text)["license"] == "unknown"
    stated = card(report, replace(card_facts, licence="Apache-2.0", data=replace(card_facts.data, licence=None)))
    assert "Weights: Apache-2.0." in stated and front(stated)["license"] == "apache-2.0"
    assert re.search(r"Data set mnist_5k: not stated", stated)


def test_hashes_and_splits_are_there(card: Any, report: Report, card_facts: CardFacts) -> None:
    text = card(report)
    for form in report["forms"].values():
        assert form["sha256"] in text
    assert report["network_sha256"] in text and "ab" * 32 in text
    sizes = {row[0]: row[-1] for row in rows(text, "Data")}
    assert sizes["train"] == "1,100" and sizes["selection"] == "200"


def test_a_thousand_classes_are_cut_and_their_file_named(
    card: Any, report: Report, digit_export: tuple[Path, Report, ArchitectureFile]
) -> None:
    described = replace(digit_export[2], class_names=tuple(f"class {number}" for number in range(1000)))
    text = card(report, described=described)
    assert "class 19 and 980 more, in `architecture.json`" in text and "class 20" not in text


def test_names_of_users_break_nothing(
    card: Any, report: Report, card_facts: CardFacts, digit_export: tuple[Path, Report, ArchitectureFile]
) -> None:
    evil = "a|b *c* `d`\n```\n# <script>x</script> [l](u) é: #"
    described = replace(digit_export[2], class_names=(evil, *digit_export[2].class_names[1:]))
    assert card_facts.run is not None
    facts = replace(
        card_facts,
        run=replace(card_facts.run, name=evil),
        data=replace(card_facts.data, name=evil, licence=evil),
        devices={evil: card_facts.devices["phone"]},
        licence=evil,
    )
    report["latency"] = {evil: report["latency"]["phone"]}
    report["name"] = evil
    text = card(report, facts, described)
    assert front(text)["model-index"][0]["name"] == f"{evil}: {evil}"
    body = text.split("---\n", 2)[2]
    outside = re.sub(r"^(`{3,}).*?^\1$", "", body, flags=re.DOTALL | re.MULTILINE)
    assert "<script" not in outside
    assert [line for line in outside.splitlines() if line.startswith("# ")] == [f"# {escape(f'{evil}: {evil}')}"]
    for name in ("Files and accuracy", "Latency", "Data", "How it was made"):
        assert len({len(row) for row in rows(text, name)}) == 1, name


def test_the_card_needs_no_more_than_the_files_of_the_export(
    digit_export: tuple[Path, Report, ArchitectureFile], card_facts: CardFacts, tmp_path: Path
) -> None:
    """From the report as it was written, and data facts alone."""
    folder, _, described = digit_export
    written = json.loads((folder / "report.json").read_text())
    data = DataFacts("mnist_5k", card_facts.data.splits, 28)
    write_card(tmp_path, report=written, described=described, facts=CardFacts(data))
    assert "# small\n" in (tmp_path / FILE).read_text()
