"""`ofa train`: the supernet, or one network of its space for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ofa.console import JsonFlag, SetOption, emit


def train(
    config: Annotated[Path, typer.Argument(help="A YAML config; see configs/.")],
    overrides: SetOption = None,
    run: Annotated[Path | None, typer.Option(help="The run folder; left out: runs/NAME.")] = None,
    alone: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="Train this one network from scratch instead, into RUN/alone/KEY: an architecture as JSON, a key or "
            "budget on the run's file, largest or smallest.",
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Train the supernet of a config. An interrupted run goes on where it was, a finished one is left alone."""
    from search_spaces.common.files import read_json
    from trainers.command import train_alone, train_from_file

    if alone is not None:
        folder, score = train_alone(config, overrides or [], run, alone)
        _tell_alone(folder, score, as_json=json)
        return

    folder = train_from_file(config, overrides or [], run)
    info = read_json(folder / "supernet.json", "supernet description")
    if json:
        emit({"run": str(folder), **{key: info[key] for key in ("fingerprint", "weights_sha256", "seed", "step")}})
    else:
        print(f"{info['space']['name']} trained for {info['step']} steps: {folder}/supernet.safetensors")


def _tell_alone(folder: Path, score: dict[str, Any], *, as_json: bool) -> None:
    if not score:
        return  # another process tells
    if as_json:
        emit({"run": str(folder), **score})
        return
    selection = score["selection"]
    print(
        f"{score['key']} trained alone for {score['steps']} steps: selection accuracy "
        f"{selection['recalibrated']['accuracy']:.2%} with recalibrated batch norm, "
        f"{selection['batch_statistics']['accuracy']:.2%} with that of each batch: {folder}/alone.json"
    )
