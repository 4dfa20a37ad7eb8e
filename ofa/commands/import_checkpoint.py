"""`ofa import checkpoint`: a published supernet, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ofa.console import JsonFlag, SetOption, emit, note
from search_spaces.common.errors import UserError


def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="A published supernet, FILE.pth; with --reverse a run or folder.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The folder to make; with --reverse the file.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Make it the finished training of this config, for `ofa run` to go on with.")
    ] = None,
    overrides: SetOption = None,
    runs: Annotated[Path, typer.Option(help="With --config: the folder that run folders are made in.")] = Path("runs"),
    space: Annotated[
        str | None, typer.Option(help="A space's name, or a config file; left out: told by the tensors.")
    ] = None,
    width_mult: Annotated[
        float | None, typer.Option(min=0.001, help="The width multiplier; left out: told by the shapes.")
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Write a supernet of ours as a published file.")] = False,
    json: JsonFlag = False,
) -> None:
    """Import a published once-for-all supernet: every tensor of it finds its place, or nothing is written."""
    if (output is None) == (config is None):
        raise UserError("give either a place to write to, or the config whose training it is", key="-o/--config")
    if config is None and overrides:
        raise UserError("overrides a config: give one with --config", key="--set")
    if (config is not None or reverse) and (space is not None or width_mult is not None):
        told_by = "the supernet's own folder" if reverse else "the config"
        raise UserError(f"is told by {told_by}", key="--space/--width-mult")
    if reverse:
        if output is None:
            raise UserError("name the file to write", key="-o", hint="ofa import checkpoint RUN --reverse -o FILE.pth")
        facts = _reverse(file, output)
    elif config is not None:
        facts = _into_run(file, config, overrides or [], runs)
    else:
        assert output is not None
        facts = _into_folder(file, output, space, width_mult)
    if json:
        emit(facts)
        return
    for text in facts.get("notes", []):
        note(text)
    print(f"{facts['space']}: {facts['num_tensors']} tensors, {facts['num_classes']} classes, in {facts['output']}")


def _into_folder(file: Path, folder: Path, space: str | None, width_mult: float | None) -> dict[str, Any]:
    from ofa.imports.checkpoint import read_supernet, write_folder
    from ofa.imports.spaces import space_settings

    published = read_supernet(file, settings=space_settings(space), width_mult=width_mult)
    write_folder(folder, published, data={}, info={})
    return _facts(published, folder)


def _into_run(file: Path, config_file: Path, overrides: list[str], runs: Path) -> dict[str, Any]:
    import yaml

    from ofa.imports.checkpoint import read_for_run, write_folder
    from ofa.pipeline import lock_run
    from search_spaces.common.errors import in_file
    from search_spaces.common.files import write_text
    from trainers.settings.train import load_training_config, read_config

    config = load_training_config(config_file, overrides)
    run = runs / config.name
    with in_file(config_file):
        published, described = read_for_run(file, config, run)
    with lock_run(run):
        write_folder(run, published, **described)
        write_text(run / "config.yaml", yaml.safe_dump(read_config(config_file, overrides), sort_keys=False))
    return {**_facts(published, run), "next": f"ofa run {config_file}"}


def _reverse(folder: Path, file: Path) -> dict[str, Any]:
    from ofa.imports.checkpoint import export_supernet
    from search_spaces.common.files import file_digest

    space, num_tensors = export_supernet(folder, file)
    return {
        "output": str(file),
        "space": space.name,
        "num_classes": space.num_classes,
        "num_tensors": num_tensors,
        "sha256": file_digest(file),
    }


def _facts(published: Any, folder: Path) -> dict[str, Any]:
    from ofa.imports.spaces import title

    space = published.space
    return {
        "output": str(folder),
        "space": title(space),
        "description": space.description,
        "fingerprint": space.fingerprint,
        "num_classes": space.num_classes,
        "num_tensors": len(published.tensors),
        "weights_sha256": published.weights_sha256,
        "source": published.source,
        "notes": list(published.notes),
    }
