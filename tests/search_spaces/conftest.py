"""Every registered space at a size that a CPU takes in its stride, and supernets whose every number matters."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import fx, nn

from search_spaces import Architecture, SearchSpace, get_space, list_spaces
from search_spaces.supernet import Supernet, build_supernet

NUM_SUBNETS = 12

#: A ResNet made narrow as a whole rounds the options of its widths and expand ratios to the same few channels: its
#: stages are made narrow instead, and its stem stays as it is. Transformers have no width multiplier.
NARROWED: dict[str, dict[str, object]] = {
    "ofa_resnet50": {"widths": [64, 80, 112, 160]},
    "autoformer_tiny": {"embed": [24, 32, 48], "head_dim": 8},
    "autoformer_small": {"embed": [24, 32, 40], "head_dim": 8},
    "autoformer_base": {"embed": [24, 32, 40], "head_dim": 4},
    "mcuformer": {"resolution": [48], "patch": [8, 12, 16], "embed": [24, 32, 40], "head_dim": 8},
}


def small_space(name: str) -> SearchSpace:
    """THE RULE. Only resolutions up to 64 px count, or 16, 32, 48 and 64 px where there are none (a total stride of 32
    allows 16); widths are halved until the largest network has at most 0.6 M parameters; 10 classes, 3 channels.
    """
    settings = get_space({"name": name}).settings
    sides = [side for side in settings["resolution"] if side <= 64] or [16, 32, 48, 64]
    overrides = {"name": name, "resolution": sides, **NARROWED.get(name, {})}
    space = get_space(overrides, num_classes=10)
    while space.cost("params").maximum()[0] > 600_000:
        overrides["width_mult"] = overrides.get("width_mult", settings["width_mult"]) / 2
        space = get_space(overrides, num_classes=10)
    return space


def cut_down(space: SearchSpace, limit: int, seed: int) -> SearchSpace:
    """A sub-space of at most `limit` networks: genes in random order lose all options but one."""
    rng = np.random.default_rng(seed)
    for number in rng.permutation(space.num_genes):
        gene = space.genes[number]
        if space.size > limit:
            space = space.restrict({gene.name: [gene.options[rng.integers(len(gene.options))]]})
    return space


def part_of(space: SearchSpace, seed: int) -> SearchSpace:
    """A sub-space where every gene keeps a random choice of its options, at least one."""
    rng = np.random.default_rng(seed)
    kept = {}
    for gene in space.genes:
        keep = rng.random(len(gene.options)) < 0.6
        keep[rng.integers(len(keep))] = True
        kept[gene.name] = [option for option, kept_ in zip(gene.options, keep, strict=True) if kept_]
    return space.restrict(kept)


def brute_force(space: SearchSpace) -> set[Architecture]:
    """The networks of a space from the definition alone: every mix of options, switched-off entries put to None."""
    found = set()
    genome = space.genome
    for options in itertools.product(*(range(len(gene.options)) for gene in genome.genes)):
        value = {
            choice: values[option]
            for gene, option in zip(genome.genes, options, strict=True)
            for choice, values in gene.drives
        }
        groups: dict[str, list[object]] = {}
        for choice in genome.choices.values():
            link, on = choice, True
            while link.parent is not None:  # on only if every choice up the line calls for it
                on = on and value[link.parent] in link.active_for
                link = genome.choices[link.parent]
            groups.setdefault(choice.group, []).append(value[choice.name] if on else None)
        lists = {choice.group for choice in genome.choices.values() if choice.index is not None}
        found.add(Architecture({group: v if group in lists else v[0] for group, v in groups.items()}))
    return found


@torch.no_grad()
def shaken(supernet: Supernet, seed: int = 0) -> Supernet:
    """Every weight disturbed (so kernel transforms are no identities) and batch-norm statistics drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in supernet.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter += noise * (0.05 + 0.2 * parameter.square().mean().sqrt())
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.uniform_(0.5, 1.5, generator=generator)
    return supernet


def images(architecture: Architecture, num: int = 2, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(architecture.resolution)
    return torch.randn(num, channels, architecture.resolution, architecture.resolution, generator=generator)


def random_architectures(space: SearchSpace, num: int, seed: int = 0) -> list[Architecture]:
    """Random architectures, the smallest and the largest network among them."""
    rows = [space.smallest(), space.largest(), *space.sample(num - 2, np.random.default_rng(seed))]
    return space.decode(np.array(rows[:num]))


#: The same blocks as in a space that is left, in other numbers.
SLOW = ("autoformer_small", "autoformer_base", "mobilenet_v3_64")
SPACES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in list_spaces()]


@pytest.fixture(scope="module", params=SPACES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return small_space(request.param)


@pytest.fixture(scope="module")
def supernet(space: SearchSpace) -> Supernet:
    """In eval mode; tests leave it as it is."""
    return shaken(build_supernet(space, seed=0)).eval()


@pytest.fixture(scope="module")
def subnets(space: SearchSpace, supernet: Supernet) -> list[tuple[Architecture, fx.GraphModule]]:
    """Random architectures, the smallest and the largest among them, with their extracted networks."""
    architectures = random_architectures(space, NUM_SUBNETS)
    return [(architecture, supernet.extract(architecture)) for architecture in architectures]


@pytest.fixture(scope="session")
def digits() -> SearchSpace:
    """The smallest shipped space, for what need not be shown on all of them."""
    return small_space("mobilenet_v3_digits")


@pytest.fixture(scope="session")
def helpers() -> SimpleNamespace:
    """The functions above, for the test modules (pytest imports these without a package around them)."""
    functions = (small_space, cut_down, part_of, brute_force, shaken, images, random_architectures)
    return SimpleNamespace(**{function.__name__: function for function in functions})
