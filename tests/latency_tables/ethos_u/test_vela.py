"""Whole networks through Vela, and the table that is fitted to its answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ethosu.vela")
pytest.importorskip("ai_edge_litert")

from latency_tables.ethos_u import vela
from latency_tables.ethos_u.table import ask, can_ask, fit_operators, heldout_errors, vela_table
from latency_tables.ethos_u.vela import VelaOracle, compile_costs, int8_network
from latency_tables.table import load_table
from ofa.cli import main
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.common.errors import UserError

ACCELERATOR = "ethos-u55-128"


def sample(space: SearchSpace, num: int) -> list[Architecture]:
    return space.decode(space.sample(num, np.random.default_rng(0)))


def test_answers_are_kept(tiny: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks, cache = sample(tiny, 5), tmp_path / "answers.jsonl"
    first = VelaOracle(tiny, ACCELERATOR, cache=cache).costs(networks)
    assert first == VelaOracle(tiny, ACCELERATOR).costs(networks)
    assert all(costs.npu_share == 1 and not costs.cpu_operators for costs in first)
    assert len({costs.cycles for costs in first}) == 5
    assert len(cache.read_text().splitlines()) == 5

    def refuse(model: bytes, accelerator: str) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(vela, "compile_costs", refuse)
    assert VelaOracle(tiny, ACCELERATOR, cache=cache).costs([*networks, *networks]) == [*first, *first]
    with pytest.raises(AssertionError, match="asked again"):
        VelaOracle(tiny, "ethos-u55-64", cache=cache).costs(networks)


def test_larger_networks_and_smaller_npus_take_more(tiny: SearchSpace) -> None:
    ends = tiny.decode(np.stack([tiny.smallest(), tiny.largest()]))
    small, large = VelaOracle(tiny, ACCELERATOR).costs(ends)
    assert small.cycles < large.cycles and small.flash_bytes < large.flash_bytes
    assert small.sram_bytes <= large.sram_bytes
    assert VelaOracle(tiny, "ethos-u55-32").costs(ends[1:])[0].cycles > large.cycles
    weights = tiny.cost("params").evaluate(tiny.encode(ends))[1]
    assert 0.5 * weights < large.flash_bytes < 4 * weights


def test_what_the_cpu_runs_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    settings = {"name": "vit_nano", "attention": ["linear"]}
    space = get_space(settings, num_classes=5, in_channels=1)
    (costs,) = VelaOracle(space, ACCELERATOR).costs(space.decode(space.smallest()))
    assert 0.5 < costs.npu_share < 1
    assert {"DIV", "DEQUANTIZE", "QUANTIZE"} <= set(costs.cpu_operators)
    assert "Warning" not in capfd.readouterr().out


def test_the_network_is_always_the_same(tiny: SearchSpace) -> None:
    network = sample(tiny, 1)[0]
    assert int8_network(tiny, network) == int8_network(tiny, network)


def test_mistakes(tiny: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="ethos-u55-128"):
        VelaOracle(tiny, "ethos-u55-129")
    with pytest.raises(UserError, match="Vela cannot compile"):
        compile_costs(b"no model at all", ACCELERATOR)
    cache = tmp_path / "answers.jsonl"
    cache.write_text(json.dumps({"key": "x", "cycles": "many"}) + "\n")
    with pytest.raises(UserError, match="something else") as raised:
        VelaOracle(tiny, ACCELERATOR, cache=cache)
    assert raised.value.file == cache

    def missing(package: str) -> str:
        raise vela.PackageNotFoundError(package)

    monkeypatch.setattr(vela, "version", missing)
    with pytest.raises(UserError, match=r"ofa-nas\[ethosu\]"):
        VelaOracle(tiny, ACCELERATOR)


def test_fit_finds_sums_again(tiny: SearchSpace) -> None:
    """Costs that are sums of operators are found, though each is up to half off what it costs alone."""
    rng = np.random.default_rng(1)
    true = {key: float(op.macs()) * rng.uniform(0.5, 1.5) + 500 for key, op in tiny.operators().items()}
    networks = sample(tiny, 160)
    alone = {key: round(float(op.macs())) for key, op in tiny.operators().items()}

    def cycles(architectures: Sequence[Architecture]) -> list[int]:
        return [round(2_000 + sum(true[op.key] for _, op in tiny.network(arch))) for arch in architectures]

    constant, found = fit_operators(tiny, networks[:120], cycles(networks[:120]), alone)
    assert constant >= 0 and set(found) == set(true) and min(found.values()) > 0
    predicted = [constant + sum(found[op.key] for _, op in tiny.network(arch)) for arch in networks[120:]]
    errors = np.abs(np.array(predicted) / cycles(networks[120:]) - 1)
    assert errors.mean() < 0.02


def test_table(tiny: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    table = vela_table(tiny, ACCELERATOR, num=32, num_heldout=8, path=path, cache=tmp_path / "answers.jsonl")
    again = load_table(path)
    assert again == table and table.metric == "cycles" and table.checked is not None
    assert len(table.checked.networks) == 8 and set(table.entries) == set(tiny.operators())
    error, tau = heldout_errors(table)
    assert error < 0.02 and tau is not None and tau > 0.9
    seen = {json.dumps(network.architecture, sort_keys=True) for network in table.checked.networks}
    assert len(seen) == 8
    observed = VelaOracle(tiny, ACCELERATOR, cache=tmp_path / "answers.jsonl").costs(
        [Architecture.from_json(network.architecture) for network in table.checked.networks]
    )
    assert [network.observed for network in table.checked.networks] == [costs.cycles for costs in observed]
    networks = [Architecture.from_json(network.architecture) for network in table.checked.networks[:2]]
    assert can_ask(table) and ask(table, tiny, networks) == [costs.cycles for costs in observed[:2]]
    elsewhere = {**table.provenance, "vela": "0.1"}
    assert not can_ask(table.model_copy(update={"provenance": elsewhere})), "another Vela says something else"
    assert not can_ask(table.model_copy(update={"device": "cortex-m4"}))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, space = tmp_path / "table.json", tmp_path / "space.yaml"
    named = "{name: mobilenet_v3_digits, resolution: [16], kernel: [3], expand: [3], depth: [1, 2]}"
    space.write_text(f"space: {named}\n")
    arguments = ["measure", "--space", str(space), "--num-classes", "10", "--in-channels", "1", "-o", str(path)]

    def run(*more: str) -> tuple[int, str]:
        try:
            main([*arguments, *more])
        except SystemExit as ended:
            return int(ended.code or 0), "".join(capsys.readouterr())
        return 0, capsys.readouterr().out

    code, said = run("--device", ACCELERATOR)
    assert code == 0 and "cycles" in said and "mean error" in said
    table = load_table(path)
    code, said = run("--device", ACCELERATOR, "--json")
    assert code == 0 and json.loads(said)["num_operators"] == len(table.entries)
    assert load_table(path) == table
    code, said = run("--device", "ethos-u55-64")
    assert code == 2 and "another device or space" in said
    code, said = run("--device", "ethos-u55-127", "--replace")
    assert code == 2 and "ethos-u55-128" in said
    code, said = run("--device", ACCELERATOR, "--rounds", "3")
    assert code == 2 and "--rounds" in said
    assert load_table(path) == table
