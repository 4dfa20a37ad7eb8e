"""What converters are given: the network, and images of the splits that they may see."""

from __future__ import annotations

import torch

from ofa.export.calibration import calibration_images
from ofa.export.catalog import WantedForms
from ofa.export.forms.base import Deployment, Source
from ofa.export.forms.registry import get_form
from ofa.export.job import ExportJob
from ofa.export.settings import ExportSettings
from search_spaces.common.errors import UserError

#: images whose outputs come with the form for microcontrollers
_NUM_GOLDEN = 8


def export_source(job: ExportJob, settings: ExportSettings, wanted: WantedForms) -> Source:
    """What the forms that are `wanted` need to be written."""
    network = job.network.eval()
    calibration, deployment = _calibration(job, settings, wanted), _deployment(job, settings, wanted)
    return Source(network, job.input_shape, calibration, deployment, settings.npu)


def real_images(job: ExportJob, num: int) -> torch.Tensor:
    """The first `num` images of the selection split (all, if it has fewer)."""
    images = []
    for batch, _ in job.data.batches("selection", resolution=job.architecture.resolution, batch_size=num):
        images.append(batch)
        break
    return torch.cat(images)


def _calibration(job: ExportJob, settings: ExportSettings, wanted: WantedForms) -> torch.Tensor | None:
    """What forms in integers are calibrated on, if there are any."""
    if all(_is_exact(name) for name in wanted.forms):
        return None
    side, num = job.architecture.resolution, settings.num_calibration_images
    return calibration_images(job.data, resolution=side, num=num)


def _deployment(job: ExportJob, settings: ExportSettings, wanted: WantedForms) -> Deployment | None:
    """What the form for microcontrollers takes, if it is wanted."""
    if "mcu" not in wanted.forms:
        return None
    return Deployment(
        board=settings.board,
        golden=real_images(job, _NUM_GOLDEN)[:_NUM_GOLDEN],
        mean=job.data.mean,
        std=job.data.std,
        class_names=job.data.class_names,
        quantization=job.quantization.model_copy(update={"num_images": settings.num_calibration_images}),
        facts={"key": job.architecture.key, "architecture": job.architecture.to_json(), "space": job.space.description},
    )


def _is_exact(name: str) -> bool:
    """Of a form that cannot be had here too, which fails later, by itself."""
    try:
        return get_form(name).exact
    except UserError:
        return True
