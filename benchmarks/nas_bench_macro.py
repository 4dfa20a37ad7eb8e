"""NAS-Bench-Macro as a search space: 6,561 networks of 8 layers, each trained three times on CIFAR-10.

    python -m benchmarks.nas_bench_macro      # what predictors and searches make of it, 20 seeds: a quarter of an hour

Su et al., "Prioritized architecture sampling with Monto-Carlo tree search" (CVPR 2021), xiusu/NAS-Bench-Macro.
A layer is nothing (where size or width change: a 1x1 convolution), or an inverted residual of expansion 3 and kernel 3,
or of expansion 6 and kernel 5. MACs and parameters equal the published ones of every network, which `load` checks.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search_spaces import Choice, Gene, Genome, SearchSpace, Slot
from search_spaces.operators import Classifier, Conv, MBConv
from search_spaces.space import Choices

#: (output channels, stride) of the layers
_LAYERS = ((64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1))
_STEM, _FEATURES, _SIDE, _CLASSES = 32, 1280, 32, 10
#: expansion of the published letters; a layer of expansion 0 is left out
_EXPANSIONS = (0, 3, 6)


@dataclass(frozen=True)
class Benchmark:
    space: SearchSpace
    population: npt.NDArray[np.int64]  # (6561, 8) all networks
    accuracies: npt.NDArray[np.float64]  # (6561,) in 0..1, mean of three trainings
    keys: tuple[str, ...]
    trainings: npt.NDArray[np.float64]  # (6561, 3) in 0..1, each training alone

    def unseen(self, training: int) -> npt.NDArray[np.float64]:
        """(6561,) mean of the two trainings other than this one: the truth for whoever saw only this one."""
        return np.delete(self.trainings, training, axis=1).mean(axis=1)


def data_file() -> Path:
    """Where the published results are looked for; whether they are there is for the caller to say."""
    folder = os.environ.get("OFA_BENCH_DATA") or Path(__file__).parents[2] / "shared" / "data"
    return Path(folder) / "nas_bench_macro_cifar10.json"


def load(path: Path) -> Benchmark:
    published = json.loads(path.read_text())
    space = nas_bench_macro()
    population = np.array([[int(letter) for letter in name] for name in published], dtype=np.int64)
    for metric, name in (("macs", "flops"), ("params", "params")):
        wanted = np.array([entry[name] for entry in published.values()], dtype=np.float64)
        assert np.array_equal(space.cost(metric).evaluate(population), wanted), f"{metric} differ from those published"
    return Benchmark(
        space=space,
        population=population,
        accuracies=np.array([entry["mean_acc"] for entry in published.values()]) / 100,
        keys=tuple(architecture.key for architecture in space.decode(population)),
        trainings=np.array([entry["test_acc"] for entry in published.values()]) / 100,
    )


def nas_bench_macro() -> SearchSpace:
    choices = [Choice("expand", number) for number in range(len(_LAYERS))]
    slots = [Slot("stem", (), lambda choices: Conv(3, _STEM, _SIDE, 3, 1, "relu6"))]
    channels, side = _STEM, _SIDE
    for number, (out_channels, stride) in enumerate(_LAYERS):
        reads, gene = (f"expand.{number}",), f"expand.{number}"
        if stride > 1 or channels != out_channels:
            skip = Conv(channels, out_channels, side, 1, stride, "none")
            slots.append(Slot(f"skip{number}", reads, partial(_same, skip), partial(_left_out, gene)))
        block = partial(_block, gene, channels, out_channels, side, stride)
        slots.append(Slot(f"layer{number}", reads, block, partial(_taken, gene)))
        channels, side = out_channels, side // stride
    slots.append(Slot("features", (), lambda choices: Conv(channels, _FEATURES, side, 1, 1, "relu6")))
    slots.append(Slot("classifier", (), lambda choices: Classifier(_FEATURES, _CLASSES, 1)))
    return SearchSpace(
        name="nas_bench_macro",
        family="nas_bench_macro",
        settings={},
        num_classes=_CLASSES,
        in_channels=3,
        genome=Genome(choices, [Gene.simple(choice.name, _EXPANSIONS) for choice in choices]),
        slots=slots,
    )


def macs_together(space: SearchSpace, groups: Sequence[npt.NDArray[np.int64]]) -> float:
    """MACs per image of evaluating the members of each group together: equal first operators count once."""
    total = 0.0
    for rows in groups:
        networks = [space.network(architecture) for architecture in space.decode(rows)]
        parts = {tuple(network[: end + 1]) for network in networks for end in range(len(network))}
        total += sum(float(part[-1][1].macs()) for part in parts)
    return total


def _same(operator: Conv, choices: Choices) -> Conv:
    return operator


def _left_out(gene: str, choices: Choices) -> object:
    return choices[gene] == 0


def _taken(gene: str, choices: Choices) -> object:
    return choices[gene] != 0


def _block(gene: str, in_channels: int, out_channels: int, side: int, stride: int, choices: Choices) -> MBConv:
    expand = choices[gene]
    return MBConv(
        in_channels,
        out_channels,
        side,
        mid_channels=in_channels * expand,
        kernel_size=3 + 2 * (expand // 6),
        stride=stride,
        activation="relu6",
        se_channels=0,
        expansion=True,
        residual=stride == 1 and in_channels == out_channels,
    )


def main() -> int:
    """The curves of both studies, one after the other: ranking and coverage of predictors, and what searches find."""
    from benchmarks import predictors, tabular_search

    predictors.main(["--models", "chosen,gp,ridge,costs"])
    return tabular_search.main([])


if __name__ == "__main__":
    sys.exit(main())
