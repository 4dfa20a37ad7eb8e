"""`ofa finetune`: one network of a run trained on alone."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ofa.console import JsonFlag, SetOption, emit


class Distill(StrEnum):
    """What the network learns from beside the labels."""

    largest = "largest"
    none = "none"


def finetune(
    run: Annotated[Path, typer.Argument(help="A run folder with a trained supernet.")],
    architecture: Annotated[
        str,
        typer.Argument(
            metavar="ARCH",
            help="An architecture as JSON, a key or budget on the run's file, largest or smallest.",
        ),
    ],
    epochs: Annotated[
        float | None,
        typer.Option(help="Left out: the config's export.finetune_epochs, or a tenth of the supernet's epochs."),
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Left out: the config's export.finetune_lr.")] = None,
    distill: Annotated[Distill, typer.Option(help="A teacher: the largest subnet, or none.")] = Distill.largest,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Its folder; left out: RUN/finetuned/KEY.")
    ] = None,
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Train a subnet on alone, distilled from the largest subnet, and say what it gained.

    An interrupted fine-tuning goes on where it was, a finished one is left alone. Several processes:
    torchrun --nproc-per-node=N -m ofa finetune RUN ARCH. Then: ofa export RUN ARCH --finetuned.
    """
    from ofa.config import load_run_config
    from ofa.export.finetune import FOLDER, FinetuneSettings, finetune_config, score_finetuned, train_finetuned
    from ofa.export.session import ExportSession
    from trainers.architectures import find_architecture
    from trainers.command import is_first
    from trainers.data import keep_loaded

    config = load_run_config(run)
    changes: dict[str, Any] = {"distill": distill.value}
    if lr is not None:
        changes["lr"] = lr
    if epochs is not None or not config.export.finetune_epochs:
        changes["epochs"] = config.train.total_epochs / 10 if epochs is None else epochs
    settings = FinetuneSettings.of(config.export, **changes)
    session = ExportSession(run, config, quiet=json)
    with keep_loaded():
        chosen = find_architecture(architecture, session.space, run)
        folder = output or run / FOLDER / chosen.key
        training = finetune_config(session, chosen, settings, overrides or [])
        train_finetuned(training, folder)
        if not is_first():
            return
        facts = score_finetuned(session, chosen, training, folder)
    if json:
        emit({"folder": str(folder), **facts})
        return
    verdict = "kept" if facts["kept"] else "not kept: the network of the supernet is better"
    print(
        f"{facts['key']}: selection accuracy {facts['before']:.2%} before, {facts['after']:.2%} after "
        f"{facts['epochs']:g} epochs ({facts['macs']:.3g} MACs), {verdict}: {folder}"
    )
