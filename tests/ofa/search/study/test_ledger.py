from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from ofa.search.study.ledger import LOST, Ledger, Stored, owners
from ofa.search.study.storages import open_storage
from ofa.search.study.terms import Terms, open_study
from search_spaces.genome import Population

RESULT = Stored(0.5, 1.0, 10)


@pytest.fixture(params=["sqlite:///{}/s.db", "journal:{}/s.log"])
def ledgers(request: pytest.FixtureRequest, terms: Terms, tmp_path: Path) -> tuple[Ledger, Ledger]:
    """Of two workers, each with a connection of its own."""

    def opened() -> Ledger:
        where = request.param.format(tmp_path)
        storage = open_storage(where)
        study_id, stale = open_study(storage, "one", terms, where=where, stale_after_s=8.0)
        return Ledger(storage, study_id, terms, stale_after_s=stale)

    return opened(), opened()


@pytest.fixture
def some(terms: Terms) -> Population:
    drawn = np.unique(terms.space.sample(100, np.random.default_rng(0)), axis=0)
    return drawn[terms.keeps(drawn)][:3]


def test_the_first_claim_counts(ledgers: tuple[Ledger, Ledger], some: Population) -> None:
    one, two = ledgers
    mine = one.claim(some[0], 2)
    assert mine is not None
    assert two.claim(some[0], 2) is None
    other = two.claim(some[1], 2)
    assert other is not None
    assert one.claim(some[2], 2) is None  # two were asked for, and are taken
    assert one.finish(mine, RESULT)
    assert two.claim(some[0], 3) is None  # it is done
    two.fail(other, LOST)
    assert one.claim(some[1], 2) is not None  # what was given up can be had
    entries = two.entries()
    assert [entry.state for entry in entries] == ["done", "failed", "failed", "failed", "failed", "running"]
    assert [entry.reason for entry in entries[1:5]] == ["withdrawn", "lost", "withdrawn", "withdrawn"]
    assert [entry.number for entry in owners(entries).values()] == [0, 5]
    assert np.array_equal(entries[0].row, some[0])
    assert entries[0].accuracy == RESULT.accuracy


def test_a_worker_that_is_silent_while_watched_is_dead(
    ledgers: tuple[Ledger, Ledger], some: Population, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, watcher = ledgers
    now = time.monotonic()
    monkeypatch.setattr("ofa.search.study.ledger.time.monotonic", lambda: now)
    entry = worker.claim(some[0], 1)
    assert entry is not None

    def dead(after: float) -> bool:
        nonlocal now
        now += after
        return bool(watcher.dead(watcher.entries()))

    assert not dead(0.0)
    assert not dead(1000.0)  # nobody looked: the whole machine may have been asleep
    assert not dead(1.0)
    worker._storage.set_trial_user_attr(entry.trial_id, "alive", "a beat")
    assert not dead(3.0)
    assert not dead(3.0)
    assert not dead(3.0)
    assert dead(3.0)
    watcher.fail(entry, LOST)
    assert not worker.finish(entry, RESULT)  # it lives after all, and is told that its claim is gone
    assert [entry.reason for entry in watcher.entries()] == ["lost"]


def test_beats_are_seen_by_others(ledgers: tuple[Ledger, Ledger], some: Population) -> None:
    worker, watcher = ledgers
    worker.stale_after_s = 0.04
    entry = worker.claim(some[0], 1)
    assert entry is not None
    with worker.kept_alive(entry):
        deadline = time.monotonic() + 60
        while watcher.entries()[0].alive == entry.alive:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert worker.finish(entry, RESULT)
