"""Ranges of a network's values: of all images, consistent where values are the same, and fit for what follows."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from latency_tables.cortex_m.calibration import Method, calibrate
from latency_tables.cortex_m.lowering import lower
from latency_tables.cortex_m.quantization import Affine
from search_spaces.common.errors import UserError
from search_spaces.plain import trace

METHODS = cast("list[Method]", ["minmax", "percentile", "mse"])


def network(*layers: nn.Module) -> fx.GraphModule:
    return trace(nn.Sequential(*layers)).eval()


def uneven() -> fx.GraphModule:
    """Channels of very different ranges that matter alike, as batch norms make them."""
    first, second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8)
    with torch.no_grad():
        sizes = torch.logspace(-1.5, 1.5, 8)
        first.weight *= sizes[:, None, None, None]
        second.weight /= sizes[:, None, None, None]
    return network(first, nn.Hardswish(inplace=True), second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


def signal_to_noise(module: fx.GraphModule, affine: dict[str, Affine], images: Tensor) -> float:
    """Of the logits, in dB."""
    program = lower(module, tuple(images.shape[1:]), affine)
    found = program.reference(program.affine[program.input].quantize(images.permute(0, 2, 3, 1).numpy()))
    with torch.no_grad():
        logits = module(images).numpy()
    noise = program.affine[program.output].real(found).reshape(logits.shape) - logits
    return float(10 * np.log10((logits**2).sum() / (noise**2).sum()))


def test_all_images_count_whatever_the_batches() -> None:
    module, images = uneven(), torch.randn(70, 3, 8, 8)
    images[69] *= 9  # in the last of three batches
    with torch.no_grad():
        logits = module(images)
    found = calibrate(module, images)
    assert found["input_1"] == Affine.of_range(float(images.min()), float(images.max()))
    assert found["_5"].scale == pytest.approx(Affine.of_range(float(logits.min()), float(logits.max())).scale)


def test_the_network_is_left_as_it_is() -> None:
    module = uneven()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    calibrate(module, torch.randn(3, 3, 8, 8), method="mse")
    assert module.get_submodule("1").inplace
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_values_in_another_form_are_quantised_as_they_were(method: Method) -> None:
    module = network(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    found = calibrate(module, torch.randn(40, 3, 9, 9), method=method)
    assert found["_0"] == found["_1"] and found["_2"] == found["_3"] != found["_0"]


@pytest.mark.parametrize("method", METHODS)
def test_logits_are_not_clipped(method: Method) -> None:
    module, images = uneven(), torch.distributions.StudentT(2.0).sample((200, 3, 6, 6))
    with torch.no_grad():
        logits = module(images)
    last = calibrate(module, images, method=method)["_5"]
    assert last.scale * 255 >= float(logits.max() - logits.min()) * 0.999


def test_ranges_by_the_error_of_the_logits_keep_small_channels() -> None:
    module, images = uneven(), torch.randn(300, 3, 12, 12)
    by_method = {m: signal_to_noise(module, calibrate(module, images[:64], method=m), images[64:]) for m in METHODS}
    assert by_method["mse"] > by_method["minmax"] + 3, by_method
    assert by_method["mse"] > by_method["percentile"] + 1, by_method


def test_the_same_images_give_the_same_ranges() -> None:
    module, images = uneven(), torch.randn(40, 3, 8, 8)
    assert calibrate(module, images, method="mse") == calibrate(module, images, method="mse")


@pytest.mark.parametrize("method", METHODS)
def test_dead_layers_are_quantised(method: Method) -> None:
    """Outputs that the logits do not depend on, and some that are always zero."""
    dead, zero = nn.Linear(4, 4), nn.Linear(4, 3)
    with torch.no_grad():
        dead.bias.fill_(-99)
        zero.weight.zero_()
    module, x = network(dead, nn.ReLU(), zero), torch.randn(10, 4)
    program = lower(module, (4,), calibrate(module, x, method=method))
    found = program.affine[program.output].real(program.reference(np.zeros((1, 1, 4), np.int8))).ravel()
    assert found == pytest.approx(zero.bias.detach().numpy(), abs=0.01)


def test_a_value_that_is_not_finite_is_named() -> None:
    module = network(nn.Linear(3, 2), nn.Linear(2, 2))
    with torch.no_grad():
        module.get_submodule("1").bias[0] = torch.nan
    with pytest.raises(UserError, match="_1: this value is not finite on the calibration images"):
        calibrate(module, torch.randn(3, 3))


def test_no_images_are_refused() -> None:
    with pytest.raises(UserError, match="at least one image"):
        calibrate(network(nn.Linear(3, 2)), torch.empty(0, 3))
