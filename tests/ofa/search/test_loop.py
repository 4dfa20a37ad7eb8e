"""The predictor loop of a run: what it evaluates, that it goes on, and whom it names."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import predictors.records
from ofa.cli import main
from ofa.search.budgets import parse_max
from ofa.search.loop import evaluate_more, fit_history, search_evaluating
from ofa.search.proposals import Known
from ofa.search.search_file import check_search
from ofa.search.settings import SearchSettings
from ofa.search.stage import search_run
from predictors.fit import fit_predictor
from predictors.record_file import RecordBook
from predictors.records import evaluate_missing, load_records
from predictors.sampling import record_list
from predictors.settings import PredictorSettings
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.common.errors import UserError

IDENTITY = {"weights_sha256": "w" * 64, "calibration_sha256": "c" * 64, "selection_sha256": "s" * 64}
SPACE = {"name": "mobilenet_v3_digits", "resolution": [20, 28], "kernel": [3, 5], "expand": [3, 6], "depth": [1, 2]}


class Evaluator:
    """Stands in for the supernet and its images: size helps, and one kernel of the first stage more than any size."""

    def __init__(self, run: Path, config: object) -> None:
        info = json.loads((run / "supernet.json").read_text())
        self.space = SearchSpace.from_description(info["space"])
        self.book = RecordBook(run / "records.jsonl", self.space, identity=IDENTITY)

    def __call__(self, architecture: Architecture) -> SimpleNamespace:
        row = self.space.encode([architecture])
        size = np.log(self.space.cost("macs").evaluate(row)[0]) / 100
        first = next(i for i, gene in enumerate(self.space.genes) if gene.name.startswith("kernel"))
        chance = int(architecture.key[:3], 16) / 2**18
        return SimpleNamespace(accuracy=float(0.5 + size + 0.1 * row[0, first] + chance), loss=1.0, num_images=10)


def config(**more: int) -> SimpleNamespace:
    settings = {"budgets": {"small": {"macs": "20%"}, "large": {"macs": "60%"}}, "candidates": 3, "generations": 30}
    return SimpleNamespace(
        seed=0,
        devices=(),
        timed=(),
        boards=(),
        search=SearchSettings.model_validate({**settings, **more}),
        predictor=PredictorSettings(candidates=("ridge",), bootstrap=100),
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with 16 records and a predictor."""
    space = get_space(SPACE, 10, 1)
    (tmp_path / "supernet.json").write_text(json.dumps({"space": space.description, "weights_sha256": "w" * 64}))
    monkeypatch.setattr(predictors.records, "SubnetEvaluator", Evaluator)
    evaluator = Evaluator(tmp_path, None)
    evaluate_missing(evaluator.book, record_list(space, 16, seed=0, sampling="stratified"), evaluator, quiet=True)
    fit_predictor(tmp_path, config(), quiet=True)
    return tmp_path


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]


def test_so_many_are_evaluated_and_then_winners_named(run: Path) -> None:
    before = search_run(run, config(), quiet=True)
    known = len(lines(run))
    facts = search_evaluating(run, config(), num=9, quiet=True)
    assert check_search(json.loads((run / "search.json").read_text()), file=run) == facts
    assert facts["evaluated"]["num_evaluated"] == 9 and facts["evaluated"]["complete"]
    new = lines(run)[known:]
    assert len(new) >= 9 and {line["origin"] for line in new} == {"search"}
    assert len({line["key"] for line in lines(run)}) == len(lines(run)), "no network is evaluated twice"
    for budget, earlier in zip(facts["budgets"], before["budgets"], strict=True):
        assert budget["winner"]["predicted_costs"]["macs"] <= budget["limits"]["macs"]
        assert budget["winner"]["selection_accuracy"] >= earlier["winner"]["selection_accuracy"]


def test_a_loop_goes_on_where_it_was(run: Path) -> None:
    first = search_evaluating(run, config(), num=4, quiet=True)
    content = (run / "records.jsonl").read_bytes()
    assert search_evaluating(run, config(), num=4, quiet=True) == first
    assert (run / "records.jsonl").read_bytes() == content, "the same command evaluates nothing"
    more = search_evaluating(run, config(evaluate=7), quiet=True)
    assert more["evaluated"]["num_evaluated"] == 7 and (run / "records.jsonl").read_bytes().startswith(content)


def test_proposals_keep_some_budget(run: Path) -> None:
    facts = evaluate_more(run, config(), num=8, quiet=True)
    records = load_records(run / "records.jsonl", space=get_space(SPACE, 10, 1)).of(("search",))
    macs = get_space(SPACE, 10, 1).cost("macs")
    low, high = macs.minimum()[0], macs.maximum()[0]
    assert len(records) == facts["num_evaluated"] == 8
    assert (macs.evaluate(records.population) <= low + 0.6 * (high - low) + 1e-6).all()
    assert (macs.evaluate(records.population) <= low + 0.2 * (high - low) + 1e-6).sum() >= 2


def _work(run: Path, results: Callable[[int], None]) -> None:
    predictors.records.SubnetEvaluator = Evaluator  # type: ignore[misc]
    results(evaluate_more(run, config(), num=12, budget=parse_max(["macs=40%"]), quiet=True)["num_evaluated"])


def test_two_processes_share_a_loop(run: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    known = len(lines(run))
    workers = [context.Process(target=_work, args=(run, results.put)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    assert [results.get() for _ in workers] == [12, 12]
    new = [line["key"] for line in lines(run)[known:]]
    assert len(new) == len(set(new)) == 12


def test_a_predictor_follows_a_history() -> None:
    """The same history gives the same predictions, however many at a time it was learnt."""
    space = get_space(SPACE, 10, 1)
    rows = np.unique(space.sample(40, np.random.default_rng(0)), axis=0)[:30]
    accuracies = 0.5 + 0.3 * rows.mean(axis=1) / rows.mean(axis=1).max()
    names = tuple(architecture.key for architecture in space.decode(rows))
    settings = PredictorSettings(candidates=("ridge",), bootstrap=100)
    at_once = fit_history(space, settings)(Known(rows, accuracies, names))(rows).mean
    step_by_step = fit_history(space, settings)
    for num in (12, 20, 27):
        step_by_step(Known(rows[:num], accuracies[:num], names[:num]))
    assert np.array_equal(step_by_step(Known(rows, accuracies, names))(rows).mean, at_once)
    assert np.abs(at_once - accuracies).max() < 0.1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--storage", "sqlite:///x.db"], "goes with --evaluate"),
        (["--sampler", "tpe"], "goes with --evaluate"),
        (["--evaluate", "3", "--sampler", "tpa", "--max", "macs=30%"], "Did you mean"),
        (["--evaluate", "3", "--objectives", "accuracy,macs"], "--objectives"),
        (["--algorithm", "nsga2"], "without a run"),
        (["--front", "macs"], "without a run"),
        (["--evaluate", "0"], "--evaluate"),
    ],
)
def test_mistakes(run: Path, words: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: object) -> None:
    monkeypatch.setattr("ofa.config.load_run_config", lambda folder: config())
    content = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit) as caught:
        main(["search", str(run), *words])
    assert caught.value.code == 2
    assert told in capsys.readouterr().err  # type: ignore[attr-defined]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == content


def test_evaluations_need_a_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["search", "--accuracy", str(tmp_path), "--max", "macs=30%", "--evaluate", "3"])
    assert caught.value.code == 2


def test_a_run_without_room_for_more_is_told(run: Path) -> None:
    with pytest.raises(UserError, match="positive"):
        evaluate_more(run, config(), num=-1, quiet=True)
