"""Accuracy records: one JSON line per evaluated subnet, appended as it is known and never evaluated twice.

A record belongs to one supernet (hash of its weights), one space and one pair of calibration and selection splits; in a
file that another one wrote, nothing is overwritten: it is refused.
"""

from __future__ import annotations

import fcntl
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

import numpy as np
import numpy.typing as npt

from predictors.settings import Origin
from search_spaces import Architecture
from search_spaces.common.errors import UserError
from search_spaces.common.files import append_line, digest, read_lines

if TYPE_CHECKING:
    from search_spaces import SearchSpace

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Top-level facts that every record of a run shares: which supernet, on which images.
IDENTITY = ("fingerprint", "weights_sha256", "calibration_sha256", "selection_sha256")


class Evaluated(Protocol):
    """What evaluating a subnet gives: accuracy in 0..1, mean loss in nats."""

    @property
    def accuracy(self) -> float: ...
    @property
    def loss(self) -> float: ...
    @property
    def num_images(self) -> int: ...


Evaluate = Callable[[Architecture], Evaluated]
EvaluateTogether = Callable[[Sequence[Architecture]], Sequence[Evaluated]]


@dataclass(frozen=True)
class Records:
    """Evaluated networks, distinct; as a rule in the order of their keys: that of the file is then of no matter."""

    population: Rows  # (num, num_genes)
    accuracies: Floats  # (num,) in 0..1
    losses: Floats  # (num,) infinite for a subnet whose outputs overflowed (null in the file)
    keys: tuple[str, ...]
    origins: tuple[Origin, ...]
    groups: tuple[str, ...] | None = None
    """For each network a name of those drawn with it, with layers in common (None: each was drawn alone)."""

    @property
    def group_names(self) -> tuple[str, ...]:
        return self.keys if self.groups is None else self.groups

    def __len__(self) -> int:
        return len(self.keys)

    def of(self, origins: Sequence[Origin]) -> Records:
        """Those that came about in one of these ways."""
        return self.take(np.flatnonzero([origin in origins for origin in self.origins]))

    def take(self, rows: npt.NDArray[np.intp]) -> Records:
        """Those at these positions, in their order."""
        return Records(
            population=self.population[rows],
            accuracies=self.accuracies[rows],
            losses=self.losses[rows],
            keys=tuple(self.keys[i] for i in rows),
            origins=tuple(self.origins[i] for i in rows),
            groups=None if self.groups is None else tuple(self.groups[i] for i in rows),
        )

    @property
    def digest(self) -> str:
        facts: list[Any] = [list(pair) for pair in zip(self.keys, self.accuracies.tolist(), strict=True)]
        return digest(facts if self.group_names == self.keys else [facts, list(self.group_names)])


def load_records(
    path: Path | str,
    *,
    space: SearchSpace,
    weights_sha256: str | None = None,
    calibration_sha256: str | None = None,
    selection_sha256: str | None = None,
    by_arrival: bool = False,
) -> Records:
    """Read a records file; facts that are given must match every line. In the order of keys, or that of the lines.

    A torn last line (a crash while appending) is left out. `UserError` with file and line for anything else that is
    not a record of this space and supernet. Of two lines for one network the first counts.
    """
    wanted = {
        "fingerprint": space.fingerprint,
        "weights_sha256": weights_sha256,
        "calibration_sha256": calibration_sha256,
        "selection_sha256": selection_sha256,
    }
    found: dict[str, tuple[Architecture, Mapping[str, Any]]] = {}
    for number, line in enumerate(read_lines(path, "records file"), start=1):
        architecture = _check(line, wanted, f"{path}: line {number}", space)
        found.setdefault(architecture.key, (architecture, line))
    keys = list(found) if by_arrival else sorted(found)
    lines = [found[key][1] for key in keys]
    return Records(
        population=space.encode([found[key][0] for key in keys])
        if keys
        else np.zeros((0, space.num_genes), dtype=np.int64),
        accuracies=np.array([line["accuracy"] for line in lines], dtype=np.float64),
        losses=np.array([math.inf if line["loss"] is None else line["loss"] for line in lines], dtype=np.float64),
        keys=tuple(keys),
        origins=tuple(line.get("origin", "sampled") for line in lines),
        groups=tuple(line.get("group", key) for key, line in zip(keys, lines, strict=True)),
    )


class RecordBook:
    """The records file of one supernet, open for asking: the unknown is evaluated and appended."""

    def __init__(self, path: Path, space: SearchSpace, *, identity: Mapping[str, str]) -> None:
        assert set(identity) | {"fingerprint"} == set(IDENTITY)
        self.path, self.space = Path(path), space
        self._identity = {"fingerprint": space.fingerprint, **identity}
        self._known: dict[str, float] = {}
        self.reload()

    def reload(self, *, by_arrival: bool = False) -> Records:
        """Read the file again (other processes append to it too)."""
        given = {name: value for name, value in self._identity.items() if name != "fingerprint"}
        records = load_records(self.path, space=self.space, by_arrival=by_arrival, **given)
        self._known = dict(zip(records.keys, records.accuracies.tolist(), strict=True))
        return records

    def __contains__(self, architecture: Architecture) -> bool:
        return architecture.key in self._known

    def accuracy(self, architecture: Architecture, evaluate: Evaluate, *, origin: Origin) -> float:
        """Accuracy of one network on the selection split, evaluated only if it is not on file."""
        return self.accuracies([architecture], lambda asked: [evaluate(one) for one in asked], origin=origin)[0]

    def accuracies(
        self,
        architectures: Sequence[Architecture],
        evaluate: EvaluateTogether,
        *,
        origin: Origin,
        group: str | None = None,
    ) -> list[float]:
        """The same of several networks: those not on file are evaluated together, then appended.

        `group` names the networks that these were drawn with; `seconds` on file is the time of the whole evaluation
        divided by the networks in it.
        """
        missing = list({a.key: a for a in architectures if a not in self}.values())
        if missing:
            start = time.perf_counter()
            results = evaluate(missing)
            seconds = (time.perf_counter() - start) / len(missing)
            with _locked(self.path):
                for architecture, result in zip(missing, results, strict=True):
                    append_line(self.path, self._line(architecture, result, origin, seconds, group))
            self._known |= {a.key: float(result.accuracy) for a, result in zip(missing, results, strict=True)}
        return [self._known[architecture.key] for architecture in architectures]

    def _line(
        self, architecture: Architecture, result: Evaluated, origin: Origin, seconds: float, group: str | None
    ) -> dict[str, Any]:
        return {
            "key": architecture.key,
            "accuracy": float(result.accuracy),
            "loss": float(result.loss) if math.isfinite(result.loss) else None,
            "num_images": int(result.num_images),
            "split": "selection",
            "origin": origin,
            **({} if group is None else {"group": group}),
            "seconds": round(seconds, 4),
            "architecture": architecture.to_json(),
            **self._identity,
        }


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time: appending first mends a torn last line, which must not be another writer's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _check(line: Any, wanted: Mapping[str, str | None], where: str, space: SearchSpace) -> Architecture:
    """The architecture of one line, everything about the line checked."""
    if not isinstance(line, dict):
        raise UserError("not a record", file=where, value=line)
    for name in ("architecture", "key", "accuracy", "loss", "split", *IDENTITY):
        if name not in line:
            raise UserError("this key is required", file=where, key=name)
    for name, value in wanted.items():
        if value is not None and line[name] != value:
            what = {"fingerprint": "space", "weights_sha256": "supernet"}.get(name, f"{name.partition('_')[0]} split")
            raise UserError(
                f"record of another {what} ({str(line[name])[:12]}) than this run's ({value[:12]})",
                file=where,
                key=name,
                hint="Move the file away to start a new one",
            )
    if line["split"] != "selection":
        raise UserError("accuracies come from the selection split only", file=where, key="split", value=line["split"])
    if line.get("origin", "sampled") not in get_args(Origin):
        rule = f"must be one of {', '.join(get_args(Origin))}"
        raise UserError(rule, file=where, key="origin", value=line["origin"])
    if not isinstance(line.get("group", ""), str):
        raise UserError("must be the key of a network", file=where, key="group", value=line["group"])
    for name, limit in (("accuracy", 1.0), ("loss", math.inf)):
        value = line[name]
        if value is None and name == "loss":
            continue
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not 0 <= value <= limit
            or value == math.inf
        ):
            rule = (
                "must be a number in 0..1" if name == "accuracy" else "must be a finite number, not negative, or null"
            )
            raise UserError(rule, file=where, key=name, value=value)
    architecture = Architecture.from_json(line["architecture"], file=where)
    space.encode([architecture], file=where)
    if architecture.key != line["key"]:
        raise UserError(f"the architecture's key is {architecture.key}", file=where, key="key", value=line["key"])
    return architecture
