"""`ofa export`: one network of a run as files that run elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ofa.console import JsonFlag, emit, note


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
        str | None,
        typer.Option("--format", help="Forms, comma-separated, or all; left out: those of the config."),
    ] = None,
    board: Annotated[
        str | None, typer.Option(help="Of the form mcu: a board's name or YAML file; left out: that of the config.")
    ] = None,
    npu: Annotated[
        str | None, typer.Option(help="Of the form ethos-u: the accelerator; left out: that of the config.")
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

    A form that fails is told, with the operator that it cannot take, and the others come out all the same (exit code
    2). The test split is not read, but for networks that a finished search has named and scored.
    """
    from ofa.config import load_run_config
    from ofa.export.adhoc import export_architecture

    forms = [name.strip() for name in formats.split(",") if name.strip()] if formats is not None else None
    config = load_run_config(run)
    folder, report = export_architecture(
        run, config, architecture, forms=forms, board=board, npu=npu, out=output, finetuned=finetuned, quiet=json
    )
    if json:
        emit({"folder": str(folder), **report})
    else:
        _print(folder, report)
    for name, failure in report["failed"].items():
        note(f"error: {name}: {failure['message']}")
    if report["failed"]:
        raise typer.Exit(2)


def _print(folder: Path, report: dict[str, Any]) -> None:
    from rich.console import Console

    from ofa.export.summary import absent, forms_table, notes
    from ofa.text import milliseconds, share

    accuracy = report["accuracy"]["selection"]
    print(f"{report['key']}: selection accuracy {share(accuracy['accuracy'])} (from the {accuracy['form']} file)")
    for device, latency in report["latency"].items():
        measured = latency["measured"] and latency["measured"]["median_ms"]
        print(f"{device}: {milliseconds(latency['predicted_ms'])} predicted, {milliseconds(measured)} measured")
    if (mcu := report["forms"].get("mcu")) is not None:
        _print_bundle(mcu)
    print(f"{folder}:")
    Console().print(forms_table(report["forms"]))
    for line in notes(report):
        print(line)
    if lines := absent(report):
        print("not made:", *lines, sep="\n  ")
