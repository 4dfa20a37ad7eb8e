"""The experiment on training: cells are done once, by one runner, and go on where they were stopped; statistics."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import recipes as recipes_command
from benchmarks.training import runner
from benchmarks.training.architectures import alone_architectures, evaluated_architectures
from benchmarks.training.budget import KnownBudgets
from benchmarks.training.cell import Cell
from benchmarks.training.cells import alone_cells, finetune_cells, recipe_cells
from benchmarks.training.curves import area, difference, mean_over_seeds, trapezoid_weights
from benchmarks.training.rankings import ceiling, mean_tau
from benchmarks.training.results import Trained
from benchmarks.training.setting import CIFAR10, Setting
from benchmarks.training.summary import summarise
from benchmarks.training.tables import alone_table, recipes_table
from search_spaces.common.errors import UserError
from search_spaces.supernet import build_supernet
from trainers.architectures import restriction_to

TINY = Setting(
    space={
        "name": "mobilenet_v3_digits",
        "resolution": [8],
        "kernel": [3, 5],
        "expand": [1, 2],
        "depth": [1, 2],
        "widths": [8, 8],
        "strides": [2, 1],
        "activations": ["relu", "relu"],
        "squeeze_excite": [False, False],
        "expanded_channels": 16,
        "feature_channels": 16,
    },
    data={
        "name": "synthetic",
        "image_size": 8,
        "num_images": 200,
        "num_classes": 4,
        "split": {"test": 20, "calibration": 20, "selection": 40},
    },
    train={"batch_size": 20, "device": "cpu", "checkpoint_every": 2, "amp": "off"},
    epochs=2,
    recipe_seeds=(0, 1),
    num_evaluated=6,
    num_alone=3,
    num_classes=4,
    finetune_share=0.5,
)
RECIPES = {
    "sandwich": {"train": {"recipe": "sandwich"}},
    "random_subnets": {"train": {"recipe": "random_subnets"}},
    "narrow": {"train": {"recipe": "random_subnets"}, "space": {"kernel": [3]}},
}


def cells(setting: Setting = TINY) -> list[Cell]:
    return list(recipe_cells(setting, RECIPES, KnownBudgets(None)))


# -- what is trained


def test_recipes_train_for_the_macs_of_the_reference_seed_by_seed() -> None:
    found = cells()
    assert [cell.name for cell in found[:4]] == [
        "sandwich-seed0",
        "random_subnets-seed0",
        "narrow-seed0",
        "sandwich-seed1",
    ]
    assert found[0].epochs == TINY.epochs
    assert found[1].epochs > 2 * TINY.epochs  # one network a step instead of four
    for cell in found:
        assert cell.planned_macs == pytest.approx(found[0].planned_macs, rel=0.03)  # whole steps
    assert found[0].evaluated == found[1].evaluated != found[2].evaluated


def test_budgets_are_worked_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = list(recipe_cells(TINY, RECIPES, KnownBudgets(tmp_path)))
    monkeypatch.setattr("benchmarks.training.budget.planned_macs", None)  # not called again
    again = list(recipe_cells(TINY, RECIPES, KnownBudgets(tmp_path)))
    assert [cell.inputs for cell in again] == [cell.inputs for cell in first]
    with pytest.raises(TypeError):
        list(recipe_cells(replace(TINY, epochs=3), RECIPES, KnownBudgets(tmp_path)))


def test_only_what_is_wanted_is_counted() -> None:
    (cell,) = recipe_cells(
        TINY, {**RECIPES, "strange": {"train": {"recipe": "?"}}}, KnownBudgets(None), "narrow-seed1".__eq__
    )
    assert cell.inputs == cells()[5].inputs


def test_the_networks_trained_alone_are_spread_and_evaluated_ones() -> None:
    space = CIFAR10.build_space()
    evaluated, alone = evaluated_architectures(CIFAR10, space), alone_architectures(CIFAR10, space)
    assert len(set(evaluated)) == 32
    assert len(set(alone)) == 12
    assert set(alone) <= set(evaluated)
    macs = space.cost("macs").evaluate(space.encode(alone))
    assert [alone[0], alone[-1]] == space.decode(np.stack([space.smallest(), space.largest()]))
    assert macs[0] > 0.8e6
    assert macs[-1] < 8e6
    steps = np.diff(np.log(macs))
    assert steps.min() > 0 and steps.max() < 3 * np.log(macs[-1] / macs[0]) / 11


def test_a_network_alone_has_its_own_weights_only() -> None:
    assert {cell.epochs for cell in alone_cells(TINY)} == {2}
    assert {cell.epochs for cell in alone_cells(replace(TINY, alone_epochs=(3, 5)))} == {3, 5}
    assert {cell.epochs for cell in alone_cells(replace(TINY, alone_epochs=(3, 5)), 5)} == {5}
    architecture = alone_architectures(TINY, TINY.build_space())[1]
    space = TINY.build_space({"restrict": restriction_to(TINY.build_space(), architecture)})
    assert space.size == 1
    assert space.decode(space.largest()) == [architecture]
    supernet = build_supernet(space, seed=0)
    names = {name for name, _ in supernet.named_parameters()}
    assert not any("transform" in name for name in names)
    alone = sum(parameter.numel() for parameter in supernet.parameters())
    assert alone == sum(parameter.numel() for parameter in supernet.extract(architecture).parameters())


# -- cells and runners


@pytest.mark.slow
def test_a_cell_is_done_once_and_anew_when_its_inputs_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, work = tmp_path / "results", tmp_path / "work"
    chosen = cells()[:1]
    assert runner.run(chosen, results, work)
    file = results / "sandwich-seed0.json"
    result = json.loads(file.read_text())
    accuracies = {entry["key"]: entry["accuracy"] for entry in result["evaluations"]}
    assert list(accuracies) == [architecture.key for architecture in chosen[0].evaluated]
    assert all(entry["num_images"] == 40 for entry in result["evaluations"])
    spent = sum(result["cost"][f"{part}_macs"] for part in ("forward", "backward", "teacher", "selection"))
    assert spent == chosen[0].planned_macs  # of this very seed
    before = file.stat().st_mtime_ns, file.read_bytes()
    assert runner.run(cells()[:1], results, work)
    assert (file.stat().st_mtime_ns, file.read_bytes()) == before
    other = cells(replace(TINY, train={**TINY.train, "label_smoothing": 0.0}))[:1]
    assert not other[0].is_done(results)
    assert runner.run(other, results, work)
    assert json.loads(file.read_text())["inputs"]["train"]["label_smoothing"] == 0.0
    capsys.readouterr()
    runner.show(other, results)
    assert "done" in capsys.readouterr().out


@pytest.mark.slow
def test_a_stopped_cell_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trainers.training as training

    cell = cells()[0]
    whole = cell.carry_out(tmp_path / "whole", tmp_path / "work_whole")
    steps: list[int] = []
    real = training.accumulate_gradients

    def counting(*arguments: Any, **named: Any) -> Any:
        steps.append(named["step"])
        if len(steps) == 8:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(training, "accumulate_gradients", counting)
    with pytest.raises(KeyboardInterrupt):
        cell.carry_out(tmp_path / "parts", tmp_path / "work")
    assert not cell.is_done(tmp_path / "parts")
    resumed = cell.carry_out(tmp_path / "parts", tmp_path / "work")
    assert 0 < min(steps[8:]) <= steps[7]  # not from the start
    assert resumed["evaluations"] == whole["evaluations"]
    assert not (cell.run(tmp_path / "work") / "checkpoints").exists()


@pytest.mark.slow
def test_a_training_that_another_version_began_starts_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = cells()[0]
    run = cell.run(tmp_path / "work")
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "step-00000004.json").write_text(json.dumps({"schema": 1, "step": 4, "inputs": {"seed": 0}}))
    cell.carry_out(tmp_path / "results", tmp_path / "work")
    assert "starting over" in capsys.readouterr().err
    assert cell.is_done(tmp_path / "results")


def _hold(path: Path, held: Any, release: Any) -> None:
    with runner.claim(path) as mine:
        assert mine
        held.set()
        release.wait(60)


def test_a_claimed_cell_is_left_to_its_runner(tmp_path: Path) -> None:
    chosen = cells()[:1]
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    lock = tmp_path / ".locks" / "sandwich-seed0.lock"
    other = context.Process(target=_hold, args=(lock, held, release))
    other.start()
    try:
        assert held.wait(60)
        assert runner.run(chosen, tmp_path, tmp_path / "work")
        assert not chosen[0].is_done(tmp_path)
    finally:
        other.kill()  # as a crashed runner: the system gives up its claim
        other.join()
    with runner.claim(lock) as mine:
        assert mine


def test_a_failed_cell_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    diverging = replace(cells()[0], train={**TINY.train, "recipe": "no_such_recipe", "epochs": 1})
    good = alone_cells(TINY)[:1]
    assert not runner.run([diverging, *good], tmp_path, tmp_path / "work")
    assert "no_such_recipe" in capsys.readouterr().err
    assert good[0].is_done(tmp_path)


def test_the_data_are_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFA_BENCH_DATA", str(tmp_path))
    with pytest.raises(UserError, match="cifar10_webp"):
        CIFAR10.config("name", seed=0, space=CIFAR10.space, train={**CIFAR10.train, "recipe": "sandwich"})


@pytest.mark.slow
def test_report_of_what_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, work = tmp_path / "results", tmp_path / "work"
    all_recipes, alone = cells(), alone_cells(TINY)
    with pytest.raises(UserError, match="no training of a recipe is finished"):
        recipes_command.report(TINY, all_recipes, results, None)
    assert runner.run([*all_recipes[:4], *alone], results, work)
    text = recipes_command.report(TINY, all_recipes, results, None)
    (summary,) = json.loads((results / "report" / "summary.json").read_text())["by_length_alone"]
    entries = {entry["label"]: entry for entry in summary["recipes"]}
    assert set(entries) == {"sandwich", "random_subnets", "narrow"}
    assert entries["sandwich"]["seeds"] == [0, 1]
    assert "minus_alone" not in entries["narrow"]  # another space
    assert summary["alone"]["num"] == 3
    files = [json.loads((results / f"alone-{key}-seed0.json").read_text()) for key in (a.label for a in alone[:3])]
    subnets = json.loads((results / "random_subnets-seed0.json").read_text())["evaluations"]
    by_key = {entry["key"]: entry["accuracy"] for entry in subnets}
    second = [json.loads((results / f"alone-{key}-seed1.json").read_text()) for key in (a.label for a in alone[:3])]
    truth = {
        a["evaluations"][0]["key"]: (a["evaluations"][0]["accuracy"] + b["evaluations"][0]["accuracy"]) / 2
        for a, b in zip(files, second, strict=True)
    }
    expected = np.mean([by_key[key] - truth[key] for key in truth])
    assert entries["random_subnets"]["minus_alone"]["value"] == pytest.approx(expected)
    assert "random_subnets" in text
    assert "ceiling" in text
    changed = [replace(all_recipes[0], train={**all_recipes[0].train, "label_smoothing": 0.3}), *all_recipes[1:]]
    capsys.readouterr()
    assert "| sandwich | 2.0 | 2.0 | 1 |" in recipes_command.report(TINY, changed, results, None)
    assert "of other inputs" in capsys.readouterr().err


@pytest.mark.slow
def test_fine_tuning_starts_from_the_supernet_of_its_own_seed(tmp_path: Path) -> None:
    pytest.importorskip("trainers.settings.init")
    results, work = tmp_path / "results", tmp_path / "work"
    source = cells()[0]
    (cell, *_) = finetune_cells(TINY, [source])
    with pytest.raises(UserError, match="no trained supernet here"):
        cell.carry_out(results, work)
    source.carry_out(results, work)
    result = cell.carry_out(results, work)
    spent = sum(result["cost"][f"{part}_macs"] for part in ("forward", "backward", "teacher", "selection"))
    assert spent == cell.planned_macs
    assert result["inputs"]["source"] == source.inputs_sha256
    with pytest.raises(UserError, match="a space of its own"):
        finetune_cells(TINY, [cells()[2]])


# -- statistics


def test_area_is_the_mean_over_log_macs() -> None:
    assert area([1, 10, 100], [0.2, 0.6, 0.8]) == pytest.approx((0.4 + 0.7) / 2)
    assert area([100, 1, 10], [0.8, 0.2, 0.6]) == pytest.approx((0.4 + 0.7) / 2)
    assert area([1, 2, 16], [0.0, 1.0, 1.0]) == pytest.approx((0.5 * 1 + 1.0 * 3) / 4)  # 1 and 3 doublings
    assert trapezoid_weights([1, 2, 16]).tolist() == pytest.approx([1 / 8, 1 / 2, 3 / 8])


def test_interval_over_seeds_is_students() -> None:
    found = mean_over_seeds([0.70, 0.72, 0.71])
    assert found.value == pytest.approx(0.71)
    assert found.upper - found.value == pytest.approx(4.302653 * 0.01 / 3**0.5, rel=1e-5)
    assert mean_over_seeds([0.7]).lower == 0.7


def test_difference_of_two_trainings() -> None:
    rng = np.random.default_rng(0)
    level, effect = np.linspace(0.5, 0.7, 12), rng.normal(0.02, 0.005, 12)
    first = level + effect + rng.normal(0, 0.002, (3, 12))
    second = level + rng.normal(0, 0.002, (2, 12))
    found = difference(first, second)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert 0 < found.lower < found.value < found.upper
    assert found.upper - found.lower < 0.02  # paired: the range of levels does not count
    assert difference(first, first[:2]).lower < 0 < difference(first, first[:2]).upper
    only_last = np.eye(12)[-1]
    assert difference(first, second, only_last + 1e-12).value == pytest.approx(
        first[:, -1].mean() - second[:, -1].mean()
    )


def test_rankings_against_the_truth() -> None:
    truth = np.array([0.5, 0.6, 0.7, 0.8])
    assert mean_tau([truth, truth[::-1]], truth).value == pytest.approx(0.0)
    swapped = mean_tau([0.6, 0.5, 0.7, 0.8], truth)
    assert swapped.value == pytest.approx(4 / 6)
    assert swapped.lower < swapped.value <= swapped.upper
    assert ceiling([truth]) is None
    found = ceiling([truth, truth * 2, truth[[1, 0, 2, 3]]])
    assert found is not None and found.value == pytest.approx((1 + 4 / 6 + 4 / 6) / 3)


def trained(label: str, accuracies: Any, macs: float, keys: tuple[str, ...] = ("a", "b", "c")) -> Trained:
    array = np.atleast_2d(np.array(accuracies))
    costs = {"forward_macs": macs / 3, "backward_macs": 2 * macs / 3, "teacher_macs": 0.0, "selection_macs": 0.0}
    sizes = {name: np.array([1.0, 2.0, 4.0])[: len(keys)] for name in ("macs", "params", "depth")}
    return Trained(
        label, 2.0, tuple(range(len(array))), keys, sizes, array, array, ({**costs, "cpu_seconds": 60.0},) * len(array)
    )


def by_label(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {entry["label"]: entry for entry in summary["recipes"]}


def test_summary_says_who_wins_and_from_when_it_pays() -> None:
    base, better = trained("sandwich", [[0.5, 0.6, 0.7]] * 2, 100.0), trained("other", [[0.6, 0.7, 0.8]], 100.0)
    alone = trained("alone", [[0.55, 0.65, 0.75]], 10.0)
    fine = trained("sandwich", [[0.56, 0.66, 0.76]] * 2, 2.0)
    summary = summarise([base, better], alone, [fine], reference="sandwich")
    assert [entry["label"] for entry in summary["recipes"]] == ["other", "sandwich"]
    entries = by_label(summary)
    assert entries["other"]["area_minus_reference"]["value"] == pytest.approx(0.1)
    assert "area_minus_reference" not in entries["sandwich"]
    assert entries["sandwich"]["minus_alone"]["value"] == pytest.approx(-0.05)
    assert entries["sandwich"]["finetuned_minus_alone"]["value"] == pytest.approx(0.01)
    assert entries["sandwich"]["break_even_devices"] == pytest.approx(10)
    assert entries["sandwich"]["finetuned_break_even_devices"] == pytest.approx(100 / 8)
    assert entries["other"]["tau"]["value"] == pytest.approx(1)
    costly = summarise([base], alone, [trained("sandwich", [[0.5, 0.6, 0.7]], 11.0)], reference="sandwich")
    assert by_label(costly)["sandwich"]["finetuned_break_even_devices"] is None
    assert "| 10 | 13 |" in alone_table(summary)
    assert "never" in alone_table(costly)
    assert recipes_table(summary).splitlines()[2].startswith("| other | 2.0 | - | 1 | 70.00 | +10.00 (")


def test_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.training.plots import draw

    both = [trained("sandwich", [[0.5, 0.6, 0.7]], 1.0), trained("other", [[0.6, 0.7, 0.8]], 1.0)]
    draw(both, trained("alone", [[0.5, 0.6, 0.7], [0.52, 0.6, 0.7]], 1.0), tmp_path / "f.svg", reference="sandwich")
    drawn = (tmp_path / "f.svg").read_text()
    assert "<svg" in drawn
    draw(both, None, tmp_path / "g.png", reference="sandwich")
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
