from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest

from ofa.search.budgets import parse_max
from ofa.search.stage import Problem
from ofa.search.study.proposer import History
from ofa.search.study.run import run_study
from ofa.search.study.storages import open_storage
from predictors.record_file import load_records
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import Infeasible, UserError
from search_spaces.genome import Population

Work = Callable[..., dict[str, Any]]


@pytest.fixture
def work(tabular: ModuleType, run: Path) -> Work:
    """One worker, in this process, of a study in a journal."""

    def work(**changes: Any) -> dict[str, Any]:
        folder = changes.pop("run", run)
        settings = {
            "storage": f"{run}/study.log",
            "study_name": "one",
            "sampler": "random",
            "num": 6,
            "budget": tabular.BUDGET,
            "evaluator": None,
            "quiet": True,
        }
        settings |= changes
        settings["evaluator"] = settings["evaluator"] or tabular.TabularEvaluator(folder)
        return run_study(folder, tabular.config(), **settings)

    return work


def trials(run: Path, name: str = "one", storage: str | None = None) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(storage=open_storage(storage or f"{run}/study.log"), study_name=name).trials


@pytest.mark.parametrize("storage", ["{}/study.log", "sqlite:///{}/study.db"])
def test_a_study_evaluates_as_many_networks_as_asked(
    tabular: ModuleType, run: Path, space: SearchSpace, work: Work, storage: str
) -> None:
    where = storage.format(run)
    facts = work(storage=where)
    begun = tabular.evaluations(run)
    assert facts["complete"]
    assert facts["num_evaluated"] == 6 == len(begun) == len(set(begun))
    records = load_records(run / "records.jsonl", space=space)
    assert set(records.keys) == set(begun)
    assert set(records.origins) == {"search"}
    assert facts["best"]["accuracy"] == records.accuracies.max()
    assert facts["best"]["key"] == records.keys[records.accuracies.argmax()]
    assert all(network["costs"]["macs"] <= facts["limits"]["macs"] for network in facts["front"])
    assert work(storage=where) == facts  # nothing is left to do
    assert work(storage=where, num=8)["num_evaluated"] == 8
    assert len(tabular.evaluations(run)) == len(set(tabular.evaluations(run))) == 8
    json.dumps(facts, allow_nan=False)


def test_a_dashboard_can_read_it(run: Path, space: SearchSpace, work: Work) -> None:
    facts = work(objectives=("accuracy", "params"))
    study = optuna.load_study(storage=open_storage(f"{run}/study.log"), study_name="one")
    assert study.metric_names == ["accuracy", "params"]
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    names = {gene.name for gene in space.genes}
    for trial in study.trials:
        assert trial.state == optuna.trial.TrialState.COMPLETE
        assert set(trial.params) <= names
        assert trial.values[1] == trial.user_attrs["params"]
        assert {"network", "worker", "macs", "loss"} <= set(trial.user_attrs)
        assert max(trial.system_attrs["constraints"]) <= 0
    front = {network["key"] for network in facts["front"]}
    assert {trial.user_attrs["network"] for trial in study.best_trials} <= front


def test_what_is_on_file_is_told_and_not_evaluated(tabular: ModuleType, run: Path, work: Work) -> None:
    work(num=5)
    known = set(tabular.evaluations(run))
    facts = work(study_name="two", num=5)  # the same seed: the same five are proposed first
    assert facts["num_told"] == 5
    assert facts["num_evaluated"] == 5
    begun = tabular.evaluations(run)
    assert len(begun) == len(set(begun)) == 10
    told = [trial for trial in trials(run, "two") if trial.user_attrs["source"] == "records"]
    assert {trial.user_attrs["network"] for trial in told} == known


def test_a_stopped_study_goes_on_as_if_it_had_not_been(tabular: ModuleType, run: Path, work: Work) -> None:
    whole = work(study_name="whole", sampler="tpe", num=16)
    (run / "records.jsonl").unlink()
    for num in (5, 12, 16):
        parts = work(study_name="parts", sampler="tpe", num=num)
    assert parts["best"] == whole["best"]
    first, second = ([t.user_attrs["network"] for t in trials(run, name)] for name in ("whole", "parts"))
    assert first == second


def test_a_small_space_ends_before_the_number_is_reached(
    tabular: ModuleType, tmp_path: Path, space: SearchSpace, work: Work
) -> None:
    small = space.restrict(kernel=[3], expand=[3])
    run = tabular.make_run(tmp_path / "small", small)
    facts = work(run=run, num=100, sampler="nsga2")
    macs = small.cost("macs").evaluate(small.enumerate())
    assert not facts["complete"]
    assert facts["num_evaluated"] == (macs <= facts["limits"]["macs"]).sum() == len(tabular.evaluations(run))
    assert len(trials(tmp_path / "run")) == facts["num_evaluated"]


def test_a_failure_is_written_down_and_tried_again_a_few_times(tabular: ModuleType, run: Path, work: Work) -> None:
    evaluator = tabular.TabularEvaluator(run)
    architectures: list[Architecture] = []

    class Failing:
        book = evaluator.book

        def __call__(self, architecture: Architecture) -> Any:
            if not architectures or architecture in architectures:
                architectures.append(architecture)
                raise RuntimeError("out of memory")
            return evaluator(architecture)

    for _ in range(3):
        with pytest.raises(RuntimeError, match="out of memory"):
            work(evaluator=Failing())
    assert len(set(architectures)) == 1
    facts = work(evaluator=Failing())  # the fourth leaves that network alone
    assert facts["num_evaluated"] == 6
    assert architectures[0].key not in tabular.evaluations(run)
    assert [trial.user_attrs["reason"] for trial in trials(run) if trial.state.name == "FAIL"] == ["error"] * 3


def test_records_that_another_machine_has_are_written_down(
    tabular: ModuleType, run: Path, space: SearchSpace, work: Work
) -> None:
    """Workers that share the storage and not the folder."""
    work(num=4)
    facts = work(num=7, evaluator=tabular.TabularEvaluator(run, records="elsewhere.jsonl"))
    assert facts["num_evaluated"] == 7
    here, there = (load_records(run / name, space=space) for name in ("records.jsonl", "elsewhere.jsonl"))
    assert len(here) == 4
    assert len(there) == 7
    by_key = dict(zip(there.keys, there.accuracies, strict=True))
    assert all(by_key[key] == accuracy for key, accuracy in zip(here.keys, here.accuracies, strict=True))


def test_the_network_of_a_worker_that_was_stopped_is_next(tabular: ModuleType, run: Path, work: Work) -> None:
    class Interrupted(BaseException):
        pass

    class Dying(tabular.TabularEvaluator):  # type: ignore[misc, name-defined]
        def __call__(self, architecture: Architecture) -> Any:
            super().__call__(architecture)
            raise Interrupted

    with pytest.raises(Interrupted):
        work(evaluator=Dying(run))
    failed = trials(run)[-1]
    assert failed.user_attrs["reason"] == "stopped"
    work(num=1)
    assert trials(run)[-1].user_attrs["network"] == failed.user_attrs["network"]


def test_a_proposer_of_ones_own(tabular: ModuleType, run: Path, space: SearchSpace, work: Work) -> None:
    """It sees what is known, and cannot waste an evaluation on a network over the limits, nor on one that is known."""
    seen: list[History] = []

    class Largest:
        def propose(self, history: History, num: int) -> Population:
            seen.append(history)
            return np.repeat(space.largest()[None], num, axis=0)

    def make(problem: Problem, *, seed: int) -> Largest:
        assert problem.budgets[0].limits["macs"] < problem.costs["macs"].maximum()[0]
        assert seed == 11
        return Largest()

    facts = work(sampler=make, seed=11, num=7, batch=2)
    assert facts["num_evaluated"] == 7 == len(set(tabular.evaluations(run)))
    assert facts["sampler"] == "proposer"
    assert [len(history) for history in seen] == [0, 1, 2, 3, 4, 5, 6] or len(seen) < 7
    last = seen[-1]
    assert np.allclose(last.accuracies, [tabular.accuracy_of(space, row) for row in last.population])
    limit = facts["limits"]["macs"]
    assert all(trial.user_attrs["macs"] <= limit for trial in trials(run))


def other_space(run: Path, space: SearchSpace) -> dict[str, Any]:
    describe(run, space.restrict(kernel=[3, 5]), "w" * 64)
    (run / "records.jsonl").unlink()
    return {}


def other_supernet(run: Path, space: SearchSpace) -> dict[str, Any]:
    describe(run, space, "x" * 64)
    return {}


def describe(run: Path, space: SearchSpace, sha256: str) -> None:
    (run / "supernet.json").write_text(json.dumps({"space": space.description, "weights_sha256": sha256}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_space, "is of another space"),
        (other_supernet, r"is of another supernet \(wwwwwwwwwwww, this run's is xxxxxxxxxxxx\)"),
        (lambda run, space: {"budget": parse_max(["macs=40%"])}, "has other limits .macs <= .*; asked for macs <= "),
        (
            lambda run, space: {"objectives": ("accuracy", "macs")},
            r"has other objectives \(accuracy; asked for accuracy, m",
        ),
    ],
)
def test_another_study_of_that_name_is_refused(
    run: Path, space: SearchSpace, work: Work, change: Callable[..., dict[str, Any]], message: str
) -> None:
    work()
    changes = change(run, space)
    before = {path: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(UserError, match=f"study.log: --study: study 'one' {message}.*another name"):
        work(**changes)
    assert {path: path.read_bytes() for path in run.iterdir()} == before


def test_a_study_of_another_program_is_refused(run: Path, work: Work) -> None:
    optuna.create_study(storage=open_storage(f"{run}/study.log"), study_name="one").enqueue_trial({"x": 1})
    before = (run / "study.log").read_bytes()
    with pytest.raises(UserError, match="study 'one' was made by another program"):
        work()
    assert (run / "study.log").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"budget": parse_max(["macs=1"])}, Infeasible, "no network"),
        ({"sampler": "best"}, UserError, "unknown sampler"),
        ({"num": 0}, UserError, "--evaluate: must be positive"),
        ({"objectives": ("macs",)}, UserError, "accuracy comes first"),
        ({"objectives": ("accuracy", "speed")}, UserError, "unknown cost 'speed'"),
        ({"objectives": ("accuracy", "latency")}, UserError, "needs a table of a device"),
        ({"study_name": " "}, UserError, "a study needs a name"),
        ({"stale_after_s": 0.0}, UserError, "must be positive"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    run: Path, work: Work, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        work(**changes)
    assert not (run / "records.jsonl").exists()
    storage = run / "study.log"
    assert not storage.exists() or not storage.read_bytes()


def test_several_budgets_are_several_studies(tabular: ModuleType, run: Path) -> None:
    config = tabular.config()
    settings = config.search.model_copy(update={"budgets": {"a": {"macs": "20%"}, "b": {"macs": "50%"}}})
    several = SimpleNamespace(**(vars(config) | {"search": settings}))
    with pytest.raises(UserError, match="a study of 'tpe' keeps one budget"):
        run_study(run, several, storage=f"{run}/study.log", study_name="one", num=1, quiet=True)
