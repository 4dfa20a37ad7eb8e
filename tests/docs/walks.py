"""The pages whose commands are run in order, and running them.

A walk is a page in an empty folder, or in the folder that the walk before it left: files that the page has its reader
write are written, its commands run, one after the other, as they stand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.docs import given
from tests.docs.pages import ROOT, blocks, commands


@dataclass(frozen=True)
class Walk:
    """What a page needs before its first command."""

    #: the page whose folder it goes on in
    after: str | None = None
    #: puts files there that its reader has from elsewhere
    given: Callable[[Path], None] | None = None
    #: settings that make its configs small, for a walk of seconds
    small: Mapping[str, Any] = field(default_factory=dict)


WALKS: dict[str, Walk] = {
    "docs/guides/my_data.md": Walk(),
    "docs/guides/my_device.md": Walk(after="docs/guides/my_data.md"),
    "docs/guides/my_space.md": Walk(),
    "docs/guides/several_machines.md": Walk(),
    "docs/guides/microcontrollers.md": Walk(),
    "docs/guides/migrating.md": Walk(given=given.published_files),
    "docs/index.md": Walk(given=given.configs),
}


def walk(page: str, folder: Path) -> list[str]:
    """Run a page's commands in `folder`; what each printed. An exit code that the page does not tell is an error."""
    printed = []
    environment = {**os.environ, "PATH": f"{_programs(folder)}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for block in blocks(ROOT / page):
        if block.title is not None:
            (folder / block.title).write_text(block.text)
        if block.not_run is not None:
            continue
        for command in commands(block):
            done = subprocess.run(
                ["bash", "-c", command.text], cwd=folder, env=environment, capture_output=True, text=True, timeout=3600
            )
            told = f"{command.where}: {command.text}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"
            assert done.returncode == block.exit_code, told
            printed.append(done.stdout)
    return printed


def _programs(folder: Path) -> Path:
    """A folder with `ofa`, `torchrun` and `python` of this environment, whether or not it is active."""
    programs = folder / ".programs"
    programs.mkdir(exist_ok=True)
    for name, module in (("ofa", "-m ofa"), ("torchrun", "-m torch.distributed.run"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (programs / name).chmod(0o755)
    return programs
