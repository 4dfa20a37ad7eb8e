"""The whole way of a transformer: from images to exported files that compute what their report says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from search_spaces import Architecture, SearchSpace

CONFIG = Path(__file__).with_name("tiny_vit.yaml")


@pytest.mark.slow
def test_a_transformer_goes_the_whole_way(ofa: Any, tmp_path: Path) -> None:
    answer = ofa("run", CONFIG, "--runs", tmp_path)
    assert answer.code == 0, answer.err
    run = tmp_path / "tiny_vit"
    info = json.loads((run / "supernet.json").read_text())
    space = SearchSpace.from_description(info["space"])
    limits = {"small": ("macs", 0.4 * space.cost("macs").maximum()[0]), "large": ("peak_memory", 64 * 1024)}
    for name, (metric, limit) in limits.items():
        report = json.loads((run / "specialized" / name / "report.json").read_text())
        row = space.encode([Architecture.from_json(report["architecture"])])
        plan = "overwriting" if metric == "peak_memory" else "naive"
        assert space.cost(metric, plan=plan).evaluate(row)[0] <= limit
        assert set(report["forms"]) == {"safetensors", "pt2", "onnx"}
        assert all(form["max_abs"] <= 1e-4 and form["num_ties"] <= 4 for form in report["forms"].values())
        assert report["accuracy"]["test"]["num_images"] == 90 and report["latency"]["here"]["measured"]["median_ms"] > 0
    assert "block1_attention" in (run / "report.html").read_text()
    assert ofa("run", CONFIG, "--runs", tmp_path).code == 0  # nothing is left to do
