"""`ofa records`: evaluate sampled subnets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa.console import JsonFlag, emit


def records(
    run: Annotated[Path, typer.Argument(help="A run folder with a trained supernet.")],
    num: Annotated[
        int | None, typer.Option("-n", "--num", help="Networks to have on file; left out: the config's number.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Evaluate sampled subnets on the selection split into RUN/records.jsonl; those on file are not evaluated again.

    Any number of processes share the work: torchrun --nproc-per-node=N -m ofa records RUN -n 500.
    """
    from ofa.config import load_run_config
    from predictors.records import process_of, record_subnets

    found = record_subnets(run, load_run_config(run), num=num, quiet=json).of(("sampled",))
    if process_of()[0] > 0:
        return
    low, high = float(found.accuracies.min()), float(found.accuracies.max())
    if json:
        facts = {"records": str(run / "records.jsonl"), "num": len(found), "lowest": low, "highest": high}
        emit(facts)
    else:
        print(f"{len(found)} records in {run / 'records.jsonl'}: selection accuracy {low:.2%} to {high:.2%}")
