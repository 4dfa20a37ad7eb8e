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
    algorithm: Annotated[
        str | None, typer.Option(help="Without a run: evolution, exhaustive, nsga2, ageing, local, random, stratified.")
    ] = None,
    front: Annotated[
        str | None, typer.Option(metavar="COST[,COST]", help="Without a run: the front of accuracy against costs.")
    ] = None,
    num_random: Annotated[
        int, typer.Option("--random", min=0, help="With --front: that of so many random networks.")
    ] = 0,
    evaluate: Annotated[
        int | None, typer.Option(min=1, help="A run: evaluate so many networks for real first, then name winners.")
    ] = None,
    sampler: Annotated[
        str, typer.Option(help="What proposes them: predictor, or tpe, nsga2, nsga3, gp, random (a study alone).")
    ] = "predictor",
    storage: Annotated[
        str | None, typer.Option(help="Where workers meet: sqlite:///FILE.db, journal:FILE, postgresql://...")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study in the storage.")] = None,
    objectives: Annotated[
        str | None, typer.Option(help="Of other samplers than predictor: accuracy, or accuracy,macs,... for a front.")
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

    Without --max, the budgets of the run's config are searched and RUN/search.json is written. With --evaluate N the
    predictor proposes, N networks are evaluated for real and it learns from them, before winners are named; the same
    command in other processes or machines shares the work. Where --max names
    several devices (latency@a=5ms, latency@b=12ms), each gets a winner within its own limits, and the universal network
    keeps all. Exit code 3: no network keeps the limits.
    """
    if front is not None and output is not None:
        raise UserError("a front is many networks: --json tells all of them", key="--output", value=output)
    if run is not None:
        if space is not None or accuracy is not None or device:
            raise UserError("a run has a space, predictor and devices of its own", key="--space/--accuracy/--device")
        if front is not None or algorithm is not None:
            hint = "A run has both in its config and RUN/search.json. Or give --accuracy RUN/predictor"
            raise UserError("goes with a search without a run", key="--front/--algorithm", hint=hint)
        from ofa.config import load_run_config
        from ofa.search.budgets import parse_max
        from ofa.search.loop import PREDICTOR, evaluate_more, search_evaluating
        from predictors.records import process_of

        if confidence is not None:
            message = "every candidate of a run is measured on its devices, which is surer than any confidence"
            raise UserError(message, key="--confidence", value=confidence, hint="Leave it out")
        budget = parse_max(limits) if limits else None
        config = load_run_config(run)
        if sampler == PREDICTOR:
            if objectives is not None:
                message = "the sampler `predictor` searches a winner for every budget, and the front of what they limit"
                raise UserError(message, key="--objectives", value=objectives, hint="Give another --sampler")
            facts = search_evaluating(
                run, config, num=evaluate, budget=budget, storage=storage, study=study, quiet=json
            )
        else:
            if evaluate is None:
                raise UserError("goes with --evaluate", key="--sampler", value=sampler)
            wanted = tuple(name.strip() for name in (objectives or "accuracy").split(","))
            facts = evaluate_more(
                run,
                config,
                num=evaluate,
                budget=budget,
                sampler=sampler,
                objectives=wanted,
                storage=storage,
                study=study,
                quiet=json,
            )
        if process_of()[0] > 0:  # a worker like the first, which tells
            return
    else:
        from ofa.search.algorithms.registry import AUTO
        from ofa.search.offline.search import front_offline, search_offline
        from search_spaces.operators import check_plan

        if dtype not in DTYPES:
            raise unknown_name("dtype", dtype, DTYPES, key="--dtype")
        check_plan(memory_plan, key="--memory-plan")
        for key, value in {"--evaluate": evaluate, "--storage": storage, "--study": study}.items():
            if value is not None:
                raise UserError("networks are evaluated with the supernet of a run", key=key, value=value)
        if accuracy is None:
            raise UserError("give a run folder, or a predictor to search with", key="--accuracy")
        tables = [Path(path) for text in device or [] for path in text.split(",") if path]
        if front is not None:
            facts = front_offline(
                accuracy,
                tables,
                limits or [],
                [name.strip() for name in front.split(",")],
                num_random=num_random,
                space=space,
                seed=seed,
                dtype=dtype,
                memory_plan=memory_plan,
            )
        else:
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
                algorithm=algorithm or AUTO,
            )
    if not json:
        from ofa.search.tables import print_candidates, print_front, print_study, print_winners

        if "sampler" in facts:
            print_study(facts)
        elif "points" in facts:
            print_front(facts)
        else:
            (print_candidates if run is None else print_winners)(facts, explain=explain)
    if output is not None:
        from ofa.search.outputs import write_architectures

        write_architectures(output, facts)
    if json:
        emit(facts)
