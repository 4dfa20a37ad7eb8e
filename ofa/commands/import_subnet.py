"""`ofa import subnet`: a published specialised network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa.console import JsonFlag, emit


def import_subnet(
    file: Annotated[Path, typer.Argument(help="A net.config, or an architecture {ks, e, d} as JSON.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to make.")],
    run_config: Annotated[Path | None, typer.Option(help="Its run.config, which says the resolution.")] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="The resolution, where no file says it.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Its weights, a state dict (the published file `init`).")] = None,
    space: Annotated[str | None, typer.Option(help="A space's name, or a config file; left out: told by FILE.")] = None,
    width_mult: Annotated[
        float | None, typer.Option(min=0.001, help="The width multiplier; left out: told by the channels.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Import a published specialised network: its architecture for `ofa export`, its costs, and its weights if given.

    Every field of a net.config is compared with the network of the space that it should be.
    """
    from ofa.imports.spaces import space_settings, title
    from ofa.imports.subnet import read_subnet, write_subnet

    subnet = read_subnet(
        file,
        run_config=run_config,
        resolution=resolution,
        weights=weights,
        settings=space_settings(space),
        width_mult=width_mult,
    )
    facts = write_subnet(output, subnet)
    if json:
        emit({"output": str(output), **facts})
        return
    from search_spaces.common.units import format_quantity

    macs, params = format_quantity(facts["macs"], "macs"), format_quantity(facts["params"], "params")
    print(
        f"{facts['key']} of {title(subnet.space)}: {facts['resolution']} px, {macs}, {params} parameters, in {output}"
    )
