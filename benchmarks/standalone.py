"""Networks trained alone: the truth that subnets of a supernet are held against.

    python -m benchmarks.standalone            # 12 networks of 1 to 8 M MACs, twice each
    python -m benchmarks.standalone --list     # what is done, and what the rest costs

Each is trained from scratch by the same trainer, with the same data and hyper-parameters, for as many epochs as the
largest subnet of the reference supernet sees. Goes on where it was stopped; several may run side by side. The data are
found through the variable OFA_BENCH_DATA (default: `../shared/data` beside the checkout).
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.training import runner
from benchmarks.training.architectures import alone_architectures, only
from benchmarks.training.cell import Cell
from benchmarks.training.setting import CIFAR10, Setting


def alone_cells(setting: Setting) -> list[Cell]:
    """Seed by seed, and within a seed the ends first."""
    architectures = alone_architectures(setting, setting.build_space())
    ends_first = [architectures[0], architectures[-1], *architectures[1:-1]]
    phase = {"name": "alone", "epochs": setting.epochs, "sampling": "largest"}
    return [
        Cell(
            kind="alone",
            label=architecture.key,
            seed=seed,
            setting=setting,
            space={**setting.space, "restrict": only(architecture)},
            train={**setting.train, "phases": [phase]},
            evaluated=(architecture,),
        )
        for seed in setting.alone_seeds
        for architecture in ends_first
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.standalone", description=__doc__.splitlines()[0])
    runner.add_options(parser)
    return runner.main(lambda: alone_cells(CIFAR10), parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
