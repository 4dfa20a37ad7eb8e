"""Published tables: what a file may hold, what it answers, and that the shipped one is the original."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_tables.once_for_all.convert import convert
from latency_tables.published import NOTE, PublishedTable
from latency_tables.shipped import find_table, shipped_devices
from latency_tables.table import LatencyTable, load_table
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.common.errors import UserError

PEER = Path(__file__).with_name("published_note10_latencies.json")
PAGE = Path(__file__).parents[2] / "docs" / "latency_tables.md"
DATA = Path(os.environ.get("OFA_BENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))

#: with what the shipped table was imported
NOTE10: dict[str, Any] = {
    "device": "samsung_note10",
    "unit": "ms",
    "title": "Latency lookup tables of once-for-all: MobileNetV3 (width 1.2) on a Samsung Note10, TFLite",
    "where": "https://github.com/gatech-sysml/CompOFA, which redistributes the files of "
    "https://github.com/mit-han-lab/once-for-all",
    "licence": "Apache-2.0",
}

RESOLUTIONS = [160, 176, 192, 208, 224]


@pytest.fixture
def note10() -> PublishedTable:
    table = load_table(find_table("samsung_note10"))
    assert isinstance(table, PublishedTable)
    return table


def test_the_shipped_table_is_the_conversion_of_the_originals(tmp_path: Path) -> None:
    files = sorted(DATA.glob("published/note10_mobilenet_v3_w1.2/*.yaml"))
    if not files:
        pytest.skip("OFA_BENCH_DATA has no published tables")
    found = convert(files, **NOTE10)
    assert found.unused == {}
    found.table.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == find_table("samsung_note10").read_bytes()


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    """All tables by their names."""
    return {device: load_table(find_table(device)) for device in shipped_devices()}


@pytest.fixture(scope="module")
def measured(shipped: dict[str, Any]) -> dict[str, LatencyTable]:
    return {device: table for device, table in shipped.items() if isinstance(table, LatencyTable)}


def test_measured_tables_hold_their_space_and_say_how_good_they_are(measured: dict[str, LatencyTable]) -> None:
    assert len(measured) > 40
    for device, table in measured.items():
        space = table.measured_space()
        assert table.cost(space).minimum()[0] > 0 and set(table.entries) == set(space.operators()), device
        assert table.heldout.num >= 24 and table.heldout.mape < 0.05, device
        assert table.conditions.drift <= table.settings.max_drift, device
        assert table.settings.max_other_load is not None, f"{device} was measured on a machine that nobody watched"


def test_the_page_tells_what_the_shipped_tables_say_of_themselves(measured: dict[str, LatencyTable]) -> None:
    """A grid a processor, in it a row a space, a column a runtime, each cell the mean error and Kendall's tau."""
    told: dict[tuple[str, str, str], str] = {}
    cpu, runtimes = "", []
    for line in PAGE.read_text().splitlines():
        if line.startswith("#"):
            cpu, runtimes = line.strip("# ").lower().replace("zen ", "zen").replace(" ", "_"), []
        elif line.startswith("| space | classes, channels |"):
            runtimes = [cell.strip("` ") for cell in line.split("|")[3:-1]]
        elif runtimes and line.startswith("| `"):
            name, _, *cells = (cell.strip() for cell in line.split("|")[1:-1])
            told |= {(cpu, name.split("`")[1], runtime): cell for runtime, cell in zip(runtimes, cells, strict=True)}
    assert {key: cell for key, cell in told.items() if cell.strip("-")} == {
        ("_".join(device.split("_")[:2]), table.space.name, table.device.runtime): (
            f"{table.heldout.mape:.1%}, {table.heldout.kendall_tau:.2f}"
        )
        for device, table in measured.items()
    }


def test_tables_are_named_after_the_processor_they_were_measured_on(measured: dict[str, LatencyTable]) -> None:
    models = {"amd_zen3": "cpu family 25, model 1,", "amd_zen4": "cpu family 25, model 17,"}
    for device, table in measured.items():
        assert models["_".join(device.split("_")[:2])] in table.device.cpu, device


def test_the_published_table_says_what_it_is_and_holds_its_space(note10: PublishedTable) -> None:
    table = note10
    assert table.device == "samsung_note10"
    assert table.note == NOTE == "published, not measured here" and table.unit == "ms"
    assert table.licence != "not stated" and table.source.where.startswith("https://")
    assert table.source.title and table.source.files
    space = table.measured_space()
    assert space.fingerprint == table.space.fingerprint and space.name == table.space.name
    assert space.genome.option_values("resolution").tolist() == table.resolutions
    cost = table.cost(space)
    assert (cost.metric, cost.unit, cost.constant) == ("latency", "ms", 0.0)
    assert 0 < cost.minimum()[0] < cost.maximum()[0]


def test_note10_is_of_the_space_it_was_published_for(note10: PublishedTable) -> None:
    space = note10.measured_space()
    assert space.fingerprint == get_space({"name": "ofa_mobilenet_v3", "width_mult": 1.2}).fingerprint
    assert note10.resolutions == RESOLUTIONS
    for resolution in RESOLUTIONS:  # no operator that no network has
        assert set(note10.entries[resolution]) == set(space.restrict(resolution=[resolution]).operators())
    assert sum(map(len, note10.entries.values())) == 475


def test_note10_gives_the_latencies_that_once_for_all_gives(note10: PublishedTable) -> None:
    networks = json.loads(PEER.read_text())["networks"]
    space = note10.measured_space()
    rows = space.encode([Architecture.from_json(network["architecture"]) for network in networks])
    expected = [network["latency_ms"] for network in networks]
    assert len(expected) == 50
    assert note10.cost(space).evaluate(rows) == pytest.approx(expected, abs=1e-6, rel=0)


def test_cost_is_the_sum_of_the_means_of_its_resolution(note10: PublishedTable) -> None:
    space = note10.measured_space()
    cost = note10.cost(space)
    rows = space.sample(20, np.random.default_rng(0))
    for row, architecture, latency in zip(rows, space.decode(rows), cost.evaluate(rows), strict=True):
        entries = note10.entries[architecture.resolution]
        parts = {slot: entries[operator.key].mean_ms for slot, operator in space.network(architecture)}
        assert dict(cost.explain(row)) == parts
        assert sum(parts.values()) == pytest.approx(latency, abs=1e-12)


def test_operators_without_a_resolution_still_cost_what_was_measured_at_each(note10: PublishedTable) -> None:
    """The classifier is one operator; each of the five files has its own time for it."""
    space = note10.measured_space()
    (row,) = space.sample(1, np.random.default_rng(0))
    rows = np.repeat(row[None], len(RESOLUTIONS), axis=0)
    rows[:, space.genome.driver["resolution"]] = range(len(RESOLUTIONS))
    classifier = note10.cost(space).contributions(rows)[:, -1]
    key = next(key for key in space.operators() if key.startswith("classifier"))
    assert classifier.tolist() == [note10.entries[resolution][key].mean_ms for resolution in RESOLUTIONS]
    assert len(set(classifier.tolist())) == len(RESOLUTIONS)


def test_extremes_are_exact(note10: PublishedTable) -> None:
    space = note10.measured_space()
    cost = note10.cost(space)
    low, row = cost.minimum()
    assert space.decode(row)[0].resolution == 160
    assert low == min(note10.cost(space.restrict(resolution=[r])).minimum()[0] for r in RESOLUTIONS)
    assert cost.maximum()[0] == max(note10.cost(space.restrict(resolution=[r])).maximum()[0] for r in RESOLUTIONS)


def test_coupled_spaces_are_served_too(note10: PublishedTable) -> None:
    """A sub-space whose depths and expand ratios move together has the same operators."""
    space = note10.measured_space()
    compound = get_space({"name": "mobilenet_v3_compound", "width_mult": 1.2}).restrict(resolution=[176, 224])
    rows = compound.sample(10, np.random.default_rng(0))
    same = space.encode(compound.decode(rows))
    assert note10.cost(compound).evaluate(rows) == pytest.approx(note10.cost(space).evaluate(same), abs=1e-12)


def test_missing_resolutions_are_named(note10: PublishedTable) -> None:
    with pytest.raises(UserError) as caught:
        note10.cost(get_space({"name": "ofa_mobilenet_v3", "width_mult": 1.2}))
    message = str(caught.value)
    assert "20 of 25 resolutions are missing: 128, 132" in message
    assert "holds the resolutions 160, 176, 192, 208, 224" in message and "samsung_note10.json" in message


def test_another_width_is_told(note10: PublishedTable) -> None:
    with pytest.raises(UserError) as caught:
        note10.cost(get_space({"name": "ofa_mobilenet_v3"}).restrict(resolution=[160, 224]))
    message = str(caught.value)
    assert "operators at resolution 160 are missing: conv-3-16-160" in message
    assert note10.space.fingerprint in message and "width_mult: 1.2 here, 1.0 there" in message


def test_a_space_with_nothing_in_common_is_told(note10: PublishedTable) -> None:
    with pytest.raises(UserError, match=r"is of the space 'ofa_mobilenet_v3' .* not of 'mobilenet_v3_digits'"):
        note10.cost(get_space({"name": "mobilenet_v3_digits"}))


def test_a_missing_operator_is_named(note10: PublishedTable) -> None:
    entries = {side: dict(operators) for side, operators in note10.entries.items()}
    key = list(entries[192])[40]
    del entries[192][key]
    less = note10.model_copy(update={"entries": entries})
    with pytest.raises(UserError, match="1 of 95 operators at resolution 192 are missing") as caught:
        less.cost(note10.measured_space())
    assert key in str(caught.value)


def _set(*path: str, value: object) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for name in path[:-1]:
            data = data[name]
        data[path[-1]] = value

    return change


CONV = "conv-3-24-160-3-2-hard_swish"
CORRUPTIONS: dict[str, tuple[Callable[[Any], None], str]] = {
    "NaN": (_set("entries", "160", CONV, "mean_ms", value=float("nan")), f"entries.160.{CONV}.mean_ms.*finite"),
    "negative": (_set("entries", "160", CONV, "mean_ms", value=-1.0), f"entries.160.{CONV}.mean_ms.*greater than 0"),
    "text": (_set("entries", "160", CONV, "std_ms", value="0.1"), f"entries.160.{CONV}.std_ms.*'0.1'"),
    "no samples": (_set("entries", "160", CONV, "count", value=0), f"entries.160.{CONV}.count"),
    "median": (_set("entries", "160", CONV, "median_ms", value=1.0), "median_ms.*Did you mean 'mean_ms'"),
    "resolution": (_set("entries", "wide", value={}), "entries.wide"),
    "no entries": (_set("entries", value={}), "entries"),
    "boasting": (_set("note", value="measured here"), "note.*published, not measured here"),
    "an error figure": (_set("heldout", value={"mape": 0.01}), "heldout.*unknown key"),
    "other kind": (_set("kind", value="guessed"), "unknown kind 'guessed'.*published"),
    "other unit": (_set("unit", value="us"), "unit.*'ms'.*us"),
    "device": (_set("device", value="../note10"), "device"),
    "digest": (_set("source", "files", "160_lookup_table.yaml", value="none"), "source.files"),
    "later schema": (_set("schema", value=2), "schema.*2.*Known: 1"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_unsound_table_is_refused(name: str, tmp_path: Path) -> None:
    change, message = CORRUPTIONS[name]
    data = json.loads(find_table("samsung_note10").read_text())
    change(data)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=message) as caught:
        load_table(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_measured_tables_are_still_read_as_such(table: LatencyTable, tiny: SearchSpace, note10: PublishedTable) -> None:
    assert isinstance(table, LatencyTable) and table.measured_space().fingerprint == tiny.fingerprint
    with pytest.raises(UserError, match="is of the space"):
        note10.cost(tiny)


def test_measuring_does_not_overwrite_a_published_table(
    tiny: SearchSpace, device: Callable[..., Any], note10: PublishedTable, tmp_path: Path
) -> None:
    from latency_tables.measure import measure_table

    path = tmp_path / "phone.json"
    note10.save(path)
    before = path.read_bytes()
    with pytest.raises(UserError, match="holds a published table of 'samsung_note10'"):
        measure_table(tiny, device(), path=path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_path_goes_before_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_table("samsung_note10").is_absolute()
    Path("samsung_note10").write_text("{}")
    assert find_table("samsung_note10") == Path("samsung_note10")
    with pytest.raises(UserError, match=r"no such latency table\. Did you mean 'samsung_note10'\? Shipped devices: "):
        find_table("samsung_note9")
