"""Where commands write: results to stdout (text, or one JSON object with --json), everything else to stderr."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a config value, e.g. train.epochs=2.")
]


def emit(value: dict[str, Any]) -> None:
    """Print the result of a command as one JSON object."""
    print(json.dumps(value, indent=1, allow_nan=False), flush=True)


def note(text: str) -> None:
    """A line for the person watching, on stderr."""
    print(text, file=sys.stderr, flush=True)
