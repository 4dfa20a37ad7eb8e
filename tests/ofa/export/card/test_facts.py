"""What a card takes from a run: its tables' intervals, its machine, its data."""

from __future__ import annotations

from pathlib import Path

import pytest

from latency_tables.conformal import interval
from latency_tables.table import LatencyTable, load_any_table
from ofa.config import load_run_config
from ofa.export.card import DeviceFacts
from ofa.export.card.facts import card_facts
from ofa.export.session import ExportSession
from search_spaces.common.files import file_digest


@pytest.fixture(scope="module")
def table(finished: Path) -> LatencyTable:
    found = load_any_table(finished / "tables" / "here.json")
    assert isinstance(found, LatencyTable)
    return found


def test_facts_of_a_run(finished: Path, table: LatencyTable) -> None:
    session = ExportSession(finished, load_run_config(finished), quiet=True)
    facts = card_facts(session, licence="MIT")
    assert facts.run is not None and facts.run.name == "tiny" and facts.licence == "MIT"
    assert facts.run.config_sha256 == file_digest(finished / "config.yaml")
    sizes = {split.name: (split.num_images, split.sha256) for split in facts.data.splits}
    kept = session.supernet.info["data"]
    assert sizes == {name: (size, kept["split_sha256"][name]) for name, size in kept["split_sizes"].items()}
    assert list(facts.devices) == ["here"] and facts.devices["here"] == DeviceFacts.of(table)


def test_intervals_are_those_of_the_table(table: LatencyTable) -> None:
    num = len(table.graded[0])
    enough = num / (num + 1) - 1e-6  # the highest confidence that so many measurements give
    bounds = interval(*table.graded, enough)
    assert DeviceFacts.of(table, confidence=enough).interval == (bounds.low, bounds.high)
    too_few = DeviceFacts.of(table, confidence=0.9999)
    assert too_few.interval is None and too_few.num_graded == num
    assert table.device.cpu in too_few.machine and table.device.runtime_version in too_few.machine
