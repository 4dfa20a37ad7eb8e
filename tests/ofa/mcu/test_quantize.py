"""A trained network in int8 answers as it did, and is computed in batches as it is image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import fx, nn

from ofa.mcu import integer
from ofa.mcu.integer import evaluate_program, integer_predict, quantize_images
from ofa.mcu.quantize import QuantizationSettings, calibration_images, quantize_network
from search_spaces.common.errors import UserError
from search_spaces.common.settings import parse_settings
from search_spaces.plain import trace
from trainers.data import ImageData
from trainers.evaluation.evaluate import evaluate_network

SETTINGS = QuantizationSettings()


def selection(data: ImageData):  # type: ignore[no-untyped-def]
    return data.batches("selection", resolution=12, batch_size=50)


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_int8_is_nearly_as_accurate(method: str, network: fx.GraphModule, data: ImageData) -> None:
    images = calibration_images(data, resolution=12, num_images=50)
    program = quantize_network(network, images, settings=QuantizationSettings(calibration=method))  # type: ignore[arg-type]
    plain, quantized = evaluate_network(network, selection(data)), evaluate_program(program, selection(data))
    assert plain.accuracy > 0.6 and quantized.num_images == 120
    assert abs(plain.accuracy - quantized.accuracy) < 0.05
    assert quantized.loss == pytest.approx(plain.loss, rel=0.1)


def test_logits_are_those_of_the_integers_whatever_the_batch(
    network: fx.GraphModule, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.cat([x for x, _ in selection(data)])
    program = quantize_network(network, images, settings=SETTINGS)
    affine = program.affine[program.output]
    expected = [affine.real(program.reference(q)).ravel() for q in quantize_images(program, images)]
    together = integer_predict(program)(images)
    monkeypatch.setattr(integer, "_PIECE", 7 * 288)  # seven of the largest map
    assert torch.equal(together, integer_predict(program)(images))
    assert together.dtype == torch.float32 and together.shape == (120, 3)
    np.testing.assert_array_equal(together.numpy(), np.stack(expected).astype(np.float32))


def test_both_plans_give_the_same_numbers_and_the_network_stays_as_it_is(
    network: fx.GraphModule, data: ImageData
) -> None:
    images = calibration_images(data, resolution=12, num_images=20)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    naive, overwriting = (
        quantize_network(network, images, settings=SETTINGS, plan=p) for p in ("naive", "overwriting")
    )
    x = quantize_images(naive, images)
    np.testing.assert_array_equal(naive.reference(x), overwriting.reference(x))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_images_are_taken_from_all_over_the_split(data: ImageData) -> None:
    everything = torch.cat([x for x, _ in data.batches("calibration", resolution=12, batch_size=7)])
    assert torch.equal(calibration_images(data, resolution=12, num_images=1000), everything)
    few = calibration_images(data, resolution=12, num_images=3)
    assert torch.equal(few, everything[[0, 24, 49]])


def test_as_many_images_are_used_as_asked(network: fx.GraphModule, data: ImageData) -> None:
    images = calibration_images(data, resolution=12, num_images=50)
    images[25] *= 100  # neither the first nor the last
    program = quantize_network(network, images, settings=QuantizationSettings(calibration="minmax", num_images=2))
    assert program.affine[program.input].scale * 255 < 2 * float(images[[0, 49]].abs().max())


def test_mistakes_are_told(network: fx.GraphModule) -> None:
    with pytest.raises(UserError, match="at least one image"):
        quantize_network(network, torch.empty(0, 1, 12, 12), settings=SETTINGS)
    broken = trace(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten()))
    with torch.no_grad():
        broken.get_submodule("0").weight.fill_(torch.inf)
    with pytest.raises(UserError, match="_0: this value is not finite"):
        quantize_network(broken, torch.ones(2, 1, 3, 3), settings=SETTINGS)
    with pytest.raises(UserError, match="percentile"):
        parse_settings(QuantizationSettings, {"percentile": 20})
