"""`python -m trainers CONFIG [--set a.b=c ...] [--run-dir DIR] [--alone ARCH]`, as one process or under torchrun."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from search_spaces.common.errors import Stopped, UserError


def main(arguments: list[str] | None = None) -> int:
    """Train the supernet of a config file. Returns the exit code: 0, 2 (a mistake), 143 or 130 (asked to stop)."""
    parser = argparse.ArgumentParser(
        prog="python -m trainers", description="Train a supernet; resumes where it was stopped."
    )
    parser.add_argument("config", type=Path, help="YAML config file")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override a value of the config")
    # `--run` alone would be taken by torchrun as the start of an option of its own.
    parser.add_argument("--run-dir", "--run", type=Path, help="run folder (default: runs/NAME)")
    parser.add_argument("--alone", metavar="ARCH", help="train this one network from scratch, into RUN/alone/KEY")
    options = parser.parse_args(arguments)
    try:
        from trainers.command import train_alone, train_from_file

        if options.alone is None:
            train_from_file(options.config, options.set, options.run_dir)
        else:
            _, score = train_alone(options.config, options.set, options.run_dir, options.alone)
            if score:
                accuracy = {name: found["accuracy"] for name, found in score["selection"].items()}
                print(f"{score['key']} alone: selection accuracy {accuracy}")
    except UserError as error:
        rank = os.environ.get("RANK", "0")
        print(f"error: {error}" if rank == "0" else f"error on rank {rank}: {error}", file=sys.stderr)
        return error.exit_code
    except Stopped as stopped:
        if os.environ.get("RANK", "0") == "0":
            print(stopped, file=sys.stderr)
        return stopped.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
