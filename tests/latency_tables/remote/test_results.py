"""From results to a table: the same as measured here; and everything that does not fit together is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_tables.remote.bundle import write_bundle
from latency_tables.remote.on_device.main import main as run_on_device
from latency_tables.remote.table import import_results
from latency_tables.settings import DeviceSettings
from latency_tables.shipped import find_table
from latency_tables.table import LatencyTable, load_table
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError

OPERATOR = "classifier-128-10-1"
Edited = Callable[..., Path]


def test_the_table(small: SearchSpace, bundle_file: Path, results_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "phone.json"
    table = import_results([results_file], bundle_file, path=path)
    results = json.loads(results_file.read_text())
    assert load_table(path) == table and list(table.entries) == list(small.operators())
    assert table.device.model_dump() == results["device"] and table.created == results["created"]
    assert table.settings.name == "phone" and table.settings.rounds == 2
    samples = results["samples"][OPERATOR]
    assert table.entries[OPERATOR].median_ms == pytest.approx(np.median(samples["ms"] + samples["disturbed_ms"]))
    assert table.entries[OPERATOR].count == 2
    assert table.heldout.num + table.correction.num == len([key for key in results["samples"] if "network" in key])
    assert table.cost(small).minimum()[0] > 0
    assert import_results([results_file], bundle_file, path=path, name="pixel").settings.name == "pixel"
    with pytest.raises(UserError, match=r"--device: .*'a/b'"):
        import_results([results_file], bundle_file, path=path, name="a/b")


def test_runs_of_one_device_are_united(bundle_file: Path, results_file: Path, tmp_path: Path, edited: Edited) -> None:
    second = tmp_path / "second.json"
    assert run_on_device(["--bundle", str(bundle_file), "--rounds", "1", "-o", str(second)]) == 0
    table = import_results([results_file, second], bundle_file, path=tmp_path / "t.json")
    assert {entry.count for entry in table.entries.values()} == {3} and table.settings.rounds == 3
    keys = list(json.loads(results_file.read_text())["samples"])

    def half(first: int) -> Callable[[Any], None]:
        def change(data: Any) -> None:
            data["run"] = f"{first}" * 32
            data["samples"] = {key: data["samples"][key] for key in keys[first::2]}

        return change

    halves = [edited(half(first), f"{first}.json") for first in (0, 1)]
    both = import_results(halves, bundle_file, path=tmp_path / "t.json")
    one = import_results([results_file], bundle_file, path=tmp_path / "t.json")
    assert both.entries == one.entries and both.heldout == one.heldout
    with pytest.raises(UserError, match=r"0\.json: samples: \d+ of \d+ models were not measured: .*"):
        import_results(halves[:1], bundle_file, path=tmp_path / "t.json")
    with pytest.raises(UserError, match=r"results\.json: run: is the same run as .*results\.json"):
        import_results([results_file, results_file], bundle_file, path=tmp_path / "t.json")
    other = edited(lambda data: data["device"].update(cpu="Abacus 3000") or data.update(run="f" * 32))
    with pytest.raises(
        UserError, match=r"edited\.json: device: was measured on another device: cpu .*'Abacus 3000' in"
    ):
        import_results([results_file, other], bundle_file, path=tmp_path / "t.json")


def put(key: str, kind: str, value: object) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        data["samples"][key][kind] = value

    return change


def drop(key: str) -> Callable[[Any], None]:
    return lambda data: data["samples"].pop(key)


BAD: dict[str, tuple[Callable[[Any], object], str]] = {
    "NaN": (put(OPERATOR, "ms", [1.0, math.nan]), rf"edited\.json: samples\.{OPERATOR}\.ms\.1: .*nan"),
    "infinite": (put(OPERATOR, "ms", [math.inf]), rf"samples\.{OPERATOR}\.ms\.0"),
    "negative": (put(OPERATOR, "ms", [-1.0, 1.0]), rf"samples\.{OPERATOR}\.ms\.0.*greater than 0.*-1\.0"),
    "zero": (put(OPERATOR, "disturbed_ms", [0.0]), rf"samples\.{OPERATOR}\.disturbed_ms\.0.*greater than 0"),
    "text": (put(OPERATOR, "ms", ["1"]), rf"samples\.{OPERATOR}\.ms\.0.*'1'"),
    "few": (
        lambda data: data["samples"].update({OPERATOR: {"ms": [1.0], "disturbed_ms": []}}),
        "1 sample, but at .* 2",
    ),
    "operator": (drop(OPERATOR), rf"1 of \d+ models were not measured: {OPERATOR}"),
    "empty call": (drop("empty call"), "1 of .* models were not measured: empty call"),
    "strange": (lambda data: data["samples"].update(more=data["samples"][OPERATOR]), r"samples\.more: no model of"),
    "bundle": (lambda data: data.update(manifest_sha256="ab" * 32), r"manifest_sha256: measured with another bundle"),
    "schema": (lambda data: data.update(schema=2), "schema"),
    "runtime": (lambda data: data["device"].update(runtime="abacus"), r"device\.runtime: should be 'onnxruntime'"),
    "precision": (lambda data: data["device"].update(precision="int8"), r"device\.precision: should be 'float32'"),
    "threads": (lambda data: data["plan"].update(threads=2), r"plan\.threads: should be 1"),
    "disturbed": (lambda data: data["conditions"].update(num_disturbed=10**6), r"conditions\.num_disturbed: more than"),
    "unknown": (lambda data: data.update(sample={}), "sample.*Did you mean 'samples'"),
    "other file": (lambda data: data.clear(), "not a results file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_results_leave_the_table(
    name: str, bundle_file: Path, results_file: Path, edited: Edited, tmp_path: Path
) -> None:
    change, told = BAD[name]
    path = tmp_path / "t.json"
    import_results([results_file], bundle_file, path=path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=told):
        import_results([edited(change)], bundle_file, path=path)
    assert path.read_bytes() == before


def test_results_of_another_bundle(
    small: SearchSpace, device: Callable[..., DeviceSettings], results_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.zip"
    write_bundle(small, device(), path=other, seed=5)
    with pytest.raises(
        UserError, match=r"results\.json: manifest_sha256: measured with another bundle than .*other\.zip"
    ):
        import_results([results_file], other, path=tmp_path / "t.json")


def test_other_tables_are_not_overwritten(
    bundle_file: Path, results_file: Path, tiny: SearchSpace, tmp_path: Path
) -> None:
    path = tmp_path / "t.json"
    table = import_results([results_file], bundle_file, path=path)
    there: dict[str, Any] = {
        r"t\.json: device: holds a table of another device: cpu .* '286' there\. Give another file, or --replace": (
            table.model_copy(update={"device": table.device.model_copy(update={"cpu": "286"})})
        ),
        r"holds a published table of 'samsung_note10'": load_table(find_table("samsung_note10")),
    }
    for told, other in there.items():
        other.save(path)
        before = path.read_bytes()
        with pytest.raises(UserError, match=told):
            import_results([results_file], bundle_file, path=path)
        assert path.read_bytes() == before
    path.write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        import_results([results_file], bundle_file, path=path)
    import_results([results_file], bundle_file, path=path, replace=True)
    assert isinstance(load_table(path), LatencyTable)
