"""`ofa rank`: how far the rankings of a run can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa.console import JsonFlag, emit, note
from search_spaces.common.errors import UserError


def rank(
    run: Annotated[Path, typer.Argument(help="A run folder with a trained supernet and a predictor.")],
    num: Annotated[int, typer.Option("-n", "--num", help="Fresh networks to evaluate; at least 8.")] = 64,
    standalone: Annotated[
        int, typer.Option(metavar="K", help="Train the first K of them alone too, from scratch; expensive.")
    ] = 0,
    seeds: Annotated[int, typer.Option(help="Trainings of each of these.")] = 2,
    json: JsonFlag = False,
) -> None:
    """Judge the predictor by networks it never saw, and the supernet by networks trained alone; write RUN/rank.json.

    Says too which gene buys how much accuracy per ms. Evaluations and trainings go on where they were stopped, and are
    used again.
    """
    from ofa.config import load_run_config
    from ofa.rank.rank_file import FILE
    from ofa.rank.ranking import rank_run
    from predictors.records import process_of

    config = load_run_config(run)
    if process_of()[1] > 1:
        raise UserError("ofa rank works in one process", key="WORLD_SIZE", value=process_of()[1])
    facts = rank_run(run, config, num=num, standalone=standalone, num_seeds=seeds, quiet=json)
    if json:
        emit(facts)
        return
    from ofa.rank.tables import print_ranking

    print_ranking(facts)
    note(f"ranking report: {run / FILE}")
