"""What memory and instructions a convolutional network takes on a Cortex-M under each schedule (docs/cortex_m.md).

python -m benchmarks.mcu_memory [--space ofa_proxyless_nas] [--width 0.35] [--resolution 176] [--core cortex-m7]

The network is the largest of the space at that width, with half the features before the classifier: in the class of
MCUNet's for 320 KB (J. Lin et al., MCUNet: tiny deep learning on IoT devices, NeurIPS 2020).
"""

from __future__ import annotations

import argparse

from latency_tables.cortex_m.arena import Segment, plan
from latency_tables.cortex_m.calls import Depthwise, InPlaceDepthwise
from latency_tables.cortex_m.compilers import build_firmware
from latency_tables.cortex_m.cores import get_core
from latency_tables.cortex_m.counting import Counter, network_program
from latency_tables.cortex_m.footprint import flash
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.scheduling import schedule
from latency_tables.cortex_m.scheduling.inverted_residual import fuse_inverted_residuals
from latency_tables.cortex_m.scheduling.overwriting import overwrite_inputs
from search_spaces import get_space

#: operators that are listed by what they need
NUM_LISTED = 5


def network(name: str, width: float, resolution: int) -> Program:
    """As it is, no schedule."""
    settings = {"width_mult": width, "resolution": [resolution], "feature_channels": 640}
    space = get_space({"name": name, **settings}, num_classes=1000, in_channels=3)
    (architecture,) = space.decode(space.largest()[None])
    return network_program(space, architecture, plan="naive")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--space", default="ofa_proxyless_nas")
    parser.add_argument("--width", type=float, default=0.35)
    parser.add_argument("--resolution", type=int, default=176)
    parser.add_argument("--core", default="cortex-m7")
    parser.add_argument("--compiler", default="zig")
    arguments = parser.parse_args()
    naive = network(arguments.space, arguments.width, arguments.resolution)
    counter = Counter(build_firmware(get_core(arguments.core), arguments.compiler))
    schedules = {
        "naive": naive,
        "depthwise convolutions in place": overwrite_inputs(naive, {Depthwise: (InPlaceDepthwise,)}),
        "all convolutions over their inputs": overwrite_inputs(naive),
        "inverted residuals row by row": fuse_inverted_residuals(naive),
        "both: `overwriting`": schedule(naive),
    }
    print(f"{naive.macs / 1e6:.1f} M MACs, {flash(naive) / 1e3:.0f} kB of flash\n")
    print(f"| schedule | SRAM, KiB | million instructions, {arguments.core} | set by |\n|---|---|---|---|")
    for title, program in schedules.items():
        layout = plan(program)
        instructions = counter.total(program) / 1e6
        print(f"| {title} | {layout.num_bytes / 1024:.1f} | {instructions:.1f} | {_segment(program, layout.peak)} |")
    for title, program in schedules.items():
        print(f"\n{title}:")
        for segment in sorted(plan(program).segments, key=lambda part: -part.num_bytes)[:NUM_LISTED]:
            print(f"  {segment.num_bytes / 1024:7.1f} KiB  {_segment(program, segment)}")


def _segment(program: Program, segment: Segment) -> str:
    """Its calls, the map it begins with and those that they write."""
    calls = program.calls[segment.first : segment.last + 1]
    maps = [calls[0].inputs[0], *(call.output for call in calls)]
    sizes = ", ".join(" x ".join(map(str, program.shapes[name])) for name in maps)
    return f"{', '.join(type(call).__name__ for call in calls)} ({sizes})"


if __name__ == "__main__":
    main()
