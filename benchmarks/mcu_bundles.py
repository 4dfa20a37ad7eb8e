"""Random networks as bundles of C on an emulated board: outputs, and how good predictions are (docs/mcu_bundle.md).

python -m benchmarks.mcu_bundles [--networks 20] [--images 10] [--board stm32h743] [--compiler zig] [--seed 0]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from latency_tables.cortex_m.boards import Board, get_board
from latency_tables.cortex_m.calibration import calibrate
from latency_tables.cortex_m.lowering import lower
from latency_tables.cortex_m.scheduling import schedule
from ofa.mcu.bundle import write_bundle
from ofa.mcu.verify import Verification, verify_bundle
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.plain import build_network

#: name -> space, classes, channels
FAMILIES = {
    "mobilenet_v3_digits": ({"name": "mobilenet_v3_digits"}, 10, 1),
    "vit_nano": ({"name": "vit_nano", "attention": ["softmax"], "keep": [1], "selects": [], "patch": [8]}, 10, 3),
}


@dataclass(frozen=True)
class Proved:
    """One network's bundle, verified."""

    key: str
    macs: int
    found: Verification

    def off(self, claim: str) -> float:
        """How far a prediction is from what was found, as a share."""
        (held,) = (each for each in self.found.claims if each.name == claim)
        return abs(held.found / held.predicted - 1)


def prove(
    family: str, *, num: int, num_images: int, board: Board, compiler: str = "zig", seed: int = 0
) -> Iterator[Proved]:
    """`num` random networks of a family with random weights, calibrated on random images, each on its board."""
    settings, classes, channels = FAMILIES[family]
    space = get_space(settings, classes, channels)
    rng = np.random.default_rng(seed)
    for architecture in space.decode(space.sample(num, rng)):
        yield _prove(space, architecture, rng, num_images=num_images, board=board, compiler=compiler)


def _prove(
    space: SearchSpace,
    architecture: Architecture,
    rng: np.random.Generator,
    *,
    num_images: int,
    board: Board,
    compiler: str,
) -> Proved:
    side = architecture.resolution
    shape = (space.in_channels, side, side)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        network = build_network(space, architecture).eval()
        images = torch.randn(32, *shape)
        program = schedule(lower(network, shape, calibrate(network, images)))
    x = program.affine[program.input].quantize(images[:num_images].permute(0, 2, 3, 1).numpy())
    with tempfile.TemporaryDirectory(prefix="ofa-mcu-bundles-") as name:
        folder = Path(name) / "mcu"
        facts = {"mean": [0.5] * space.in_channels, "std": [0.25] * space.in_channels}
        manifest = write_bundle(program, folder, board=board, images=x, compilers=(compiler,), **facts)
        return Proved(architecture.key, manifest.macs, verify_bundle(folder, compiler=compiler))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--board", default="stm32h743")
    parser.add_argument("--compiler", default="zig")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    torch.set_num_threads(1)
    for family in FAMILIES:
        all_of_it = []
        for proved in prove(
            family,
            num=words.networks,
            num_images=words.images,
            board=get_board(words.board),
            compiler=words.compiler,
            seed=words.seed,
        ):
            found = proved.found
            all_of_it.append(proved)
            print(
                f"{family} {proved.key}: {proved.macs / 1e6:.2f} M MACs, {found.num_golden - len(found.wrong)} of "
                f"{found.num_golden} images bit for bit, arena {found.arena_bytes:,} B, stack {found.stack_bytes} B, "
                f"flash {found.flash_bytes:,} B, {found.instructions:,} instructions, "
                f"{'holds' if found.holds else 'DOES NOT HOLD'}",
                flush=True,
            )
        wrong = sum(len(proved.found.wrong) for proved in all_of_it)
        images = sum(proved.found.num_golden for proved in all_of_it)
        most = {claim: max(proved.off(claim) for proved in all_of_it) for claim in ("arena", "flash", "instructions")}
        print(
            f"{family}: {len(all_of_it)} networks, {wrong} of {images} outputs wrong; predictions off by at most "
            + ", ".join(f"{claim} {share:.5%}" for claim, share in most.items())
        )


if __name__ == "__main__":
    main()
