"""Boards in a search: three costs of one device, of which peak memory is a maximum; what a board has is a limit by
itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.cortex_m.board_table import BoardCosts, BoardTable, CheckedBoard, CheckedCosts, PerNetwork
from latency_tables.cortex_m.boards import get_board
from latency_tables.identity import SpaceIdentity
from latency_tables.published import Source
from ofa.search.budgets import ResolvedBudget, full_name, parse_max, resolve
from ofa.search.costs import all_costs, capacities, named_tables, run_tables
from ofa.search.facts import universal_facts
from ofa.search.feasibility.feasible import feasible_networks
from ofa.search.finalists import Int8, Outcome, choose_winners
from ofa.search.offline.search import front_offline, search_offline
from ofa.search.run import search
from ofa.search.settings import SearchSettings
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import Infeasible, UserError
from search_spaces.costs import CostTable
from search_spaces.operators import Operator

Write = Callable[..., Path]


def board_costs(operator: Operator, scale: int) -> BoardCosts:
    """Made up, but each with a different order of the operators."""
    return BoardCosts(
        instructions=int(3 * scale * operator.macs()) + 100,
        peak_memory=int(operator.peak_memory("int8")) * scale,
        flash=int(operator.flash("int8")) + 64,
    )


@pytest.fixture(scope="module")
def write(space: SearchSpace, tmp_path_factory: pytest.TempPathFactory) -> Write:
    """A table of made-up costs, whose networks cost what they should."""
    folder = tmp_path_factory.mktemp("boards")

    def write(name: str = "stm32f446", *, scale: int = 1, sram: int | None = None, flash: int | None = None) -> Path:
        board = get_board(name)
        for memory, size in (("sram", sram), ("flash", flash)):
            if size is not None:
                own = getattr(board, memory).model_copy(update={"size": size})
                board = board.model_copy(update={memory: own})
        table = BoardTable(
            board=board,
            memory_plan="overwriting",
            note="made up",
            licence="none",
            source=Source(title="none", where="here", files={}),
            provenance={},
            space=SpaceIdentity.of(space),
            per_network=PerNetwork(instructions=15, flash=6000),
            entries={key: board_costs(operator, scale) for key, operator in space.operators().items()},
        )
        rows = space.sample(20, np.random.default_rng(0))
        told = {one.metric: one.cost(space).evaluate(rows) for one in table.tables()}
        networks = [
            CheckedCosts(architecture=architecture.to_json(), predicted=costs, observed=costs)
            for number, architecture in enumerate(space.decode(rows))
            for costs in [BoardCosts(**{metric: int(values[number]) for metric, values in told.items()})]
        ]
        path = folder / f"{name}-{scale}-{sram}-{flash}.json"
        table.model_copy(update={"checked": CheckedBoard.of(networks)}).save(path)
        return path

    return write


@pytest.fixture(scope="module")
def everything(space: SearchSpace) -> np.ndarray:
    return space.enumerate()


def known(path: Path, space: SearchSpace, *more: Path) -> tuple[dict[str, CostTable], dict[str, float]]:
    tables = named_tables([path, *more])
    return all_costs(space, tables), capacities(tables)


def test_costs_are_those_of_its_operators(space: SearchSpace, write: Write) -> None:
    costs, there = known(write(), space)
    rows = space.sample(40, np.random.default_rng(1))
    for row, architecture in zip(rows, space.decode(rows), strict=True):
        own = [board_costs(operator, 1) for _, operator in space.network(architecture)]
        told = {name: table.evaluate(row[None])[0] for name, table in costs.items() if name.endswith("@stm32f446")}
        assert told == {
            "instructions@stm32f446": 15 + sum(cost.instructions for cost in own),
            "peak_memory@stm32f446": max(cost.peak_memory for cost in own),
            "flash@stm32f446": 6000 + sum(cost.flash for cost in own),
        }
    assert list(costs)[:2] == ["macs", "params"] and not {"peak_memory", "flash"} & costs.keys()
    assert there == {"peak_memory@stm32f446": 128 * 1024 - 2048, "flash@stm32f446": 512 * 1024}


def test_a_plain_memory_is_the_boards(space: SearchSpace, write: Write) -> None:
    costs, _ = known(write(), space)
    budget = resolve(parse_max(["peak_memory=20KB", "flash=50%", "instructions=2M"]), costs)
    assert set(budget.limits) == {"peak_memory@stm32f446", "flash@stm32f446", "instructions@stm32f446"}
    least, most = (end()[0] for end in (costs["flash@stm32f446"].minimum, costs["flash@stm32f446"].maximum))
    assert budget.limits["flash@stm32f446"] == pytest.approx((least + most) / 2)
    assert full_name("flash", space_costs(space)) == "flash"
    with pytest.raises(UserError, match="unknown device 'phone'"):
        full_name("flash@phone", costs)
    with pytest.raises(UserError, match="flash@phone"):
        full_name("flash@phone", space_costs(space))


def space_costs(space: SearchSpace) -> dict[str, CostTable]:
    return all_costs(space, {})


def test_of_several_boards_one_must_be_meant(space: SearchSpace, write: Write) -> None:
    costs, there = known(write(), space, write("nrf52840"))
    with pytest.raises(UserError, match="peak_memory of which device"):
        resolve(parse_max(["peak_memory=20KB"]), costs, capacities=there)
    own = resolve(parse_max(["flash@nrf52840=20KB"]), costs, capacities=there)
    assert own.limits == {"flash@nrf52840": 20_000, "peak_memory@nrf52840": 256 * 1024 - 2048}
    assert resolve(parse_max(["flash=20KB"]), costs, default_device="stm32f446").limits == {"flash@stm32f446": 20_000}


def test_what_the_board_has_is_a_limit(space: SearchSpace, write: Write) -> None:
    costs, there = known(write(sram=20 * 1024), space)
    room = 18 * 1024
    for text, limit in (("macs=10M", room), ("peak_memory=10KiB", 10 * 1024), ("peak_memory=20KiB", room)):
        budget = resolve(parse_max([text]), costs, capacities=there)
        assert budget.limits["peak_memory@stm32f446"] == limit
        assert budget.limits["flash@stm32f446"] == 512 * 1024
    assert budget.written["peak_memory@stm32f446"] == "20KiB, but 18 KiB are there"
    with_other = {**costs, "latency@phone": costs["macs"]}
    assert list(resolve(parse_max(["latency@phone=10ms"]), with_other, capacities=there).limits) == ["latency@phone"]


def test_an_impossible_memory_is_told_with_the_slot_that_needs_it(space: SearchSpace, write: Write) -> None:
    costs, there = known(write(scale=2, sram=6000), space)
    budget = resolve(parse_max(["macs=10M"]), costs, capacities=there)
    with pytest.raises(Infeasible) as caught:
        feasible_networks(space, costs, budget)
    least, row = costs["peak_memory@stm32f446"].minimum()
    architecture = space.decode(row[None])[0]
    peaks = {slot: board_costs(operator, 2).peak_memory for slot, operator in space.network(architecture)}
    slot = max(peaks, key=lambda name: peaks[name])
    assert peaks[slot] == least > 3952
    assert (
        f"peak_memory@stm32f446 <= 3.859 KiB; the smallest achievable is {least / 1024:.4g} KiB, which {slot} takes"
        in (str(caught.value))
    )
    assert caught.value.details["binding"] == "peak_memory@stm32f446" and caught.value.details["proven"]
    assert caught.value.details["peak_slots"]["peak_memory@stm32f446"] in peaks


@settings(max_examples=15, deadline=None)
@given(shares=st.tuples(*[st.floats(0, 0.6)] * 3))
def test_feasible_exactly_when_a_network_is(
    space: SearchSpace, write: Write, everything: np.ndarray, shares: tuple[float, float, float]
) -> None:
    costs, _ = known(write(), space)
    names = ("instructions@stm32f446", "peak_memory@stm32f446", "flash@stm32f446")
    limits = {}
    for name, share in zip(names, shares, strict=True):
        low, high = costs[name].minimum()[0], costs[name].maximum()[0]
        limits[name] = low + share * (high - low)
    kept = np.all([costs[name].evaluate(everything) <= limit for name, limit in limits.items()], axis=0)
    try:
        found = feasible_networks(space, costs, ResolvedBudget("b", limits))
    except Infeasible:
        assert not kept.any()
    else:
        assert kept.any() and all((costs[name].evaluate(found) <= limit).all() for name, limit in limits.items())


def test_the_best_network_of_a_board_is_found(
    space: SearchSpace, write: Write, everything: np.ndarray, stub: list[int], landscape: Callable
) -> None:
    path = write(sram=24 * 1024)
    facts = search_offline(Path("stub"), [path], ["instructions=25%", "flash=60%"], algorithm="exhaustive", num=3)
    costs, _ = known(path, space)
    kept = np.all([costs[name].evaluate(everything) <= limit for name, limit in facts["limits"].items()], axis=0)
    assert facts["limits"]["peak_memory@stm32f446"] == 22 * 1024 and 0 < kept.sum() < len(everything)
    best = np.sort(landscape(0)(everything[kept]).mean)[::-1]
    assert [found["predicted_accuracy"]["mean"] for found in facts["candidates"]] == pytest.approx(best[:3].tolist())
    explained = {entry["slot"]: entry["value"] for entry in facts["contributions"]["peak_memory@stm32f446"]}
    assert max(explained.values()) == facts["candidates"][0]["predicted_costs"]["peak_memory@stm32f446"]


def test_a_front_may_be_against_a_boards_memory(write: Write, stub: list[int]) -> None:
    facts = front_offline(Path("stub"), [write()], ["flash=70%"], ["peak_memory", "instructions"])
    assert facts["costs"] == ["peak_memory@stm32f446", "instructions@stm32f446"] and facts["points"]


def test_two_boards_have_a_winner_each_and_one_for_both(
    space: SearchSpace, write: Write, everything: np.ndarray, stub: list[int], landscape: Callable
) -> None:
    paths = [write(sram=24 * 1024), write("nrf52840", scale=2, sram=48 * 1024)]
    wanted = ["instructions@stm32f446=30%", "instructions@nrf52840=20%"]
    facts = search_offline(Path("stub"), paths, wanted, algorithm="exhaustive")
    costs, _ = known(paths[0], space, paths[1])
    accuracy = landscape(0)(everything).mean

    def best(names: list[str]) -> float:
        limits = {name: limit for name, limit in facts["limits"].items() if name.partition("@")[2] in names}
        assert len(limits) == 3 * len(names)
        kept = np.all([costs[name].evaluate(everything) <= limit for name, limit in limits.items()], axis=0)
        return float(accuracy[kept].max())

    for board in ("stm32f446", "nrf52840"):
        assert facts["winners"][board]["winner"]["predicted_accuracy"]["mean"] == pytest.approx(best([board]))
    both = facts["candidates"][0]["predicted_accuracy"]["mean"]
    assert both == pytest.approx(best(["stm32f446", "nrf52840"]))


def test_limits_hold_with_confidence_as_they_are(write: Write, stub: list[int]) -> None:
    plain, sure = (
        search_offline(Path("stub"), [write()], ["instructions=25%"], confidence=confidence, algorithm="exhaustive")
        for confidence in (None, 0.9)
    )
    assert [found["key"] for found in plain["candidates"]] == [found["key"] for found in sure["candidates"]]
    assert sure["confidence"]["upper"] == dict.fromkeys(plain["limits"], 1.0)


def test_a_board_without_a_table_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"this board has no table yet.*ofa measure --space SPACE --device stm32h743 -o"
    ):
        named_tables([Path("stm32h743")])
    own = tmp_path / "mine.yaml"
    own.write_text("name: mine\n")
    with pytest.raises(UserError, match="this board has no table yet"):
        named_tables([own])


def test_a_table_serves_a_run_under_the_name_the_run_has_for_it(tmp_path: Path, write: Write) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.json").write_bytes(write().read_bytes())
    tables = run_tables(tmp_path, ["mine"])
    assert list(tables) == ["instructions@mine", "peak_memory@mine", "flash@mine"]
    assert capacities(tables) == {"peak_memory@mine": 128 * 1024 - 2048, "flash@mine": 512 * 1024}


@pytest.fixture
def judged(space: SearchSpace, write: Write, landscape: Callable) -> tuple[Outcome, list[str], list[str]]:
    """Winners of a phone, a board and both, where int8 turns the order of accuracies around."""
    tables = named_tables([write()])
    costs = {**all_costs(space, tables), "latency@phone": space.cost_of(lambda operator: 1e-6 * operator.macs())}
    predict = landscape(0)
    limits = [{"latency@phone": "40%"}, {"instructions@stm32f446": "50%"}]
    texts = {"phone": limits[0], "stm32f446": limits[1], "universal": limits[0] | limits[1]}
    budgets = [
        resolve(parse_max([f"{cost}={text}" for cost, text in own.items()], name=name), costs)
        for name, own in texts.items()
    ]
    plain: list[str] = []
    in_int8: list[str] = []

    def accuracy(architecture: Architecture) -> float:
        plain.append(architecture.key)
        return float(predict(space.encode([architecture])).mean[0])

    def int8(architecture: Architecture) -> float:
        in_int8.append(architecture.key)
        return 1 - float(predict(space.encode([architecture])).mean[0])

    chosen = SearchSettings.model_validate({"budgets": {"b": {"macs": "5M"}}, "candidates": 4})
    ranked = search(space, predict, costs, budgets, chosen)
    outcome = choose_winners(
        space,
        predict,
        costs,
        ranked,
        evaluate=accuracy,
        books={},
        again=lambda budget: ranked[budget.name],
        int8=Int8(int8, frozenset({"stm32f446"})),
        quiet=True,
    )
    return outcome, plain, in_int8


def test_int8_names_the_winner_of_a_board_and_only_of_a_board(judged: tuple[Outcome, list[str], list[str]]) -> None:
    outcome, plain, in_int8 = judged
    winners = {winner.budget.name: winner for winner in outcome.winners}
    assert {name: winner.chosen_by for name, winner in winners.items()} == {
        "phone": "selection_accuracy",
        "stm32f446": "int8_accuracy",
        "universal": "int8_accuracy",
    }
    for winner in winners.values():
        admitted = [f for f in outcome.finalists.values() if not f.exceeded(winner.budget.limits)]
        best = max(getattr(finalist, winner.chosen_by) for finalist in admitted)
        assert getattr(winner.winner, winner.chosen_by) == best
    assert len(in_int8) == len(set(in_int8)) and len(plain) == len(set(plain))
    on_board = winners["stm32f446"].budget.limits
    for finalist in outcome.finalists.values():
        assert (finalist.int8_accuracy is None) == bool(finalist.exceeded(on_board))


def test_what_the_network_for_all_loses_is_told_in_each_devices_accuracy(
    judged: tuple[Outcome, list[str], list[str]],
) -> None:
    outcome, _, _ = judged
    winners = {winner.budget.name: winner.winner for winner in outcome.winners}
    facts = universal_facts(outcome)
    assert facts is not None
    best = winners["universal"]
    assert facts["losses"] == {
        "phone": pytest.approx(winners["phone"].selection_accuracy - best.selection_accuracy),
        "stm32f446": pytest.approx(winners["stm32f446"].int8_accuracy - best.int8_accuracy),
    }
