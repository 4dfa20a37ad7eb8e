"""The trials of a study as a ledger of claims: who evaluates which network, decided by the storage in one step.

A trial is created whole: parameters, network and worker are there from its first moment. Trials are numbered in the
order of their creation on every storage, so the first trial of a network that has not failed owns it, and all workers
agree. Whoever made a later one withdraws it. While it evaluates, a worker renews the trial's `alive`; where that stands
still for `stale_after_s` by the clock of whoever watches, its worker is taken for dead and the network is free again.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from optuna.exceptions import OptunaError
from optuna.trial import TrialState, create_trial

from ofa.search.study.distributions import distributions, params, row_of

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from ofa.search.study.terms import Terms
    from predictors.record_file import Evaluated
    from search_spaces.genome import Population

Source = Literal["evaluated", "records"]

#: Why a trial failed: its worker lost a race for the network, died, was stopped, or met an error.
WITHDRAWN, LOST, STOPPED, ERROR = "withdrawn", "lost", "stopped", "error"


@dataclass(frozen=True)
class Entry:
    """One trial."""

    number: int
    trial_id: int
    network: str
    """The key of the architecture."""
    row: Population
    """(num_genes,)"""
    state: Literal["running", "done", "failed"]
    source: Source
    accuracy: float | None
    reason: str | None
    claim: str
    alive: str
    loss: float | None = None
    num_images: int = 0


@dataclass(frozen=True)
class Stored:
    """The result of an evaluation as the study keeps it."""

    accuracy: float
    loss: float
    num_images: int


class Ledger:
    """The trials of one study, read and written through its storage."""

    def __init__(self, storage: BaseStorage, study_id: int, terms: Terms, *, stale_after_s: float) -> None:
        self.terms, self.stale_after_s = terms, stale_after_s
        self.worker = f"{socket.gethostname()}:{os.getpid()}"
        self._storage, self._study_id = storage, study_id
        self._read: dict[int, Entry] = {}
        self._beats: dict[int, tuple[str, float]] = {}
        self._watched = time.monotonic()

    def entries(self) -> list[Entry]:
        """All trials in the order of their numbers."""
        found = []
        for trial in self._storage.get_all_trials(self._study_id, deepcopy=False):
            if trial.number not in self._read:
                entry = self._entry(trial)
                if entry is None:
                    continue  # of somebody else, put in by hand
                if entry.state == "running":
                    found.append(entry)
                    continue
                self._read[trial.number] = entry  # finished trials do not change
            found.append(self._read[trial.number])
        return found

    def claim(self, row: Population, num: int) -> Entry | None:
        """The right to evaluate `row`, or None if another worker was first or `num` networks are taken already."""
        mark = uuid.uuid4().hex
        trial_id = self._create(row, TrialState.RUNNING, {"claim": mark, "alive": _now(), "source": "evaluated"})
        owned = owners(self.entries())
        for rank, entry in enumerate(e for e in owned.values() if e.source == "evaluated"):
            if entry.claim == mark and rank < num:
                return entry
        self._fail(trial_id, WITHDRAWN)
        return None

    def tell(self, row: Population, result: Evaluated, *, source: Source = "records") -> None:
        """Put in a network whose accuracy is known without an evaluation of this study."""
        facts = {"claim": uuid.uuid4().hex, "source": source, **_facts(result)}
        self._create(row, TrialState.COMPLETE, facts, values=self.terms.values(row, float(result.accuracy)))

    def finish(self, entry: Entry, result: Evaluated) -> bool:
        """Complete a trial; False if it was taken for dead in the meantime."""
        try:
            for name, value in _facts(result).items():
                self._storage.set_trial_user_attr(entry.trial_id, name, value)
            values = self.terms.values(entry.row, float(result.accuracy))
            self._storage.set_trial_state_values(entry.trial_id, TrialState.COMPLETE, values)
        except (OptunaError, RuntimeError):
            if self._storage.get_trial(entry.trial_id).state.is_finished():
                return False
            raise
        return True

    def fail(self, entry: Entry, reason: str) -> None:
        """Give up a trial; nothing happens if it is finished."""
        self._fail(entry.trial_id, reason)

    @contextmanager
    def kept_alive(self, entry: Entry) -> Iterator[None]:
        """Renew `alive` from a thread of its own until the block ends."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self.stale_after_s / 4):
                with suppress(Exception):  # a storage that is busy or away for a moment: the next beat will do
                    self._storage.set_trial_user_attr(entry.trial_id, "alive", _now())

        thread = threading.Thread(target=renew, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def dead(self, entries: Sequence[Entry]) -> list[Entry]:
        """Running trials whose `alive` this process has seen stand still for too long.

        Time in which it did not look counts as half of `stale_after_s` at most: if a whole machine was paused, its
        workers wake together, and get a moment to say so.
        """
        now = time.monotonic()
        gap, self._watched = min(now - self._watched, self.stale_after_s / 2), now
        beats: dict[int, tuple[str, float]] = {}
        for entry in entries:
            if entry.state == "running":
                alive, still = self._beats.get(entry.number, (entry.alive, -gap))
                beats[entry.number] = (entry.alive, still + gap if alive == entry.alive else 0.0)
        self._beats = beats
        return [e for e in entries if e.number in beats and beats[e.number][1] >= self.stale_after_s]

    # -- trials --------------------------------------------------------------------------------------------------------

    def _create(
        self, row: Population, state: TrialState, facts: Mapping[str, Any], values: Sequence[float] | None = None
    ) -> int:
        space = self.terms.space
        attributes = {
            "network": space.decode(row[None])[0].key,
            "worker": self.worker,
            **self.terms.shown_costs(row),
            **facts,
        }
        trial = create_trial(
            state=state,
            values=values,
            params=params(space, row),
            distributions=distributions(space, row),
            user_attrs=attributes,
            system_attrs={"constraints": self.terms.constraints(row)},
        )
        return int(self._storage.create_new_trial(self._study_id, template_trial=trial))

    def _fail(self, trial_id: int, reason: str) -> None:
        try:
            self._storage.set_trial_user_attr(trial_id, "reason", reason)
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except (OptunaError, RuntimeError):
            if not self._storage.get_trial(trial_id).state.is_finished():
                raise

    def _entry(self, trial: FrozenTrial) -> Entry | None:
        facts = trial.user_attrs
        if "claim" not in facts or "network" not in facts:
            return None
        done = trial.state == TrialState.COMPLETE
        return Entry(
            number=trial.number,
            trial_id=trial._trial_id,
            network=facts["network"],
            row=row_of(self.terms.space, trial.params),
            state="done" if done else "running" if trial.state == TrialState.RUNNING else "failed",
            source=facts.get("source", "evaluated"),
            accuracy=float(trial.values[0]) if done else None,
            reason=facts.get("reason"),
            claim=facts["claim"],
            alive=facts.get("alive", ""),
            loss=facts.get("loss"),
            num_images=facts.get("num_images", 0),
        )


def owners(entries: Sequence[Entry]) -> dict[str, Entry]:
    """By network, the first trial that has not failed: the one that counts."""
    owned: dict[str, Entry] = {}
    for entry in entries:
        if entry.state != "failed":
            owned.setdefault(entry.network, entry)
    return owned


def rows(entries: Sequence[Entry], num_genes: int) -> Population:
    return np.stack([entry.row for entry in entries]) if entries else np.zeros((0, num_genes), dtype=np.int64)


def _facts(result: Evaluated) -> dict[str, Any]:
    loss = float(result.loss)
    images = int(result.num_images)
    return {"loss": loss if np.isfinite(loss) else None} | ({"num_images": images} if images else {})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
