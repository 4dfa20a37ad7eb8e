"""A vision transformer of MCUFormer's size as int8 kernels on a Cortex-M, by memory plan (docs/mcu_transformers.md).

python -m benchmarks.mcu_transformer [--core cortex-m4] [--compiler gcc] [--whole]
python -m benchmarks.mcu_transformer --board stm32f746

`--whole` emulates the dense network from end to end under both plans, on one random image: some minutes. `--board`:
nothing but bundles of a network of low rank for that board, under both plans: refused, or run within its memories.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from latency_tables.cortex_m.arena import Segment
from latency_tables.cortex_m.arena import plan as lay_out
from latency_tables.cortex_m.boards import get_board
from latency_tables.cortex_m.calibration import calibrate
from latency_tables.cortex_m.compilers import build_firmware
from latency_tables.cortex_m.cores import get_core
from latency_tables.cortex_m.counting import Counter
from latency_tables.cortex_m.emulator import emulate
from latency_tables.cortex_m.footprint import flash
from latency_tables.cortex_m.lowering import lower
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.scheduling import schedule
from ofa.mcu.bundle import write_bundle
from ofa.mcu.verify import verify_bundle
from search_spaces import get_space
from search_spaces.common.errors import UserError
from search_spaces.plain import build_network


@dataclass(frozen=True)
class Sizes:
    """Ranks as shares of the dense weights of attention and of MLPs."""

    attention_rank: float
    mlp_rank: float
    num_classes: int
    attention: str = "softmax"


DENSE = "dense, 1000 classes"
LOW_RANK = "ranks 12 and 12, 10 classes"
NETWORKS = {
    DENSE: Sizes(1, 1, 1000),
    LOW_RANK: Sizes(0.125, 0.08, 10),
    "ranks 8 and 12, 10 classes": Sizes(0.085, 0.08, 10),
    "ranks 4 and 8, 1000 classes": Sizes(0.042, 0.053, 1000),
    "ranks 8 and 12, 10 classes, linear attention": Sizes(0.085, 0.08, 10, "linear"),
}

SIDE = 240


@dataclass(frozen=True)
class Network:
    """As lowered, with weights and ranges of random numbers; and the peaks by formula of its space, by plan."""

    program: Program
    formula: dict[str, int]


def network(sizes: Sizes) -> Network:
    """12 blocks of 192 features with 3 heads, an MLP of 4 times the width, patches of 16 in an image of 240 pixels."""
    fixed = {"resolution": [SIDE], "patch": [16], "embed": [192], "depth": [12], "heads": [3], "mlp": [4]}
    ranks = {"attention_rank": [sizes.attention_rank], "mlp_rank": [sizes.mlp_rank]}
    settings = {"name": "mcuformer", **fixed, **ranks, "attention": [sizes.attention]}
    space = get_space(settings, num_classes=sizes.num_classes)
    (architecture,) = space.decode(space.smallest()[None])
    torch.manual_seed(0)
    module = build_network(space, architecture).eval()
    program = lower(module, (3, SIDE, SIDE), calibrate(module, torch.randn(2, 3, SIDE, SIDE)))
    row = space.encode([architecture])
    plans = ("naive", "overwriting")
    return Network(program, {p: int(space.cost("peak_memory", "int8", plan=p).evaluate(row)[0]) for p in plans})


def by_plan(program: Program) -> dict[str, Program]:
    """`integrated` is what is lowered: attention is one kernel, blocks are not."""
    return {
        "naive": schedule(program, plan="naive"),
        "integrated": program,
        "overwriting": schedule(program, plan="overwriting"),
    }


def _is_block(program: Program, part: Segment) -> bool:
    """Of attention or an MLP: behind the embedding, which begins with the image."""
    return program.calls[part.first].inputs[0] != program.input


def print_table(networks: dict[str, Network], counter: Counter) -> None:
    titles = [
        "network",
        "plan",
        "peak, bytes",
        "largest block",
        "by formula",
        "flash, bytes",
        "M instructions",
        "naive = 1",
    ]
    print(f"| {' | '.join(titles)} |\n" + "|---" * len(titles) + "|")
    for name, found in networks.items():
        programs = by_plan(found.program)
        naive = counter.total(programs["naive"])
        for title, program in programs.items():
            layout, total = lay_out(program), counter.total(program)
            block = max(part.num_bytes for part in layout.segments if _is_block(program, part))
            numbers = [layout.num_bytes, block, found.formula.get(title, 0), flash(program)]
            words = [f"{number:,}" if number else "" for number in numbers]
            print(f"| {name} | {title} | {' | '.join(words)} | {total / 1e6:.1f} | {total / naive:.4f} |", flush=True)


def print_whole_runs(program: Program, counter: Counter) -> None:
    x = np.random.default_rng(0).integers(-128, 128, program.shapes[program.input]).astype(np.int8)
    expected = program.reference(x)
    for title in ("naive", "overwriting"):
        scheduled = schedule(program, plan=title)
        done = emulate(scheduled, counter.firmware, x)
        same = bool((done.output == expected).all())
        predicted = counter.around + counter.total(scheduled)
        print(f"{title}: {done.instructions:,} instructions, {predicted:,} by sum; output as computed by numpy: {same}")


def print_board(program: Program, name: str) -> None:
    """One random image; what it must give is computed under the naive plan."""
    board = get_board(name)
    images = np.random.default_rng(0).integers(-128, 128, (1, *program.shapes[program.input])).astype(np.int8)
    outputs = schedule(program, plan="naive").reference(images)
    for title in ("naive", "overwriting"):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "mcu"
            options = {"board": board, "images": images, "outputs": outputs, "compilers": ("zig",), "count": False}
            try:
                write_bundle(schedule(program, plan=title), place, **options)
            except UserError as error:
                print(f"{title}: refused: {error}", flush=True)
                continue
            found = verify_bundle(place)
            print(
                f"{title}: {found.num_golden - len(found.wrong)} of {found.num_golden} images bit for bit, "
                f"arena {found.arena_bytes:,} B, stack {found.stack_bytes:,} B, flash {found.flash_bytes:,} of "
                f"{found.flash_size:,} B, {found.instructions:,} instructions, holds: {found.holds}"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--core", default="cortex-m7")
    parser.add_argument("--compiler", default="zig")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--board")
    arguments = parser.parse_args()
    if arguments.board is not None:
        print_board(network(NETWORKS[LOW_RANK]).program, arguments.board)
        return
    firmware = build_firmware(get_core(arguments.core), arguments.compiler)
    counter = Counter(firmware)
    code = sum(len(data) for _, data in firmware.segments)
    print(f"{arguments.core}, {firmware.provenance['compiler']}: {code:,} bytes of code\n")
    networks = {name: network(sizes) for name, sizes in NETWORKS.items()}
    print_table(networks, counter)
    if arguments.whole:
        print()
        print_whole_runs(networks[DENSE].program, counter)


if __name__ == "__main__":
    main()
