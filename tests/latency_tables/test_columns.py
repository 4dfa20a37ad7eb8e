"""A table with further columns: the same device beside busy processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from latency_tables import measure
from latency_tables.columns import measure_columns
from latency_tables.settings import DeviceSettings
from latency_tables.table import LatencyTable, load_table
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError

Device = Callable[..., DeviceSettings]


@pytest.fixture
def small(tiny: SearchSpace) -> SearchSpace:
    return tiny.restrict(kernel=[3], resolution=[16])


@pytest.mark.slow
def test_a_column_is_added_to_a_finished_table(
    small: SearchSpace, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "here.json"
    alone = measure_columns(small, device(), path=path)
    both = measure_columns(small, device(), path=path, beside=[1])
    assert both.entries == alone.entries  # not measured again
    busy = both.column(1)
    assert busy.device.contention == 1 and list(busy.entries) == list(alone.entries)
    assert load_table(path) == both
    assert [entry.name for entry in tmp_path.iterdir()] == ["here.json"]

    def measured(*_: object, **__: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(measure, "measure_items", measured)
    before = path.read_bytes()
    measure_columns(small, device(), path=path, beside=[1])
    assert path.read_bytes() == before


def test_a_column_that_was_interrupted_leaves_the_table(
    small: SearchSpace, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "here.json"
    alone = measure_columns(small, device(), path=path)
    with monkeypatch.context() as patch:
        patch.setattr(measure, "measure_items", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            measure_columns(small, device(), path=path, beside=[1])
    assert load_table(path) == alone


def with_column(table: LatencyTable, number: int) -> LatencyTable:
    device = table.device.model_copy(update={"contention": number})
    return table.with_column(table.model_copy(update={"device": device, "contended": []}))


def test_columns_are_of_one_device_and_of_different_loads(table_file: Path) -> None:
    table = load_table(table_file)
    assert isinstance(table, LatencyTable)
    both = with_column(with_column(table, 2), 1)
    assert [column.device.contention for column in both.contended] == [1, 2]
    assert with_column(both, 2) == both  # takes the place of the one that is there
    with pytest.raises(UserError, match="Known: 0, 1, 2"):
        both.column(3)
    other = both.model_dump(mode="json")
    other["contended"][0]["device"]["threads"] = 7
    with pytest.raises(ValueError, match="of the device and the space"):
        LatencyTable.model_validate(other)
    twice = both.model_dump(mode="json")
    twice["contended"][1]["device"]["contention"] = 1
    with pytest.raises(ValueError, match="different numbers"):
        LatencyTable.model_validate(twice)
