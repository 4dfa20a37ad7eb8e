"""`ofa.supernet`, `ofa.evaluate`, `ofa.specialize`: the weights of all networks, and those of one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import fx

from ofa.library.batches import Batches, images_of, labelled
from search_spaces import Architecture, SearchSpace
from search_spaces.supernet import Supernet, build_supernet
from trainers.checkpoints.store import load_supernet as load_trained
from trainers.evaluation.evaluate import evaluate_network
from trainers.evaluation.recalibration import recalibrate


def supernet(space: SearchSpace, *, seed: int = 0) -> Supernet:
    """An elastic network of fresh weights that holds those of every network of `space`: a `torch.nn.Module`.

    `supernet(x, architecture)` gives the logits (B, num_classes) of one of them; `x` (B, C, R, R) must have its
    resolution (`ofa.resize`). Equal seeds give equal weights, whatever torch's global generator does.
    """
    return build_supernet(space, seed=seed)


def load_supernet(run: Path | str) -> Supernet:
    """The trained supernet of a run folder (`ofa run`, `ofa train`), in evaluation mode on the CPU; `.space` is its
    space. Raises `UserError` for a folder that has none.
    """
    return load_trained(Path(run)).supernet


def specialize(supernet: Supernet, architecture: Architecture, *, calibration: Batches) -> fx.GraphModule:
    """One network cut out of the supernet: torch.nn layers only, evaluation mode, needing nothing of this project.

    Its batch-norm statistics are those of all images of `calibration` (labels are not looked at), which should be
    training images, without augmentation; a few hundred do. They are held in memory meanwhile.
    """
    device = next(supernet.parameters()).device
    images = images_of(calibration, supernet.space, architecture.resolution, device, key="calibration")
    return _specialized(supernet, architecture, images)


def evaluate(supernet: Supernet, architecture: Architecture, *, calibration: Batches, selection: Batches) -> float:
    """Top-1 accuracy in 0..1 of one network on the images of `selection`, with statistics of its own (`specialize`).

    Choose networks by it, and keep other images for the last judgement: what was chosen on is no test. Images of
    another size than the architecture's are resized.
    """
    device, space, side = next(supernet.parameters()).device, supernet.space, architecture.resolution
    network = _specialized(supernet, architecture, images_of(calibration, space, side, device, key="calibration"))
    network.to(memory_format=torch.channels_last)  # faster on CPUs
    return evaluate_network(network, labelled(selection, space, side, device, key="selection")).accuracy


def _specialized(supernet: Supernet, architecture: Architecture, images: list[torch.Tensor]) -> fx.GraphModule:
    network = supernet.extract(architecture).eval().to(memory_format=torch.channels_last)
    return recalibrate(network, images).to(memory_format=torch.contiguous_format)
