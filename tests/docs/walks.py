"""The pages whose commands are run in order, and running them.

A walk is a page in an empty folder, or in the folder that the walk before it left: files that the page has its reader
write are written, its commands run, one after the other, as they stand. Pages that are no guides write RUN, PREDICTOR
and the like for what the reader has; `words` puts something there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.docs import given
from tests.docs.pages import ROOT, Block, blocks, commands


@dataclass(frozen=True)
class Walk:
    """What a page needs beside itself."""

    #: the page whose folder it goes on in
    after: str | None = None
    #: puts files there that its reader has from elsewhere
    given: Callable[[Path], None] | None = None
    #: placeholders of the page, and what stands for them
    words: Mapping[str, str] = field(default_factory=dict)
    #: beginnings of commands that are not run, and why, where the page's source does not say it
    not_run: Mapping[str, str] = field(default_factory=dict)


#: what pages call the reader's own things, in a folder made by `given.run_of_photos`
_PLACEHOLDERS = {
    "RUN": "runs/my_photos",
    "runs/NAME": "runs/my_photos",
    "PREDICTOR": "runs/my_photos/predictor",
    "P": "runs/my_photos/predictor",
    "ARCH": "smallest",
    "NAME": "smallest",
    "SPACE": "my_photos.yaml --num-classes 10 --in-channels 1",
    "S": "my_photos.yaml --num-classes 10 --in-channels 1 --max-other-load 1 --rounds 4 --fit-networks 4",
}


def _photos(**words: str) -> Walk:
    return Walk(given=given.run_of_photos, words={**_PLACEHOLDERS, **words})


WALKS: dict[str, Walk] = {
    "docs/guides/my_data.md": Walk(),
    "docs/guides/my_device.md": Walk(after="docs/guides/my_data.md"),
    "docs/guides/my_space.md": Walk(),
    "docs/guides/several_machines.md": Walk(),
    "docs/guides/microcontrollers.md": Walk(),
    "docs/guides/migrating.md": Walk(given=given.published_files),
    "docs/guides/training.md": Walk(given=given.run_of_photos, words={"ARCH": "fast"}),
    "docs/index.md": Walk(given=given.checkout),
    "README.md": Walk(
        given=given.everything,
        not_run={"git clone": "network", "make quickstart": "network", "make test": "hours"},
        words={"mobilenet_v3_28": "my_photos.yaml --num-classes 10 --in-channels 1"},
    ),
    "docs/cortex_m.md": _photos(mobilenet_v3_28="my_photos.yaml"),
    "docs/devices.md": _photos(),
    "docs/comparing.md": Walk(given=given.several_runs, words={"runs/quickstart": "runs/my_photos"}),
    "docs/exporting.md": _photos(),
    "docs/exporting_mobile.md": _photos(
        **(
            {}
            if find_spec("executorch")
            else {"tflite,tflite-int8,executorch,executorch-int8,ethos-u": "tflite,ethos-u"}
        )
    ),
    "docs/exporting_torch_and_onnx.md": _photos(),
    "docs/report.md": _photos(**{"runs/quickstart": "runs/my_photos", "macs=200kMACs": "macs=60%"}),
    "docs/latency_tables.md": _photos(
        **{"--device here.json --max latency=5ms --confidence": "--device phone.json --max latency=5ms --confidence"}
    ),
    "docs/litert_and_ethos_u.md": _photos(
        **{"mobilenet_v3_digits": "my_photos.yaml", "-o phone.json": "-o litert.json"}
    ),
    "docs/mcu_bundle.md": _photos(**{"RUN/exports/NAME/mcu": "runs/my_photos/exports/*/mcu"}),
    "docs/mcu_search.md": _photos(mobilenet_v3_28="my_photos.yaml"),
    "docs/ranking.md": _photos(),
    "docs/remote_devices.md": _photos(
        **{
            "mobilenet_v3_digits": "my_photos.yaml --rounds 3 --fit-networks 4",
            "bench/bin/python": "python",
            "monday.json": "results.json",
            "--import friday.json": "",
            "-o keys.csv": "-o keys.csv && python fill_in.py keys.csv",
            "SPACE --num-classes 10 --in-channels 1": "my_photos.yaml --num-classes 10 --in-channels 1",
        }
    ),
    "docs/studies.md": _photos(),
    "docs/tflm.md": _photos(),
    "docs/reference/imports.md": Walk(given=given.published_files, words={"PREDICTOR": "predictors/mobilenet_v3"}),
}


#: pages whose commands have tests of their own
RUN_ELSEWHERE = {
    "docs/library.md": "tests/ofa/library/test_page.py",
    "docs/plugins/README.md": "tests/plugins/",
    "docs/plugins/ofa_example/README.md": "tests/plugins/",
}


def reason_not_run(page: str, block: Block, command: str) -> str | None:
    """Why a command of a page is not run; None: it is."""
    told = WALKS[page].not_run if page in WALKS else {}
    return block.not_run or next((why for start, why in told.items() if command.startswith(start)), None)


def walk(page: str, folder: Path) -> list[str]:
    """Run a page's commands in `folder`; what each printed. An exit code that the page does not tell is an error."""
    printed = []
    for block in blocks(ROOT / page):
        if block.title is not None:
            (folder / block.title).write_text(block.text)
        for command in commands(block):
            if reason_not_run(page, block, command.text) is None:
                text = substituted(command.text, WALKS[page].words)
                printed.append(shell(text, folder, exit_code=block.exit_code, where=command.where))
    return printed


def substituted(text: str, words: Mapping[str, str]) -> str:
    """A command with whole words of it replaced."""
    if not words:
        return text
    longest_first = sorted(words, key=len, reverse=True)
    pattern = rf"(?<![\w./-])({'|'.join(map(re.escape, longest_first))})(?![\w.-])"
    return re.sub(pattern, lambda found: words[found[0]], text)


def shell(text: str, folder: Path, *, exit_code: int = 0, where: str = "") -> str:
    """What a command line prints. Raises AssertionError, with all it told, where it ends with another exit code."""
    environment = {**os.environ, "PATH": f"{_programs(folder)}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", text], cwd=folder, env=environment, capture_output=True, text=True, timeout=3600
    )
    assert done.returncode == exit_code, f"{where}: {text}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _programs(folder: Path) -> Path:
    """A folder with `ofa`, `torchrun` and `python` of this environment, whether or not it is active."""
    programs = folder / ".programs"
    programs.mkdir(exist_ok=True)
    for name, module in (("ofa", "-m ofa"), ("torchrun", "-m torch.distributed.run"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (programs / name).chmod(0o755)
    return programs
