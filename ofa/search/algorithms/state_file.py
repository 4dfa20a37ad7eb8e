"""A search on disk, so that it goes on where it was stopped: one safetensors file; nothing is ever unpickled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from ofa.search.algorithms.base import Keeper, Scores, SearchAlgorithm, SearchState
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest, write_bytes

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.genome import Population

_SCHEMA = 1
_PARTS = ("algorithm", "archive")


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """The state of a random generator as JSON."""
    return dict(rng.bit_generator.state)


def restored_generator(state: Mapping[str, Any]) -> np.random.Generator:
    """The generator that goes on from there."""
    rng = np.random.default_rng(0)
    rng.bit_generator.state = state
    return rng


def search_identity(space: SearchSpace, algorithm: str, **options: Any) -> dict[str, Any]:
    """What a state belongs to: the space (with what it is restricted to), the algorithm, and its options as JSON."""
    return {"space": digest(space.description), "algorithm": algorithm, "options": digest(options)}


def write_search(
    path: Path | str, identity: Mapping[str, Any], algorithm: SearchState, archive: SearchState, num_scored: int
) -> None:
    """Replace `path` by the state of a search."""
    states = dict(zip(_PARTS, (algorithm, archive), strict=True))
    arrays = {
        f"{part}.{name}": np.ascontiguousarray(array)
        for part, state in states.items()
        for name, array in state.arrays.items()
    }
    values = {part: state.values for part, state in states.items()}
    facts = {"schema": _SCHEMA, "identity": dict(identity), "num_scored": num_scored, "values": values}
    write_bytes(path, safetensors.numpy.save(arrays, {"search": json.dumps(facts, allow_nan=False)}))


def read_search(path: Path | str, identity: Mapping[str, Any]) -> tuple[SearchState, SearchState, int]:
    """The states of the algorithm and of its archive, and how many networks were scored. `UserError` for a file that
    is none, or of another search: another space, algorithm or other options.
    """
    try:
        with safetensors.safe_open(path, "numpy") as stream:
            facts = json.loads((stream.metadata() or {})["search"])
            names = stream.keys()
            arrays = {name: stream.get_tensor(name) for name in names}
        known = facts["identity"] if facts["schema"] == _SCHEMA else {}
        values, num_scored = facts["values"], int(facts["num_scored"])
    except FileNotFoundError:
        raise UserError("no such search", file=path) from None
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError("is not the state of a search", file=path, hint=f"{type(error).__name__}: {error}") from None
    for key, value in identity.items():
        if known.get(key) != value:
            what = {"space": "another space", "algorithm": "another algorithm"}.get(key, "a search with other options")
            raise UserError(f"is the state of {what}", file=path, hint="Delete it to search anew")
    own = {part: {n[len(part) + 1 :]: a for n, a in arrays.items() if n.startswith(f"{part}.")} for part in _PARTS}
    algorithm, archive = (SearchState(own[part], values[part]) for part in _PARTS)
    return algorithm, archive, num_scored


def drive_saved(
    algorithm: SearchAlgorithm,
    score: Callable[[Population], Scores],
    archive: Keeper,
    path: Path,
    identity: Mapping[str, Any],
    *,
    every_seconds: float = 30.0,
) -> int:
    """As `drive`, with the search in `path`: begun from there if there is one, saved now and then and at the end."""
    num = 0
    if path.exists():
        known, kept, num = read_search(path, identity)
        algorithm.restore(known)
        archive.restore(kept)
    saved = time.monotonic()
    while len(population := algorithm.ask()):
        scores = score(population)
        algorithm.tell(population, scores)
        archive.add(population, scores)
        num += len(population)
        if time.monotonic() - saved >= every_seconds:
            write_search(path, identity, algorithm.state(), archive.state(), num)
            saved = time.monotonic()
    write_search(path, identity, algorithm.state(), archive.state(), num)
    return num
