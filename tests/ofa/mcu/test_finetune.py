"""Training in the numbers of int8: these are the integers', it brings a network nearer to itself, and is kept if so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx

from latency_tables.cortex_m.calibration import calibrate
from latency_tables.cortex_m.lowering import lower
from latency_tables.folding import fold_batch_norm
from ofa.mcu.fake_quantization import FakeQuantized, rounded_weight
from ofa.mcu.finetune import finetune_quantized, quantize_trained
from ofa.mcu.integer import integer_predict
from ofa.mcu.quantize import QuantizationSettings, calibration_images
from trainers.data import ImageData

FINE = QuantizationSettings(finetune_epochs=4, finetune_lr=1e-3, finetune_batch_size=25)


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().square().mean())


def test_training_sees_the_numbers_that_the_integers_are(network: fx.GraphModule, data: ImageData) -> None:
    images = calibration_images(data, resolution=12, num_images=50)
    folded = fold_batch_norm(network)
    affine = calibrate(folded, images, method="mse")
    rounding, integers = FakeQuantized(folded, affine).run(images), integer_predict(lower(folded, (1, 12, 12), affine))
    assert distance(rounding, integers(images)) < 0.1 * distance(rounding, folded(images))


def test_gradients_pass_the_rounding_and_stop_at_clips() -> None:
    weight = torch.tensor([[1.0, -0.503, 0.2], [0.0, 0.0, 0.0]], requires_grad=True)
    q = rounded_weight(weight)
    assert q.tolist()[0] == pytest.approx([1.0, -64 / 127, 25 / 127]) and q.tolist()[1] == [0, 0, 0]
    q.sum().backward()
    assert weight.grad is not None and weight.grad.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_fine_tuning_brings_int8_nearer_to_the_network(network: fx.GraphModule, data: ImageData) -> None:
    """From weights that int8 holds badly: large ones in every channel besides small ones that matter."""
    coarse = fold_batch_norm(network)
    with torch.no_grad():
        coarse.get_submodule("6").weight[:, 0] *= 60
        coarse.get_submodule("3").weight[0] /= 60
        coarse.get_submodule("3").bias[0] /= 60
    selection = torch.cat([x for x, _ in data.batches("selection", resolution=12, batch_size=60)])
    images = calibration_images(data, resolution=12, num_images=50)

    def error(module: fx.GraphModule) -> float:
        affine = calibrate(module, images, method="mse")
        return distance(FakeQuantized(fold_batch_norm(module), affine).run(selection), coarse(selection))

    before = {name: tensor.clone() for name, tensor in coarse.state_dict().items()}
    tuned = finetune_quantized(coarse, data, FINE, resolution=12)
    assert error(tuned) < 0.7 * error(coarse)
    assert all(torch.equal(tensor, before[name]) for name, tensor in coarse.state_dict().items())
    again = finetune_quantized(coarse, data, FINE, resolution=12)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in tuned.state_dict().items())


def test_fine_tuning_that_does_harm_is_dropped(network: fx.GraphModule, data: ImageData) -> None:
    wild = FINE.model_copy(update={"finetune_lr": 30.0, "finetune_epochs": 0.2})
    found = quantize_trained(network, data, resolution=12, settings=wild)
    assert not found.finetuned and found.network is network and found.accuracy == found.plain_accuracy > 0.6
