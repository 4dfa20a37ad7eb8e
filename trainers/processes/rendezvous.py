"""Where processes find each other, anew in every attempt of torchrun.

torchrun may keep one store through all its restarts (that of its own rendezvous). What processes of an earlier attempt
left there, such as the addresses they listened at, must not be taken for those of this one.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

_PATIENCE = timedelta(minutes=30)
_PAUSE_SECONDS = 0.02


def open_store(rank: int, size: int) -> Store:
    """The store that torchrun describes in the environment, or a part of it that only this attempt uses."""
    store, _, _ = next(rendezvous("env://", rank, size))
    store.set_timeout(_PATIENCE)
    return part_of_this_attempt(store, rank, size)


def part_of_this_attempt(store: Store, rank: int, size: int) -> Store:
    """A part of `store` that is the same on all `size` ranks and empty, whatever earlier attempts have written.

    Every rank calls with a name never used before; rank 0 answers whatever call it finds, also those of the dead,
    until all the others have acknowledged its answer. Raises `TimeoutError` if they do not come.
    """
    name = uuid.uuid4().hex
    if rank > 0:
        store.set(f"call/{rank}", name)
        name = store.get(f"answer/{name}").decode()
        store.add(f"arrived/{name}", 1)
        return PrefixStore(f"attempt/{name}", store)
    deadline = time.monotonic() + _PATIENCE.total_seconds()
    answered: set[str] = set()
    while (missing := size - 1 - store.add(f"arrived/{name}", 0)) > 0:
        for other in range(1, size):
            if store.check([f"call/{other}"]) and (call := store.get(f"call/{other}").decode()) not in answered:
                store.set(f"answer/{call}", name)
                answered.add(call)
        if time.monotonic() > deadline:
            raise TimeoutError(f"{missing} of {size} processes did not come within {_PATIENCE}")
        time.sleep(_PAUSE_SECONDS)
    return PrefixStore(f"attempt/{name}", store)
