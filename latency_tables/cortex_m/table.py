"""The instruction counts of a space on a Cortex-M core, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from latency_tables.cortex_m.compilers import SOURCES, Firmware, build_firmware
from latency_tables.cortex_m.cores import get_core
from latency_tables.cortex_m.counting import Counter, network_program, operator_program
from latency_tables.cortex_m.emulator import emulator_version
from latency_tables.cortex_m.journal import CountJournal
from latency_tables.identity import SpaceIdentity
from latency_tables.listed import CheckedNetwork, ListedTable, WholeNetworks
from latency_tables.networks import choose_networks
from latency_tables.published import Source
from latency_tables.table import load_table
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest, file_digest
from search_spaces.common.progress import progress_bar
from search_spaces.operators import Operator

NOTE = "counted under emulation, not timed"
LICENCE = "that of ofa-nas, whose own kernels were counted"
HINT = "Give another file, or delete this one to count here"

#: whole networks that are emulated from end to end, to check the sums
NUM_CHECKED = 50


def count_table(
    space: SearchSpace,
    core: str,
    *,
    path: Path,
    seed: int = 0,
    compiler: str = "zig",
    num_checked: int = NUM_CHECKED,
    replace: bool = False,
) -> ListedTable:
    """Count every operator of `space` on `core`, check the sums on whole networks, write `path`.

    Finished operators are kept in `path.with_suffix(".journal.jsonl")`: after an interruption the same call goes on
    where it was. A finished table of the same inputs is returned at once. The same inputs give the same file, byte for
    byte. Raises `UserError` for an unknown core, a compiler that is missing, an operator without a kernel, and if
    `path` holds another table, unless `replace`.
    """
    firmware = build_firmware(get_core(core), compiler)
    provenance = provenance_of(firmware, seed=seed, num_checked=num_checked)
    journal_path = path.with_suffix(".journal.jsonl")
    if path.exists() and not replace:
        finished = _finished(space, provenance, path)
        journal_path.unlink(missing_ok=True)
        return finished

    counts = count_programs(space, firmware, provenance, journal_path, seed=seed, num_checked=num_checked)
    table = ListedTable(
        metric="instructions",
        unit="instructions",
        device=core,
        note=NOTE,
        licence=LICENCE,
        source=kernels_source(core),
        provenance=provenance,
        space=SpaceIdentity.of(space),
        per_network=counts.around,
        entries={key: float(count) for key, count in counts.operators.items()},
    )
    predicted = table.cost(space).evaluate(space.encode(list(counts.networks)))
    checked = [
        CheckedNetwork(architecture=architecture.to_json(), predicted=float(sum_), observed=count)
        for sum_, (architecture, count) in zip(predicted, counts.networks.items(), strict=True)
    ]
    table = table.model_copy(update={"checked": WholeNetworks.of(checked)})
    table.save(path)
    journal_path.unlink(missing_ok=True)
    return table


@dataclass(frozen=True)
class Counts:
    """Instructions: of operators by key, of whole networks in one run each, and `around` the calls of any network."""

    operators: dict[str, int]
    networks: dict[Architecture, int]
    around: int


def count_programs(
    space: SearchSpace,
    firmware: Firmware,
    provenance: dict[str, str],
    journal_path: Path,
    *,
    seed: int,
    num_checked: int,
    plan: str = "overwriting",
) -> Counts:
    """All operators of `space` under a memory plan, and `num_checked` whole networks, going on where the journal ends.

    Raises `UserError` for an operator without a kernel, and for the journal of a count that `provenance` does not tell.
    """
    operators = space.operators()
    for operator in _of_every_kind(operators.values()):
        operator_program(operator, plan=plan)  # a missing kernel is told before anything is counted
    chosen = choose_networks(space, num_fit=0, num_heldout=num_checked, seed=seed).heldout
    journal = CountJournal(journal_path, provenance)
    counter = Counter(firmware, journal.calls)
    networks = {_network_key(space, architecture.key): architecture for architecture in chosen}
    done = len(operators.keys() & journal.operators.keys()) + len(networks.keys() & journal.networks.keys())
    with progress_bar(f"counting on {firmware.core.name}", len(operators) + len(networks), done=done) as advance:
        for key, operator in operators.items():
            if key not in journal.operators:
                program = operator_program(operator, plan=plan)
                journal.record("operators", key, counter.total(program), counter.count(program))
                advance()
        for key, architecture in networks.items():
            if key not in journal.networks:
                whole = counter.whole(network_program(space, architecture, plan=plan))
                journal.record("networks", key, whole, {})
                advance()
    return Counts(
        operators={key: journal.operators[key] for key in operators},
        networks={architecture: journal.networks[key] for key, architecture in networks.items()},
        around=counter.around,
    )


def kernels_source(core: str) -> Source:
    """The kernels whose instructions are counted."""
    return Source(
        title=f"int8 kernels of ofa-nas on {core}, counted under emulation",
        where="latency_tables/cortex_m",
        files={file.name: file_digest(file) for file in sorted(SOURCES.glob("*.[chl]*"))},
    )


def provenance_of(firmware: Firmware, *, seed: int, num_checked: int) -> dict[str, str]:
    """All that decides the numbers of a table, and which networks it is checked on."""
    core = {"core": firmware.core.name, "dsp": "yes" if firmware.core.dsp else "no"}
    run = {"emulator": emulator_version(), "networks": f"{num_checked} by seed {seed}"}
    return {**core, **firmware.provenance, **run}


def _of_every_kind(operators: Iterable[Operator]) -> list[Operator]:
    """One of each that have the same layers, as far as names and switches tell."""
    found: dict[tuple[object, ...], Operator] = {}
    for operator in operators:
        values = (getattr(operator, field.name) for field in fields(operator))
        found.setdefault((operator.kind, *(value for value in values if isinstance(value, (str, bool)))), operator)
    return list(found.values())


def _network_key(space: SearchSpace, architecture_key: str) -> str:
    return f"{space.fingerprint} {architecture_key}"


def _finished(space: SearchSpace, provenance: dict[str, str], path: Path) -> ListedTable:
    """The table at `path`, if it is the one that would be made."""
    found = load_table(path)
    if not isinstance(found, ListedTable) or found.metric != "instructions":
        raise UserError(f"holds a table of {found.metric}, not of instructions", file=path, hint=HINT)
    check_same_count(found.space, found.provenance, space, provenance, path)
    return found


def check_same_count(
    found: SpaceIdentity, made: dict[str, str], space: SearchSpace, provenance: dict[str, str], path: Path
) -> None:
    """Raises `UserError` if the table in `path`, of `found` and `made` so, is not the one of these."""
    if digest(found.description) != digest(space.description):
        what = f"holds a table of another space: {found.name!r} ({found.fingerprint})"
        raise UserError(f"{what}, not {space.name!r} ({space.fingerprint})", file=path, key="space", hint=HINT)
    for key, now in provenance.items():
        if (before := made.get(key)) != now:
            what = f"holds a count made otherwise: {key} {before} there, {now} here"
            raise UserError(what, file=path, key=f"provenance.{key}", hint=HINT)
