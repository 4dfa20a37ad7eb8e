"""`ofa search`: the most accurate networks that keep limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa.console import JsonFlag, emit
from search_spaces.common.errors import UserError, unknown_name

DTYPES = ("float32", "float16", "int8")


def search(
    run: Annotated[Path | None, typer.Argument(help="A run folder; or give --space, --accuracy and --device.")] = None,
    limits: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="METRIC=AMOUNT", help="latency=5ms, energy@phone=30%, peak_memory=256KiB, ..."),
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="A space's name, or a config file; left out: the predictor's.")
    ] = None,
    accuracy: Annotated[
        Path | None, typer.Option(help="The folder of an accuracy predictor: RUN/predictor, or an imported one.")
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="Tables of devices: TABLE.json[,TABLE.json], or shipped ones: samsung_note10."),
    ] = None,
    num: Annotated[int, typer.Option("-n", "--num", min=1, help="Candidates to keep.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of a search without a run.")] = 0,
    dtype: Annotated[str, typer.Option(help="float32, float16 or int8: for peak_memory and flash.")] = "float32",
    memory_plan: Annotated[str, typer.Option(help="naive or overwriting: for peak_memory.")] = "naive",
    confidence: Annotated[
        float | None, typer.Option(help="0.95: limits hold with this probability, or by measurement.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what slots and genes of winners cost.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Write the best architecture as JSON; several devices: OUT.DEVICE.json too."
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Search a run: winners are measured and evaluated for real. Or search with a predictor and tables alone.

    Without --max, the budgets of the run's config are searched and RUN/search.json is written. Where --max names
    several devices (latency@a=5ms, latency@b=12ms), each gets a winner within its own limits, and the universal network
    keeps all. Exit code 3: no network keeps the limits.
    """
    if run is not None:
        if space is not None or accuracy is not None or device:
            raise UserError("a run has a space, predictor and devices of its own", key="--space/--accuracy/--device")
        from ofa.config import load_run_config
        from ofa.search.budgets import parse_max
        from ofa.search.stage import search_run

        if confidence is not None:
            message = "every candidate of a run is measured on its devices, which is surer than any confidence"
            raise UserError(message, key="--confidence", value=confidence, hint="Leave it out")
        budget = parse_max(limits) if limits else None
        facts = search_run(run, load_run_config(run), budget=budget, quiet=json)
    else:
        from ofa.search.offline import search_offline
        from search_spaces.operators import check_plan

        if dtype not in DTYPES:
            raise unknown_name("dtype", dtype, DTYPES, key="--dtype")
        check_plan(memory_plan, key="--memory-plan")
        if accuracy is None:
            raise UserError("give a run folder, or a predictor to search with", key="--accuracy")
        tables = [Path(path) for text in device or [] for path in text.split(",") if path]
        facts = search_offline(
            accuracy,
            tables,
            limits or [],
            space=space,
            num=num,
            seed=seed,
            dtype=dtype,
            memory_plan=memory_plan,
            confidence=confidence,
        )
    if not json:
        from ofa.search.tables import print_candidates, print_winners

        (print_candidates if run is None else print_winners)(facts, explain=explain)
    if output is not None:
        from ofa.search.outputs import write_architectures

        write_architectures(output, facts)
    if json:
        emit(facts)
