"""Processes of one attempt find each other in a store that holds what the dead have left."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import torch.distributed as dist

from trainers.processes import rendezvous
from trainers.processes.rendezvous import part_of_this_attempt


def meet(store: dist.Store, size: int) -> list[dist.Store]:
    found: dict[int, dist.Store] = {}

    def join(rank: int) -> None:
        found[rank] = part_of_this_attempt(store, rank, size)

    threads = [threading.Thread(target=join, args=(rank,)) for rank in reversed(range(size))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return [found[rank] for rank in range(size)]


def test_attempts_do_not_read_each_other() -> None:
    store = dist.HashStore()
    store.set("call/1", "dead before it was answered")
    store.set("call/2", "dead as well")
    for attempt in range(3):
        parts = meet(store, 3)
        assert not any(part.check(["address"]) for part in parts)
        parts[0].set("address", f"of attempt {attempt}")
        assert [part.get("address").decode() for part in parts] == [f"of attempt {attempt}"] * 3


def test_rank_0_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "_PATIENCE", timedelta(seconds=0.1))
    with pytest.raises(TimeoutError, match="1 of 2 processes did not come"):
        part_of_this_attempt(dist.HashStore(), 0, 2)
