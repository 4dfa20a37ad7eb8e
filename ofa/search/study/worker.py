"""One worker of a study: look, propose, claim, evaluate, tell; until the study has what it was asked for."""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ofa.search.study.fresh import fresh_rows
from ofa.search.study.ledger import ERROR, LOST, STOPPED, Entry, Ledger, Stored, owners, rows
from ofa.search.study.proposer import History, Proposer
from search_spaces.common.progress import progress_bar

if TYPE_CHECKING:
    from predictors.record_file import Evaluated, RecordBook
    from search_spaces import Architecture
    from search_spaces.genome import Population

#: A network whose workers died or failed so often is left alone: it may be what kills them.
_MOST_LOSSES = 3
_POLL_S = 0.25


class Evaluator(Protocol):
    """Evaluates a network for real; `book` is the records file (`predictors.records.SubnetEvaluator` is one)."""

    @property
    def book(self) -> RecordBook: ...
    def __call__(self, architecture: Architecture, /) -> Evaluated: ...


@dataclass
class Worker:
    """`work` takes part in a study until `num` networks have been evaluated, by whichever worker.

    `anchors` are networks that keep the limits; `stream` tells workers with one seed apart (the rank); `check` is
    called before every evaluation and raises if the study is not what it was.
    """

    ledger: Ledger
    proposer: Proposer
    evaluator: Evaluator
    anchors: Population
    num: int
    seed: int = 0
    stream: int = 0
    batch: int = 1
    check: Callable[[], object] = lambda: None
    quiet: bool = False
    _lost_races: int = 0
    _known: dict[str, Stored] = field(default_factory=dict)
    _version: tuple[int, int] = (0, 0)
    _queue: list[Population] = field(default_factory=list)

    def work(self) -> bool:
        """True when the study is complete, False when there is nothing left to evaluate."""
        with progress_bar("evaluating networks", self.num, quiet=self.quiet) as advance:
            shown = 0
            while True:
                entries = self._settled()
                done = evaluated(entries)
                advance(len(done) - shown, note=_best(done))
                shown = len(done)
                if len(done) >= self.num:
                    return True
                owned = owners(entries).values()
                claimed = [entry for entry in owned if entry.source == "evaluated"]
                row = None if len(claimed) >= self.num else self._proposal(entries)
                if row is not None:
                    self._take(row)
                elif any(entry.state == "running" for entry in claimed):
                    time.sleep(min(_POLL_S, self.ledger.stale_after_s / 8))
                else:
                    return False

    # -- one step each -------------------------------------------------------------------------------------------------

    def _settled(self) -> list[Entry]:
        """The trials, after this records file and they have told each other what only one of them knew, and the
        networks of dead workers are free."""
        entries = self.ledger.entries()
        dead = self.ledger.dead(entries)
        for entry in dead:
            result = self._on_file(entry.network)
            if result is not None:  # it died between the two
                self.ledger.finish(entry, result)
            else:
                self.ledger.fail(entry, LOST)
        if dead:
            entries = self.ledger.entries()
        strange = [e for e in owners(entries).values() if e.state == "done" and e.network not in self._known]
        if strange:
            self._on_file(strange[0].network)  # reads the file again
        for entry in strange:
            if entry.network not in self._known:
                self._record(entry)
        return entries

    def _record(self, entry: Entry) -> None:
        """Write down what a worker with another records file evaluated."""
        assert entry.accuracy is not None
        result = Stored(entry.accuracy, float("inf") if entry.loss is None else entry.loss, entry.num_images)
        architecture = self.evaluator.book.space.decode(entry.row[None])[0]
        self.evaluator.book.accuracy(architecture, lambda _: result, origin="search")

    def _proposal(self, entries: Sequence[Entry]) -> Population | None:
        """The next network: one that lost its worker, else what the proposer offers; None if nothing new is left."""
        space, owned = self.ledger.terms.space, owners(entries)
        losses = Counter(entry.network for entry in entries if entry.reason in (LOST, ERROR))
        barred = [entry for entry in entries if losses[entry.network] >= _MOST_LOSSES]
        for entry in entries:
            if entry.reason in (LOST, STOPPED) and entry.network not in owned and losses[entry.network] < _MOST_LOSSES:
                return entry.row
        done = [entry for entry in owned.values() if entry.state == "done"]
        pending = [entry for entry in owned.values() if entry.state == "running"]
        history = History(
            population=rows(done, space.num_genes),
            accuracies=np.array([entry.accuracy for entry in done], dtype=np.float64),
            pending=rows(pending, space.num_genes),
            stream=(self.stream, len(done), len(pending), self._salt),
        )
        taken = np.concatenate([history.population, history.pending, rows(barred, space.num_genes)])
        self._queue = [row for row in self._queue if not (taken == row).all(axis=1).any()]
        if not self._queue:
            self._queue = list(self._fresh(history, taken))
        return self._queue.pop(0) if self._queue else None

    def _fresh(self, history: History, taken: Population) -> Population:
        """What the proposer offers, brought within the limits and off what is taken."""
        proposed, keeps = self.proposer.propose(history, self.batch), self.ledger.terms.keeps
        if not len(proposed):
            return proposed
        anchors = np.concatenate([self.anchors, history.population[keeps(history.population)]])
        rng = np.random.default_rng([self.seed, *history.stream])
        space, num = self.ledger.terms.space, len(proposed)
        return fresh_rows(space, proposed, taken, keeps=keeps, anchors=anchors, rng=rng, num=num)

    @property
    def _salt(self) -> int:
        """Sets workers apart that had the same idea at the same moment."""
        return zlib.crc32(f"{self.ledger.worker}:{self._lost_races}".encode()) if self._lost_races else 0

    def _take(self, row: Population) -> None:
        """Tell the network if it is on file; else claim it, evaluate it and tell it."""
        ledger = self.ledger
        architecture = self.evaluator.book.space.decode(row[None])[0]
        self.check()
        known = self._on_file(architecture.key)
        if known is not None:
            if architecture.key not in owners(ledger.entries()):
                ledger.tell(row, known)
            return
        entry = ledger.claim(row, self.num)
        if entry is None:
            self._lost_races += 1
            return
        with ledger.kept_alive(entry):
            try:
                result = self._on_file(architecture.key) or self._evaluate(architecture)
            except BaseException as error:
                with suppress(Exception):  # the storage may be what failed
                    ledger.fail(entry, ERROR if isinstance(error, Exception) else STOPPED)
                raise
            told = ledger.finish(entry, result)
        if not told and architecture.key not in owners(ledger.entries()):  # it had been taken for dead
            ledger.tell(row, result)

    def _evaluate(self, architecture: Architecture) -> Evaluated:
        """The result, which is on file before anything else happens to it."""
        results: list[Evaluated] = []

        def evaluate(asked: Architecture) -> Evaluated:
            results.append(self.evaluator(asked))
            return results[-1]

        self.evaluator.book.accuracy(architecture, evaluate, origin="search")
        return results[-1]

    def _on_file(self, network: str) -> Stored | None:
        """What the records file, as it is now, knows of a network."""
        path = self.evaluator.book.path
        status = path.stat() if path.exists() else None
        version = (0, 0) if status is None else (status.st_size, status.st_mtime_ns)
        if version != self._version:
            records = self.evaluator.book.reload()
            self._version = version
            known = zip(records.accuracies.tolist(), records.losses.tolist(), strict=True)
            self._known = {key: Stored(*result, 0) for key, result in zip(records.keys, known, strict=True)}
        return self._known.get(network)


def evaluated(entries: Sequence[Entry]) -> list[Entry]:
    """Networks that the study has evaluated for real."""
    return [e for e in owners(entries).values() if e.state == "done" and e.source == "evaluated"]


def _best(done: Sequence[Entry]) -> str:
    return f"best {max(entry.accuracy or 0.0 for entry in done):.4f}" if done else ""
