"""One training step of the peer: the loop body of its progressive shrinking, around its own networks and losses.

Written anew, because the original wants Horovod, CUDA and ImageNet. Left out: reading data, accuracy metrics, logs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from ofa.imagenet_classification.networks import MobileNetV3Large
from ofa.utils import (
    build_optimizer,
    cross_entropy_loss_with_soft_target,
    cross_entropy_with_label_smoothing,
    init_models,
)

from benchmarks.peer.clock import timed
from benchmarks.peer.inputs import training_batch
from benchmarks.peer.theirs.networks import Subnet, activate, supernet


class Training:
    """SGD with Nesterov momentum 0.9, weight decay 3e-5 but not on BN and biases, teacher in train mode."""

    def __init__(self, *, resolution: int, batch: int) -> None:
        self.images, self.labels = training_batch(batch, resolution)
        self.network = supernet().train()
        self.teacher = MobileNetV3Large(
            n_classes=1000, bn_param=(0.1, 1e-5), dropout_rate=0, width_mult=1.0, ks=7, expand_ratio=6, depth_param=4
        )
        init_models(self.teacher, "he_fout")
        keys = ["bn", "bias"]
        parameters = [self.network.get_parameters(keys, mode=mode) for mode in ("exclude", "include")]
        self.optimizer = build_optimizer(parameters, "sgd", {"momentum": 0.9, "nesterov": True}, 7.5e-3, 3e-5, keys)

    def step(self, subnets: Sequence[Subnet]) -> dict[str, float]:
        """One update from the gradients of all `subnets`."""
        seconds, losses = timed(lambda: self._step(subnets))
        return {"seconds": seconds, "loss": float(sum(losses)) / len(losses)}

    def _step(self, subnets: Sequence[Subnet]) -> list[torch.Tensor]:
        self.teacher.train()
        with torch.no_grad():
            soft_labels = F.softmax(self.teacher(self.images), dim=1)
        self.network.zero_grad()
        losses = []
        for subnet in subnets:
            activate(self.network, subnet)
            logits = self.network(self.images)
            loss = cross_entropy_loss_with_soft_target(logits, soft_labels)
            loss = loss + cross_entropy_with_label_smoothing(logits, self.labels, 0.1)
            losses.append(loss.detach())
            loss.backward()
        self.optimizer.step()
        return losses


load = Training
