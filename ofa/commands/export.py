"""`ofa export`: one network of a run as files that run elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ofa.console import JsonFlag, emit


def _print_bundle(form: dict[str, Any]) -> None:
    needs, found = form["needs"], form["verified"]
    flash = ", ".join(f"{number:,} bytes of flash ({compiler})" for compiler, number in needs["flash"].items())
    print(f"{needs['board']}: {needs['arena']:,} bytes of maps, {flash or 'flash not predicted'}")
    if found is None:
        print("  not run in an emulator: pip install 'ofa-nas[mcu]', then ofa verify-mcu")
    else:
        instructions = f"{found['instructions']:,} instructions, {found['stack_bytes']:,} bytes of stack"
        print(f"  {found['num_golden']} images in {found['emulator']} bit for bit, {instructions}")


def export(
    run: Annotated[Path, typer.Argument(help="A run folder with a trained supernet.")],
    architecture: Annotated[
        str,
        typer.Argument(
            metavar="ARCH", help="An architecture as JSON, a key, a budget's name, or a folder of `ofa finetune`."
        ),
    ],
    formats: Annotated[
        str | None, typer.Option("--format", help="Forms, comma-separated; left out: those of the config.")
    ] = None,
    board: Annotated[
        str | None, typer.Option(help="Of the form mcu: a board's name or YAML file; left out: that of the config.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The folder to make; left out: RUN/exports/NAME.")
    ] = None,
    finetuned: Annotated[
        bool, typer.Option("--finetuned", help="The network that `ofa finetune` left in RUN/finetuned/KEY.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Export any subnet of a run: weights, architecture and deployable files that were checked against each other.

    The test split is not read: it is for the winners of a finished search.
    """
    from ofa.config import load_run_config
    from ofa.export.adhoc import export_architecture

    forms = [name.strip() for name in formats.split(",") if name.strip()] if formats is not None else None
    config = load_run_config(run)
    folder, report = export_architecture(
        run, config, architecture, forms=forms, board=board, out=output, finetuned=finetuned, quiet=json
    )
    if json:
        emit({"folder": str(folder), **report})
        return
    from ofa.report.text import milliseconds, share, size

    accuracy = report["accuracy"]["selection"]
    print(f"{report['key']}: selection accuracy {share(accuracy['accuracy'])} (from the {accuracy['form']} file)")
    for device, latency in report["latency"].items():
        measured = latency["measured"] and latency["measured"]["median_ms"]
        print(f"{device}: {milliseconds(latency['predicted_ms'])} predicted, {milliseconds(measured)} measured")
    if (mcu := report["forms"].get("mcu")) is not None:
        _print_bundle(mcu)
    for form in report["forms"].values():
        ties = f" ({form['num_ties']} of {form['num_images']} images aside)" if form.get("num_ties") else ""
        print(f"{folder / form['file']}  {size(form['bytes'])}, off by at most {form['max_abs']:.1e}{ties}")
        if scores := form.get("accuracy"):
            found, exact = (share(scores[key]["accuracy"]) for key in ("form", "network"))
            print(f"  int8 selection accuracy {found}, of the network {exact}")
        if micro := form.get("micro"):
            total = micro["arena_head_bytes"] + micro["arena_tail_bytes"]
            others = micro["num_off_by_one"] + micro["num_off_by_more"]
            print(
                f"  TensorFlow Lite Micro: arena {size(total)}, {others} of {micro['num_outputs']} outputs not LiteRT's"
            )
