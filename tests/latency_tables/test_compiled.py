from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from latency_tables import compiled
from latency_tables.columns import measure_columns
from latency_tables.compiled import Compiled, compile_item
from latency_tables.items import Item, network_items, operator_items
from latency_tables.measure import measure_table
from latency_tables.networks import choose_networks
from latency_tables.runtimes.onnxruntime import OnnxRuntime
from latency_tables.settings import DeviceSettings
from search_spaces import Architecture, SearchSpace

Device = Callable[..., DeviceSettings]


@pytest.fixture
def networks(tiny: SearchSpace) -> list[Architecture]:
    return choose_networks(tiny, num_fit=4, num_heldout=1, seed=0).fit[:2]


@pytest.fixture
def items(tiny: SearchSpace, networks: list[Architecture]) -> dict[str, Item]:
    return {**operator_items(tiny), **network_items(tiny, networks)}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Input shapes of what this process compiles."""
    shapes: list[tuple[int, ...]] = []
    compile = OnnxRuntime.compile

    def counting(self: OnnxRuntime, module: object, input_shape: tuple[int, ...]) -> bytes:
        shapes.append(input_shape)
        return compile(self, module, input_shape)  # type: ignore[arg-type]

    monkeypatch.setattr(OnnxRuntime, "compile", counting)
    return shapes


def test_an_item_is_compiled_once(
    tiny: SearchSpace, items: dict[str, Item], counted: list[tuple[int, ...]], tmp_path: Path
) -> None:
    here = Compiled(OnnxRuntime(), tiny, items, tmp_path / "c")
    key = next(iter(tiny.operators()))
    first = here[key]
    assert here[key] == first and Compiled(OnnxRuntime(), tiny, items, tmp_path / "c")[key] == first
    assert len(counted) == 1
    here.remove()
    assert not (tmp_path / "c").exists()


def test_what_another_version_made_is_not_taken(
    tiny: SearchSpace,
    items: dict[str, Item],
    counted: list[tuple[int, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = next(iter(tiny.operators()))
    Compiled(OnnxRuntime(), tiny, items, tmp_path)[key]
    monkeypatch.setattr(OnnxRuntime, "version", "0.1")
    Compiled(OnnxRuntime(), tiny, items, tmp_path)[key]
    assert len(counted) == 2


def test_processes_compile_the_same_files(
    tiny: SearchSpace,
    networks: list[Architecture],
    items: dict[str, Item],
    counted: list[tuple[int, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiled, "ALONE_S", 0.0)
    monkeypatch.setattr(compiled, "_num_workers", lambda: 2)
    there = Compiled(OnnxRuntime(), tiny, items, tmp_path)
    there.ahead(networks)
    assert len(list(tmp_path.iterdir())) == len(items)
    assert not counted, "all was compiled by others"
    for key in [*list(items)[:3], *list(items)[-2:]]:
        assert there[key] == compile_item(OnnxRuntime(), key, items[key])


def test_without_help_all_is_compiled_here(
    tiny: SearchSpace,
    networks: list[Architecture],
    items: dict[str, Item],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Processes that die at once, as where memory is short, cost nothing but time."""
    monkeypatch.setattr(compiled, "ALONE_S", 0.0)
    monkeypatch.setattr(compiled, "_num_workers", lambda: 2)
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    here = Compiled(OnnxRuntime(), tiny, items, tmp_path)
    here.ahead(networks)
    assert not list(tmp_path.iterdir())
    assert all(here[key] for key in list(items)[:3])


def test_an_interrupted_measurement_finds_its_files_again(
    tiny: SearchSpace, device: Device, counted: list[tuple[int, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "here.json"
    small = tiny.restrict(resolution=[16])
    with monkeypatch.context() as patch:
        patch.setattr(
            "latency_tables.batches.measure_rounds", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            measure_table(small, device(), path=path)
    compiled_once = len(counted)
    assert compiled_once > len(small.operators()) and (tmp_path / "here.compiled").is_dir()
    measure_table(small, device(), path=path)
    assert len(counted) == compiled_once
    assert [entry.name for entry in tmp_path.iterdir()] == ["here.json"]


@pytest.mark.slow
def test_all_columns_of_a_table_are_compiled_once(
    tiny: SearchSpace, device: Device, counted: list[tuple[int, ...]], tmp_path: Path
) -> None:
    small = tiny.restrict(resolution=[16], kernel=[3])
    measure_table(small, device(), path=tmp_path / "here.json")
    one = len(counted)
    counted.clear()
    table = measure_columns(small, device(), path=tmp_path / "here.json", beside=[1, 2], replace=True)
    assert len(table.contended) == 2 and len(counted) == one > len(small.operators())
    assert [entry.name for entry in tmp_path.iterdir()] == ["here.json"]
