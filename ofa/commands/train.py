"""`ofa train`: the supernet alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa.console import JsonFlag, SetOption, emit


def train(
    config: Annotated[Path, typer.Argument(help="A YAML config; see configs/.")],
    overrides: SetOption = None,
    run: Annotated[Path | None, typer.Option(help="The run folder; left out: runs/NAME.")] = None,
    json: JsonFlag = False,
) -> None:
    """Train the supernet of a config. An interrupted run goes on where it was, a finished one is left alone."""
    from search_spaces.common.files import read_json
    from trainers.command import train_from_file

    folder = train_from_file(config, overrides or [], run)
    info = read_json(folder / "supernet.json", "supernet description")
    if json:
        emit({"run": str(folder), **{key: info[key] for key in ("fingerprint", "weights_sha256", "seed", "step")}})
    else:
        print(f"{info['space']['name']} trained for {info['step']} steps: {folder}/supernet.safetensors")
