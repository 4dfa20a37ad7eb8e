"""A training that is asked to stop finishes its step, saves, says so, and ends with the same weights when taken up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from search_spaces.common.errors import Stopped
from search_spaces.common.files import read_json, read_lines
from tests.processes import Command
from trainers import milestones, training
from trainers.checkpoints.store import checkpoint_steps
from trainers.processes import interruption
from trainers.processes.interruption import SIGNALS, StopRequests
from trainers.settings.train import TrainingConfig
from trainers.training import train

MakeConfig = Callable[..., TrainingConfig]


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def weights(run: Path) -> str:
    return str(read_json(run / "supernet.json", "supernet")["weights_sha256"])


def lines(run: Path) -> list[Any]:
    return [
        {key: value for key, value in line.items() if key != "images_per_second"}
        for line in read_lines(run / "training.jsonl", "log")
    ]


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Shells have what they start in the background ignore SIGINT: these tests too, if that is how they run."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def signal_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`signal_at(step, *signals)`: this process gets them in the middle of that step."""
    real = training.accumulate_gradients

    def signal_at(step: int, *numbers: signal.Signals) -> None:
        def signalled(*args: Any, **kwargs: Any) -> torch.Tensor:
            losses = real(*args, **kwargs)
            if kwargs["step"] == step:
                for number in numbers:
                    send(number)
            return losses

        monkeypatch.setattr(training, "accumulate_gradients", signalled)

    return signal_at


@pytest.mark.parametrize("number", SIGNALS)
def test_outside_a_step_a_signal_ends_the_work_at_once(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    told = f"stopped by {number.name}: no step was under way"
    with pytest.raises(Stopped, match=told) as stopped, StopRequests():
        send(number)
    assert stopped.value.exit_code == (130 if number is signal.SIGINT else 143)
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_signals_wait_for_the_end_of_a_step() -> None:
    with StopRequests() as requests, requests.deferred():
        send(signal.SIGUSR1)
        send(signal.SIGTERM)
        send(signal.SIGINT)  # at once after the first: a launcher that repeats it
        assert requests.received is signal.SIGUSR1


def test_a_second_interrupt_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_ECHO_SECONDS", 0.0)
    told = "at once by a second SIGINT"
    with pytest.raises(Stopped, match=told) as stopped, StopRequests() as requests, requests.deferred():
        send(signal.SIGINT)
        send(signal.SIGINT)
    assert stopped.value.exit_code == 130


def test_an_attempt_is_given_up() -> None:
    done = []
    with StopRequests() as requests, requests.deferred():
        assert requests.attempt(lambda: "whole") == "whole"
        assert requests.attempt(lambda: (send(signal.SIGTERM), done.append(1))) is None
        assert requests.attempt(lambda: done.append(2)) is None
        send(signal.SIGTERM)  # remembered again, not raised
    assert done == []


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopRequests() as requests:
            send(signal.SIGINT)
            assert requests.received is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_stopped_and_taken_up_again(make_config: MakeConfig, tmp_path: Path, signal_at: Callable[..., None]) -> None:
    """Far from a checkpoint, before an evaluation, and at the very last step."""
    config = make_config(recipe="progressive_shrinking", epochs=3, ema_decay=0.9, checkpoint_every=1000)
    train(config, tmp_path / "whole")
    num_steps = read_json(tmp_path / "whole" / "supernet.json", "supernet")["step"]
    evaluated = [line["step"] for line in lines(tmp_path / "whole") if line["kind"] == "evaluation"]
    for step in (2, evaluated[0] - 1, num_steps - 1):
        signal_at(step, signal.SIGTERM)
        with pytest.raises(Stopped, match=rf"by SIGTERM: checkpoint saved after step {step + 1} of {num_steps}"):
            train(config, tmp_path / "stopped")
        assert checkpoint_steps(tmp_path / "stopped" / "checkpoints")[-1] == step + 1
        assert not (tmp_path / "stopped" / "supernet.json").exists()
    train(config, tmp_path / "stopped")
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    assert lines(tmp_path / "stopped") == lines(tmp_path / "whole")


def test_an_evaluation_is_given_up_and_done_again(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(epochs=1, checkpoint_every=1000)
    train(config, tmp_path / "whole")
    finished = []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        send(signal.SIGTERM)
        finished.append(1)
        return real(*args, **kwargs)

    real = milestones.evaluate_architecture
    with monkeypatch.context() as patch, pytest.raises(Stopped, match="after step 7 of 7"):
        patch.setattr(milestones, "evaluate_architecture", interrupted)
        train(config, tmp_path / "stopped")
    assert finished == []
    with monkeypatch.context() as patch, pytest.raises(Stopped, match="goes on after step 7 of 7"):
        patch.setattr(milestones, "evaluate_architecture", interrupted)
        train(config, tmp_path / "stopped")
    train(config, tmp_path / "stopped")
    assert lines(tmp_path / "stopped") == lines(tmp_path / "whole")
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


def test_after_the_last_step_the_training_is_finished_all_the_same(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = training.save_supernet
    monkeypatch.setattr(training, "save_supernet", lambda *args: (send(signal.SIGTERM), real(*args)))
    with pytest.raises(Stopped, match="the training is finished"):
        train(make_config(max_steps=1), tmp_path)
    assert (tmp_path / "supernet.json").exists()


@pytest.mark.slow
def test_processes_that_read_images_live_on(make_config: MakeConfig, tmp_path: Path) -> None:
    """Schedulers signal the whole group, and a step needs the images that are on their way to it."""
    config = make_config(epochs=100).model_dump(mode="json")
    config["data"] |= {"memory": "stream", "workers": 2}
    file, run = tmp_path / "config.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(config))
    process = Command("trainers", file, "--run-dir", run, session=True)
    deadline = time.monotonic() + 120
    while not (run / "training.jsonl").exists() and time.monotonic() < deadline and process.returncode is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait() == 143, process.told
    told = process.told
    assert told.startswith("stopped by SIGTERM: checkpoint saved after step ") and told.count("\n") == 1
