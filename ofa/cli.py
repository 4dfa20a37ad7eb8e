"""The `ofa` command. Each command lives in `ofa/commands/NAME.py` and imports its heavy parts when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from typing import Annotated

import typer

from ofa.console import emit
from search_spaces.common.errors import Infeasible, Stopped, UserError

#: in the order of the workflow, which is the order of `ofa --help`
COMMANDS = (
    "run",
    "spaces",
    "train",
    "measure",
    "validate",
    "adapt",
    "tables",
    "latency",
    "records",
    "fit",
    "rank",
    "search",
    "finetune",
    "export",
    "verify_mcu",
    "report",
)

#: `ofa import NAME`: what can be brought from elsewhere, published once-for-all networks first of all
IMPORTS: tuple[str, ...] = ("checkpoint", "subnet", "table", "costs", "predictor")


def build_app() -> typer.Typer:
    app = typer.Typer(
        name="ofa",
        help="Train one elastic network, once; get a specialised network for every device and budget.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name in COMMANDS:
        app.command(name.replace("_", "-"))(getattr(import_module(f"ofa.commands.{name}"), name))
    imports = typer.Typer(
        help="Bring what you have from elsewhere: published once-for-all networks, tables, numbers.",
        no_args_is_help=True,
    )
    for name in IMPORTS:
        imports.command(name)(getattr(import_module(f"ofa.commands.import_{name}"), f"import_{name}"))
    if IMPORTS:
        app.add_typer(imports, name="import")
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            print(f"ofa-nas {metadata.version('ofa-nas')}")
        except metadata.PackageNotFoundError:
            print("ofa-nas (not installed: run from its sources)")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None: ...


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 2 the user's mistake, 3 no feasible network, 143 (or 130) stopped."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        build_app()(args=words, prog_name="ofa")
    except UserError as error:
        if "--json" in words:
            details = error.details if isinstance(error, Infeasible) else {}
            emit({"error": str(error), "exit_code": error.exit_code, **details})
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Stopped as stopped:
        if "--json" in words:
            emit({"stopped": str(stopped), "exit_code": stopped.exit_code})
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)
    except BrokenPipeError:  # `ofa ... | head`: whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
