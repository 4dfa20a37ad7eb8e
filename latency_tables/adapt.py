"""A table for a device where only whole networks were measured, from these and from what another device takes."""

from __future__ import annotations

from pathlib import Path

from latency_tables.correction import Errors, prediction_errors
from latency_tables.few_samples import (
    Terms,
    fit_few,
    held_out,
    known_latencies,
    num_folds,
    operator_counts,
    operator_latencies,
)
from latency_tables.identity import SpaceIdentity
from latency_tables.listed import ListedTable
from latency_tables.measured_networks import MeasuredNetworks
from latency_tables.operator_work import operator_work
from latency_tables.published import Source
from latency_tables.table import LatencyTable, Table
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import file_digest


def device_of(table: Table) -> str:
    return table.settings.name if isinstance(table, LatencyTable) else table.device


def adapted_table(
    space: SearchSpace,
    measured: MeasuredNetworks,
    *,
    device: str,
    files: dict[str, Path],
    known: Table | None = None,
) -> tuple[ListedTable, Errors]:
    """A table of all operators of `space` on `device`, and its error on networks that had no part in predicting them.

    `known` is a latency table of another device that holds the space; without one, counts of work alone are fitted.
    `files` (name, path) are what the result is made from: their digests are kept in it. The same networks in whatever
    order give the same table. Raises `UserError` if `known` is no table of latencies or lacks operators of the space.
    """
    if known is not None and known.metric != "latency":
        raise UserError(f"a table of {known.metric}, not of latency", file=known._file, key="metric")
    sources = [] if known is None else [known_latencies(space, known.cost(space))]
    terms = Terms.of(operator_work(space), sources)
    calls, amounts = terms.of_networks(operator_counts(space, space.encode(measured.architectures)))
    fitted = fit_few(calls, amounts, measured.latencies_ms)
    errors = prediction_errors(held_out(calls, amounts, measured.latencies_ms), measured.latencies_ms)
    num = len(measured.architectures)
    origin = "counted work alone" if known is None else f"the table of {device_of(known)}"
    folds = num_folds(num)
    tau = "none" if errors.kendall_tau is None else f"{errors.kendall_tau:.3f}"
    table = ListedTable(
        metric="latency",
        unit="ms",
        device=device,
        note=f"predicted from {num} networks and {origin}",
        licence="not stated" if known is None or isinstance(known, LatencyTable) else known.licence,
        source=Source(
            title=f"Whole networks of {space.name} measured on {device}; operators predicted",
            where=", ".join(files),
            files={name: file_digest(path) for name, path in files.items()},
        ),
        provenance={
            "networks": str(num),
            "validation": "leave-one-out" if folds == num else f"{folds} folds",
            "mape": f"{errors.mape:.4f}",
            "share_within_10": f"{errors.share_within_10:.3f}",
            "kendall_tau": tau,
            "call_strength": f"{fitted.strengths[0]:g}",
            "work_strength": f"{fitted.strengths[1]:g}",
        },
        space=SpaceIdentity.of(space),
        per_network=fitted.per_network,
        entries=operator_latencies(terms, fitted),
    )
    return table, errors
