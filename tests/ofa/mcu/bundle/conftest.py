"""A small quantised network, and a bundle of it; tests that change a bundle change a copy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latency_tables.cortex_m.boards import Board, get_board
from latency_tables.cortex_m.calibration import calibrate
from latency_tables.cortex_m.lowering import lower
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.quantization import Bytes
from latency_tables.cortex_m.scheduling import schedule
from ofa.mcu.bundle import write_bundle
from ofa.mcu.bundle.manifest import list_files
from search_spaces import get_space
from search_spaces.common.files import file_digest
from search_spaces.plain import build_network

for package in ("unicorn", "ziglang", "elftools"):
    pytest.importorskip(package)

torch.set_num_threads(1)

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.3, 0.2)
CLASSES = ("apple", 'a "quoted" \\ name??/', "Grüße")

#: changes the description of a bundle, or a file of it whose hash is entered anew
Change = Callable[[Callable[[dict[str, Any]], None]], None]


def small_network(seed: int, *, channels: int = 3, side: int = 12) -> tuple[Program, Bytes]:
    """A network of `mobilenet_v3_digits` with weights of a seed, and 16 images as it takes them."""
    space = get_space({"name": "mobilenet_v3_digits", "resolution": [side], "depth": [1]}, 3, channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        (architecture,) = space.decode(space.sample(1, np.random.default_rng(seed)))
        network = build_network(space, architecture).eval()
        images = torch.randn(16, channels, side, side)
    program = schedule(lower(network, (channels, side, side), calibrate(network, images)))
    return program, program.affine[program.input].quantize(images.permute(0, 2, 3, 1).numpy())


@pytest.fixture(scope="session")
def network() -> tuple[Program, Bytes]:
    return small_network(0)


@pytest.fixture(scope="session")
def board() -> Board:
    return get_board("stm32f446")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, network: tuple[Program, Bytes], board: Board) -> Path:
    """Only read."""
    program, images = network
    folder = tmp_path_factory.mktemp("bundle") / "mcu"
    write_bundle(
        program,
        folder,
        board=board,
        images=images[:3],
        mean=MEAN,
        std=STD,
        names_of_classes=CLASSES,
        compilers=("zig",),
    )
    return folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "mcu")


@pytest.fixture
def rehash(bundle: Path) -> Change:
    """Change `bundle.json`; the hashes are those of the files as they are now."""

    def apply(change: Callable[[dict[str, Any]], None]) -> None:
        path = bundle / "bundle.json"
        data = json.loads(path.read_text())
        change(data)
        data["files"] = {name: file_digest(bundle / name) for name in list_files(bundle)}
        path.write_text(json.dumps(data))

    return apply
