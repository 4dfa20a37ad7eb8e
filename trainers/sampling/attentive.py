"""Attentive sampling: which of several subnets of one size a step trains, by their losses on a micro-batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from search_spaces.supernet import Supernet
from trainers.data.resize import resize_batch
from trainers.objective.losses import label_loss
from trainers.processes.distributed import World
from trainers.sampling.sampler import Subnet
from trainers.settings.phase import AttentiveSettings


@torch.no_grad()
def choose_attentively(
    supernet: Supernet,
    subnets: Sequence[Subnet],
    images_BCHW: Tensor,
    labels_B: Tensor,
    *,
    settings: AttentiveSettings,
    smoothing: float,
    class_weights: Tensor | None,
    autocast: torch.dtype | None,
    world: World,
) -> tuple[Subnet, ...]:
    """Every subnet that has rivals, replaced by the best or worst of them and itself by label loss on these images.

    Wang et al., AttentiveNAS (https://arxiv.org/abs/2011.09011), with the loss of the step's first micro-batch for
    their predictor. Rank 0 looks, all take its choice, so any number of processes trains the same subnets.
    """
    candidates = [[subnet.architecture, *subnet.rivals] for subnet in subnets]
    losses = torch.zeros(sum(map(len, candidates)), device=images_BCHW.device)
    if world.is_first:
        supernet.eval()  # dropout off; batch norms normalise by the batch in any case
        for module in supernet.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.train()
        number = 0
        with torch.autocast(images_BCHW.device.type, dtype=autocast, enabled=autocast is not None):
            for rivals in candidates:
                for architecture in rivals:
                    if len(rivals) > 1:
                        logits = supernet(resize_batch(images_BCHW, architecture.resolution), architecture)
                        losses[number] = label_loss(logits, labels_B, smoothing, class_weights)
                    number += 1
        supernet.train()
    world.sum_([losses])
    sign = 1 if settings.by == "best" else -1
    values, chosen, number = (sign * losses).tolist(), [], 0
    for subnet, rivals in zip(subnets, candidates, strict=True):
        own = values[number : number + len(rivals)]
        best = min(range(len(rivals)), key=own.__getitem__)
        others = tuple(rivals[:best] + rivals[best + 1 :]) if len(rivals) > 1 else ()
        chosen.append(Subnet(subnet.role, rivals[best], others))
        number += len(rivals)
    return tuple(chosen)
