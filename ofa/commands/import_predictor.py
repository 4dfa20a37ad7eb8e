"""`ofa import predictor`: a published accuracy predictor, ready to search with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofa.console import JsonFlag, emit

if TYPE_CHECKING:
    from predictors.base import Predictor


def import_predictor(
    file: Annotated[Path, typer.Argument(help="The .pth file of a published accuracy predictor.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The predictor folder to make.")],
    space: Annotated[
        str | None, typer.Option(help="Its space: ofa_mobilenet_v3, ... Left out: the one its inputs fit.")
    ] = None,
    width_mult: Annotated[
        float | None, typer.Option("--width-mult", help="Width of its network. MobileNetV3: 1.2 if left out.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="Order of its inputs: tutorial or library. Left out: by the names of the tensors."),
    ] = None,
    resolutions: Annotated[
        str | None, typer.Option(help="Image sizes of its inputs, in order: 160,176,... Left out: the published ones.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Where the file comes from; kept with the predictor.")] = None,
    licence: Annotated[str | None, typer.Option(help="The file's licence; kept with the predictor.")] = None,
    json: JsonFlag = False,
) -> None:
    """Turn the weights of a published accuracy predictor (a multi-layer perceptron) into a predictor folder.

    Search with it: ofa search --accuracy FOLDER --device samsung_note10 --max latency=25ms. It was not fitted here, so
    nothing is known of its error: no grade, no interval.
    """
    from predictors.published import import_predictor as read_published
    from predictors.storage import write_predictor

    _check_free(output)
    sizes = None if resolutions is None else _sizes(resolutions)
    predictor = read_published(
        file, space=space, width_mult=width_mult, layout=layout, resolutions=sizes, source=source, licence=licence
    )
    write_predictor(predictor, output)
    facts = summary(predictor)
    if json:
        emit({"predictor": str(output), **facts})
    else:
        _print(output, facts)


def summary(predictor: Predictor) -> dict[str, Any]:
    """What an imported predictor is of, and what it says of the ends of its space, in 0..1."""
    from dataclasses import asdict

    import numpy as np

    from search_spaces import SearchSpace

    assert predictor.published is not None
    space = SearchSpace.from_description(predictor.space_description)
    ends = predictor.predict(space, np.stack([space.smallest(), space.largest()])).mean
    return {
        "model": predictor.name,
        "num_features": predictor.num_features,
        "space": predictor.space_description,
        "resolutions": space.genome.option_values("resolution").tolist(),
        "published": asdict(predictor.published),
        "predicted_accuracy": {"smallest": float(ends[0]), "largest": float(ends[1])},
    }


def _check_free(folder: Path) -> None:
    """Nothing is replaced: the folder takes the place of what is there."""
    from search_spaces.common.errors import UserError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError("is there already", file=folder, key="--output", hint="Name a new folder, or delete this one")


def _sizes(text: str) -> list[int]:
    from search_spaces.common.errors import UserError

    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        hint = "Write like --resolutions 160,176,192"
        raise UserError("must be image sizes", key="--resolutions", value=text, hint=hint) from None


def _print(folder: Path, facts: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    width = facts["space"]["settings"].get("width_mult")
    of = facts["space"]["name"] + ("" if width is None else f", width {width:g}")
    console.print(f"{folder}: accuracy predictor of {of}, resolution {', '.join(map(str, facts['resolutions']))}")
    ends = facts["predicted_accuracy"]
    console.print(f"  smallest network {ends['smallest']:.2%}, largest {ends['largest']:.2%}")
    console.print(f"  {facts['published']['note']}: no grade, and no interval is known")
