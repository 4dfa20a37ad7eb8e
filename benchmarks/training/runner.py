"""Carries out cells one after the other; several runners may share one folder of results."""

from __future__ import annotations

import argparse
import fcntl
import fnmatch
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.training.cell import Cell
from benchmarks.training.setting import RESULTS, SETTINGS, WORK, Setting
from search_spaces.common.errors import Stopped, UserError


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--setting", choices=SETTINGS, default="short", help="sizes of the experiment (default short)")
    parser.add_argument("--work", type=Path, help=f"folder of the trainings (default {WORK}/SETTING)")
    parser.add_argument("--results", type=Path, help="folder of the results (default: that of the setting)")
    parser.add_argument("--only", metavar="PATTERN", help="cells whose name matches, as in 'sandwich-*'")
    parser.add_argument("--list", action="store_true", help="show the cells, what is done and what the rest costs")


def parse(parser: argparse.ArgumentParser) -> tuple[Setting, argparse.Namespace]:
    """The setting, and the options with the folders that belong to it."""
    options = parser.parse_args()
    options.work = options.work or WORK / options.setting
    options.results = options.results or RESULTS / options.setting
    return SETTINGS[options.setting], options


def wanted(options: argparse.Namespace) -> Callable[[str], bool]:
    """Whether the cell of a name is asked for."""
    return lambda name: options.only is None or fnmatch.fnmatchcase(name, options.only)


def main(cells: Iterable[Cell], options: argparse.Namespace) -> int:
    """List or carry out; returns the exit code."""
    import torch

    torch.set_num_threads(1)
    try:
        chosen: Iterator[Cell] = (cell for cell in cells if wanted(options)(cell.name))
        first = next(chosen, None)
        if first is None:
            raise UserError("no cell has such a name", key="--only", value=options.only, hint="--list shows them")
        chosen = itertools.chain((first,), chosen)
        if options.list:
            show(chosen, options.results)
            return 0
        return 0 if run(chosen, options.results, options.work) else 1
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return stopped.exit_code
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def run(cells: Iterable[Cell], results: Path, work: Path) -> bool:
    """Carry out what is not done and nobody else is at, in the order given. False if any failed.

    A runner that is stopped gives up its claim, and goes on in the middle of the training when started again.
    """
    good = True
    for cell in cells:
        if cell.is_done(results):
            continue
        with claim(results / ".locks" / f"{cell.name}.lock") as mine:
            if not mine or cell.is_done(results):
                continue
            _say(f"{cell.name}: about {cell.estimated_minutes:.1f} min")
            try:
                result = cell.carry_out(results, work)
            except UserError as error:  # a diverged training ends itself, not those of others
                _say(f"{cell.name}: {error}")
                good = False
                continue
            accuracies = [evaluation["accuracy"] for evaluation in result["evaluations"]]
            _say(f"{cell.name}: mean accuracy {100 * sum(accuracies) / len(accuracies):.2f} %")
    return good


def show(cells: Iterable[Cell], results: Path) -> None:
    left = 0.0
    for cell in cells:
        done = cell.is_done(results)
        left += 0.0 if done else cell.estimated_minutes
        state = "done" if done else f"{cell.estimated_minutes:6.1f} min"
        print(f"{cell.name:40} {cell.epochs:7.2f} epochs {cell.planned_macs / 1e12:8.2f} TMACs  {state}")
    print(f"left: {left / 60:.2f} hours of one core")


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Whether this process holds the lock `path` inside the block; the system gives it up if the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
