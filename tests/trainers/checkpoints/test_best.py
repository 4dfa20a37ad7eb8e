"""The best weights of a run: chosen by the evaluations, whole, and the same however often the run was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces.common.files import read_json, read_lines
from trainers import milestones, training
from trainers.checkpoints.best import BestWeights, mean_accuracy
from trainers.checkpoints.store import load_supernet
from trainers.evaluation.evaluate import Evaluation
from trainers.settings.train import TrainingConfig, training_inputs
from trainers.training import train

MakeConfig = Callable[..., TrainingConfig]

#: mean accuracy after so many steps; 7 steps an epoch, an evaluation every other epoch
SCORES: Mapping[int, float] = {2: 0.3, 4: 0.7, 6: 0.5, 7: 0.7, 8: 0.6, 10: 0.65, 12: 0.62, 14: 0.61}
PHASES = [
    {"name": "one", "epochs": 1, "sampling": "sandwich"},
    {"name": "two", "epochs": 1, "sampling": "sandwich"},
]
SETTINGS: dict[str, Any] = {"phases": PHASES, "eval_every": 0.3, "checkpoint_every": 3}


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """Evaluations give `SCORES`; what comes out are the weights that were evaluated, by their step."""
    seen: dict[int, str] = {}
    real = milestones.Evaluations.run

    def run(self: Any, step: int, phase: Any, state: Any) -> None:
        def score(supernet: Any, phase: Any, data: Any, *, seed: int) -> Any:
            from trainers.checkpoints.store import weights_digest

            seen[step] = weights_digest(supernet.state_dict())
            return {role: (role, Evaluation(SCORES[step], 1.0, 10)) for role in ("largest", "smallest", "random")}

        monkeypatch.setattr(milestones, "evaluate_ends", score)
        real(self, step, phase, state)

    monkeypatch.setattr(milestones.Evaluations, "run", run)
    return seen


def best(run: Path) -> tuple[int, float, str]:
    info = read_json(run / "checkpoints" / "best.json", "best")
    assert load_supernet(run / "checkpoints", name="best").weights_sha256 == info["weights_sha256"]
    return info["step"], info["mean_accuracy"], info["weights_sha256"]


def test_the_best_of_the_last_phase_is_kept(make_config: MakeConfig, tmp_path: Path, scored: dict[int, str]) -> None:
    train(make_config(**SETTINGS), tmp_path)
    assert best(tmp_path) == (10, pytest.approx(0.65), scored[10])  # not 4: that was of other subnets
    told = [line for line in read_lines(tmp_path / "training.jsonl", "log") if line["kind"] == "evaluation"]
    assert [line["step"] for line in told if line["best"]] == [2, 4, 8, 10]
    assert [line["mean_accuracy"] for line in told] == pytest.approx(list(SCORES.values()))
    assert load_supernet(tmp_path).weights_sha256 == scored[14]
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*.json"))[0] == "step-00000009.json"


@pytest.mark.parametrize("use_best", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_interruptions_change_nothing(
    make_config: MakeConfig,
    tmp_path: Path,
    scored: dict[int, str],
    monkeypatch: pytest.MonkeyPatch,
    use_best: bool,
) -> None:
    """Killed before, in and after evaluations that were the best; the checkpoints are those of other steps."""
    config = make_config(**SETTINGS, use_best=use_best)
    train(config, tmp_path / "whole")
    wanted = dict(scored)
    run = tmp_path / "broken"
    real_update, real_save, real_log = (
        training.TrainingState.update,
        milestones.BestWeights.offer,
        training.RunLog.evaluation,
    )

    def dies(step: int, at: str) -> None:
        def update(self: Any, phase: Any, number: int) -> torch.Tensor:
            if at == "update" and number == step:
                raise Killed
            return real_update(self, phase, number)

        def offer(self: Any, number: int, *rest: Any) -> bool:
            if at == "offer" and number == step:
                raise Killed
            return real_save(self, number, *rest)

        def log(self: Any, number: int, *rest: Any, **more: Any) -> None:
            if at == "log" and number == step:
                raise Killed
            real_log(self, number, *rest, **more)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(training.TrainingState, "update", update)
            patch.setattr(milestones.BestWeights, "offer", offer)
            patch.setattr(training.RunLog, "evaluation", log)
            train(config, run)

    for step, at in (
        (4, "offer"),
        (4, "log"),
        (5, "update"),
        (8, "log"),
        (10, "offer"),
        (11, "update"),
        (13, "update"),
    ):
        dies(step, at)
    train(config, run)
    assert best(run) == best(tmp_path / "whole") == (10, pytest.approx(0.65), wanted[10])
    assert {name: load_supernet(tmp_path / name).weights_sha256 for name in ("whole", "broken")} == dict.fromkeys(
        ("whole", "broken"), wanted[10 if use_best else 14]
    )
    if use_best:
        assert load_supernet(run).info["best"] == {"step": 10, "mean_accuracy": pytest.approx(0.65)}


def test_a_damaged_best_is_told_and_chosen_anew(
    make_config: MakeConfig, tmp_path: Path, scored: dict[int, str], capsys: pytest.CaptureFixture[str]
) -> None:
    train(make_config(**SETTINGS), tmp_path)
    (tmp_path / "supernet.json").unlink()
    file = tmp_path / "checkpoints" / "best.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    train(make_config(**SETTINGS), tmp_path)
    assert "best.safetensors: this supernet is truncated" in capsys.readouterr().err
    assert best(tmp_path)[0] == 12  # where the last checkpoint is: 14 is worse


def test_nothing_to_choose_from(make_config: MakeConfig, tmp_path: Path) -> None:
    train(make_config(max_steps=7, epochs=1), tmp_path / "without")
    train(make_config(max_steps=7, epochs=1, eval_every=0.5, keep_best=False), tmp_path / "off")
    assert not list(tmp_path.rglob("best.*"))
    with pytest.raises(ValueError, match=r"eval_every: use_best chooses among evaluations"):
        make_config(use_best=True)
    with pytest.raises(ValueError, match=r"keep_best: use_best chooses"):
        make_config(use_best=True, eval_every=1, keep_best=False)


def test_the_first_of_equals_and_real_evaluations(make_config: MakeConfig, tmp_path: Path) -> None:
    """Without any stand-in: what is kept is what the log says is best."""
    train(make_config(epochs=2, eval_every=0.3), tmp_path)
    lines = [line for line in read_lines(tmp_path / "training.jsonl", "log") if line["kind"] == "evaluation"]
    roles = ("largest", "smallest", "random")
    means = [mean_accuracy({role: Evaluation(**_scores(line[role])) for role in roles}) for line in lines]
    assert means == [line["mean_accuracy"] for line in lines]
    step, accuracy, _ = best(tmp_path)
    assert accuracy == max(means) and step == lines[means.index(max(means))]["step"]


def test_what_decides_the_weights(make_config: MakeConfig) -> None:
    """`use_best` makes `eval_every` part of what a training is; left out, it changes no run of before."""
    plain, best_of = make_config(eval_every=1), make_config(eval_every=1, use_best=True)
    assert "use_best" not in training_inputs(plain)["train"] and "eval_every" not in training_inputs(plain)["train"]
    assert training_inputs(best_of)["train"]["eval_every"] == 1
    assert json.dumps(training_inputs(plain)) == json.dumps(training_inputs(make_config(max_loss_factor=3)))


def test_files_of_a_later_step_do_not_count(make_config: MakeConfig, tmp_path: Path, scored: dict[int, str]) -> None:
    train(make_config(**SETTINGS), tmp_path)
    assert BestWeights(tmp_path / "checkpoints", start=10)._accuracy == pytest.approx(0.65)
    assert BestWeights(tmp_path / "checkpoints", start=9)._accuracy < 0
    assert BestWeights(tmp_path / "checkpoints", start=0)._accuracy < 0


def _scores(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("accuracy", "loss", "num_images")}
