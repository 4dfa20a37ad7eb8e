"""Measuring a whole table: what is written, how it goes on after a crash, what it refuses to overwrite."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import fx, nn

from latency_tables import batches, measure, samples
from latency_tables.items import EMPTY_CALL, network_items, network_key, operator_items
from latency_tables.journal import Journal
from latency_tables.measure import measure_networks, measure_onnx_files, measure_table, this_device
from latency_tables.networks import choose_networks
from latency_tables.onnx.graph import to_onnx
from latency_tables.samples import Sample
from latency_tables.settings import DeviceSettings
from latency_tables.table import load_table
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.plain import build_network

Device = Callable[..., DeviceSettings]


@pytest.fixture(autouse=True)
def every_sample_counts(nobody_disturbs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are counted here: none may be taken again because of what else the machine does."""
    monkeypatch.setattr(samples, "ENOUGH_READINGS", 10**6)


class Killed(BaseException):
    """What a killed process looks like from inside a test."""


def count_samples(monkeypatch: pytest.MonkeyPatch, *, die_after: int | None = None) -> Counter[str]:
    """Count the finished samples of every item; with `die_after`, die once so many groups are recorded."""
    taken: Counter[str] = Counter()
    groups = 0
    record = Journal.record

    def counting(self: Journal, sample: Sample) -> None:
        nonlocal groups
        record(self, sample)
        taken.update(list(sample.ms))
        groups += 1
        if groups == die_after:
            raise Killed

    monkeypatch.setattr(Journal, "record", counting)
    return taken


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_table_holds_exactly_the_operators_of_the_space(
    tiny: SearchSpace, device: Device, tmp_path: Path, runtime: str
) -> None:
    space = tiny.restrict(kernel=[3], resolution=[16])
    path = tmp_path / "tables" / "here.json"
    table = measure_table(space, device(runtime=runtime), path=path)
    assert list(table.entries) == list(space.operators())
    assert all(entry.count == 2 and entry.median_ms > 0 for entry in table.entries.values())
    assert (table.device.runtime, table.device.threads) == (runtime, 1)
    assert table.measured_space().description == space.description
    assert table.heldout.num + table.correction.num == space.size
    assert [entry.name for entry in path.parent.iterdir()] == ["here.json"]
    assert load_table(path) == table
    assert table.cost(space).minimum()[0] > 0


@pytest.mark.parametrize("die_after", [1, 7, pytest.param(31, marks=pytest.mark.slow)])
def test_interrupted_measuring_goes_on_where_it_was(
    tiny: SearchSpace, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, die_after: int
) -> None:
    space, path = tiny.restrict(kernel=[3]), tmp_path / "here.json"
    with monkeypatch.context() as patch:
        before = count_samples(patch, die_after=die_after)
        with pytest.raises(Killed):
            measure_table(space, device(), path=path)
    assert not path.exists()
    journal = path.with_suffix(".journal.jsonl")
    with open(journal, "a") as stream:
        stream.write('{"ms": {"torn')
    kept = Journal(journal, this_device(device())[1])
    assert kept.counts() == before
    with monkeypatch.context() as patch:
        after = count_samples(patch)
        table = measure_table(space, device(), path=path)
    probes = choose_networks(space, num_fit=4, num_heldout=20, seed=0)
    networks = {network_key(space, network) for network in (*probes.fit, *probes.heldout)}
    assert before + after == Counter(dict.fromkeys({EMPTY_CALL, *space.operators(), *networks}, 2))
    for key in (key for key in space.operators() if before[key] == 2):  # but for what later readings say of the speed
        assert table.entries[key].median_ms == pytest.approx(kept.samples[key].summary().median_ms, rel=0.3)
    assert not journal.exists()


def test_finished_table_is_not_measured_again(
    tiny: SearchSpace, device: Device, table_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = count_samples(monkeypatch)
    written = table_file.read_bytes()
    leftover = table_file.with_suffix(".journal.jsonl")
    leftover.write_text("")  # killed between writing the table and deleting the journal
    table = measure_table(tiny, device(time_budget_s=5), path=table_file)
    assert not taken and table_file.read_bytes() == written and table == load_table(table_file)
    assert not leftover.exists()


def test_other_sampling_is_measured_anew(
    tiny: SearchSpace, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, path = tiny.restrict(kernel=[3], depth=[1], resolution=[16]), tmp_path / "here.json"
    measure_table(space, device(), path=path)
    taken = count_samples(monkeypatch)
    measure_table(space, device(rounds=3), path=path)
    assert set(taken.values()) == {3}


def test_tables_of_other_devices_and_spaces_are_not_overwritten(
    tiny: SearchSpace, device: Device, table_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "here.json"
    data = json.loads(table_file.read_text())
    data["device"]["cpu"] = "Abacus 3000"
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=r"another device.*Abacus 3000"):
        measure_table(tiny, device(), path=path)
    path.write_bytes(table_file.read_bytes())
    other = get_space({"name": "mobilenet_v3_28"}, num_classes=10, in_channels=1)
    with pytest.raises(UserError, match=r"another space.*mobilenet_v3_digits.*mobilenet_v3_28"):
        measure_table(other, device(), path=path)
    assert path.read_bytes() == table_file.read_bytes()
    small = get_space(other.settings | {"name": "mobilenet_v3_28"}, 4, 1).restrict(
        kernel=[3], depth=[2], expand=[3], resolution=[20]
    )
    assert measure_table(small, device(), path=path, replace=True).space.fingerprint == small.fingerprint


@pytest.mark.parametrize(
    "lines",
    [
        ["[]"],
        ['{"schema": 2, "device": {}}'],
        ['{"schema": 3, "device": {"cpu": 3}}'],
        ["HEAD", '{"ms": {"a": NaN}, "disturbed": false, "pulse_ms": null}'],
        ["HEAD", '{"ms": {"a": -1.0}, "disturbed": false, "pulse_ms": null}'],
        ["HEAD", '{"ms": {"a": "1"}, "disturbed": false, "pulse_ms": null}'],
        ["HEAD", '{"ms": {"a": 1.0}, "disturbed": false}'],
        ["HEAD", '{"ms": {"a": 1.0}, "disturbed": false, "pulse_ms": 0.0}'],
        ["HEAD", '{"retract": 1}'],
        ["HEAD", '{"round": {"s": 0.0}}'],
        ["HEAD", "7"],
        ["HEAD", "not json"],
    ],
)
def test_damaged_journal_is_refused(lines: list[str], device: Device, tmp_path: Path) -> None:
    here, path = this_device(device())[1], tmp_path / "t.journal.jsonl"
    head = json.dumps({"schema": 3, "device": here.model_dump()})
    path.write_text("".join(line.replace("HEAD", head) + "\n" for line in lines))
    with pytest.raises(UserError, match=r"t\.journal\.jsonl"):
        Journal(path, here)


def test_journal_of_another_device_is_refused(device: Device, tmp_path: Path) -> None:
    here, path = this_device(device())[1], tmp_path / "t.journal.jsonl"
    Journal(path, here.model_copy(update={"runtime_version": "0.1"}))
    with pytest.raises(UserError, match=r"another device: runtime_version .* here, '0.1' there"):
        Journal(path, here)


def test_two_halves_of_a_measurement_are_united_once(device: Device, tmp_path: Path) -> None:
    here = this_device(device())[1]
    mine, other = Journal(tmp_path / "a.jsonl", here), Journal(tmp_path / "b.jsonl", here)
    mine.record(Sample({"x": 1.0}))
    other.begin_round({"s": 1.0})
    other.record(Sample({"x": 3.0, "y": 2.0}))
    other.record(Sample({"y": 9.0}))
    other.retract(1)
    assert mine.merge(other.path, here) == 2 and mine.merge(other.path, here) == 0
    assert mine.counts() == {"x": 2, "y": 2} and mine.counts(clean=True) == {"x": 2, "y": 1} and mine.num_rounds == 1
    again = Journal(mine.path, here)
    assert again.counts(clean=True) == mine.counts(clean=True) and again.merge(other.path, here) == 0
    before = mine.path.read_bytes()
    Journal(tmp_path / "c.jsonl", here.model_copy(update={"threads": 9}))
    with pytest.raises(UserError, match=r"c\.jsonl.*another device"):
        mine.merge(tmp_path / "c.jsonl", here)
    with pytest.raises(UserError, match=r"d\.jsonl.*no such"):
        mine.merge(tmp_path / "d.jsonl", here)
    assert mine.path.read_bytes() == before


def test_more_threads_than_cores(device: Device) -> None:
    with pytest.raises(UserError, match=r"here\.threads.*cores.*1024"):
        this_device(device(threads=1024))


def test_items_are_prepared_in_batches_that_fit(tiny: SearchSpace) -> None:
    everything = operator_items(tiny) | network_items(tiny, tiny.decode(tiny.sample(3, np.random.default_rng(0))))
    limit = 5 * 2**20
    found = list(batches._batches(everything, limit, (0, 0)))
    assert sorted(key for batch in found for key in batch) == sorted(everything) and len(found) > 2
    for batch in found:
        assert len(batch) == 1 or sum(everything[key].num_bytes for key in batch) <= limit


def test_networks_and_their_files(tiny: SearchSpace, device: Device, tmp_path: Path) -> None:
    networks = [build_network(tiny, tiny.decode(row)[0]) for row in (tiny.smallest(), tiny.largest())]
    shapes = [(1, 16, 16), (1, 20, 20)]
    for runtime in ("torch", "onnxruntime"):
        results = measure_networks(networks, shapes, device(runtime=runtime), rounds=3)
        assert [result.count for result in results] == [3, 3]
        assert all(0 < result.p10_ms <= result.median_ms <= result.p90_ms for result in results)
    paths = [tmp_path / "small.onnx", tmp_path / "large.onnx"]
    for path, network, shape in zip(paths, networks, shapes, strict=True):
        path.write_bytes(to_onnx(network, shape).SerializeToString())
    results = measure_onnx_files(paths, device(), rounds=3)
    assert [result.count for result in results] == [3, 3] and all(result.median_ms > 0 for result in results)
    assert measure_networks([], [], device()) == []


def test_files_that_cannot_be_measured(device: Device, tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match="not an ONNX model"):
        measure_onnx_files([bad], device())
    with pytest.raises(UserError, match="no such ONNX file"):
        measure_onnx_files([tmp_path / "none.onnx"], device())
    with pytest.raises(UserError, match="does not run ONNX files"):
        measure_onnx_files([bad], device(runtime="torch"))


def test_files_with_open_sides(device: Device, tmp_path: Path) -> None:
    module = fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    path = tmp_path / "open.onnx"
    for names, fine in ((("batch", 3, 8, 8), True), ((1, 3, "height", "width"), False)):
        model = to_onnx(module, (3, 8, 8))
        for side, name in zip(model.graph.input[0].type.tensor_type.shape.dim, names, strict=True):
            if isinstance(name, str):
                side.dim_param = name
        del model.graph.output[0].type.tensor_type.shape.dim[:]
        model.graph.output[0].type.tensor_type.ClearField("shape")
        path.write_bytes(model.SerializeToString())
        if fine:
            assert measure_onnx_files([path], device(), rounds=1)[0].median_ms > 0
        else:
            with pytest.raises(UserError, match="open sides"):
                measure_onnx_files([path], device(), rounds=1)
            assert measure_onnx_files([path], device(), rounds=1, input_shapes=[[(1, 3, 9, 9)]])[0].median_ms > 0


def test_load_average_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(measure.os, "getloadavg", raising=False)
    assert measure._load() is None
