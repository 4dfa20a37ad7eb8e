"""Fast gradients of prefix and depthwise convolutions are those of torch in float64, wherever they are added."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from search_spaces.elastic.functional import (
    depthwise_conv2d,
    gradients_in_place,
    prefix_conv2d,
    prefix_linear,
    prefix_squeeze_excite,
)
from search_spaces.elastic.functional.pointwise_norm import prefix_conv_norm
from search_spaces.elastic.layers import ElasticBatchNorm2d, ElasticConv2d


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape).contiguous(memory_format=torch.channels_last)


def assert_near(found: torch.Tensor | None, wanted: torch.Tensor | None) -> None:
    assert found is not None and wanted is not None
    assert found.shape == wanted.shape
    assert (found.double() - wanted.double()).abs().max() <= 1e-5 * wanted.abs().max().clamp(min=1)


@given(
    side=st.integers(1, 12),
    kernel=st.sampled_from([3, 5, 7, 9]),
    stride=st.sampled_from([1, 2, 3]),
    channels=st.sampled_from([1, 8, 17]),
    channels_last=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_depthwise_gradients(side: int, kernel: int, stride: int, channels: int, channels_last: bool) -> None:
    torch.manual_seed(side * 100 + kernel)
    x = images(2, channels, side, side) if channels_last else torch.randn(2, channels, side, side)
    weight = torch.randn(channels, 1, kernel, kernel)
    results = []
    for dtype in (torch.float32, torch.float64):
        x_leaf, w_leaf = (t.to(dtype).detach().requires_grad_() for t in (x, weight))
        if dtype == torch.float32:
            y = depthwise_conv2d(x_leaf, w_leaf, (stride, stride))
        else:
            y = F.conv2d(x_leaf, w_leaf, None, stride, kernel // 2, groups=channels)
        (y * torch.arange(y.numel()).view_as(y).remainder(7)).sum().backward()
        results.append((y.detach(), x_leaf.grad, w_leaf.grad))
    for found, wanted in zip(*results, strict=True):
        assert_near(found, wanted)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2)])
@pytest.mark.parametrize("bias", [False, True])
def test_prefix_gradients(kernel: int, stride: int, channels_last: bool, in_place: bool, bias: bool) -> None:
    """Summed over two uses of different widths, as over the subnets of a step."""
    torch.manual_seed(0)
    weight = torch.randn(12, 10, kernel, kernel)
    shift = torch.randn(12) if bias else None
    uses = [(torch.randn(3, c, 6, 6), out) for c, out in ((10, 7), (4, 12))]
    results = []
    for dtype in (torch.float32, torch.float64):
        w_leaf = weight.detach().clone().to(dtype).requires_grad_()
        b_leaf = None if shift is None else shift.detach().clone().to(dtype).requires_grad_()
        grads, outputs = [], []
        for x, out in uses:
            fmt = torch.channels_last if channels_last else torch.contiguous_format
            x_leaf = x.detach().clone().to(dtype).contiguous(memory_format=fmt).requires_grad_()
            if dtype == torch.float64:
                part = None if b_leaf is None else b_leaf[:out]
                y = F.conv2d(x_leaf, w_leaf[:out, : x.shape[1]], part, stride, kernel // 2)
            elif in_place:
                with gradients_in_place():
                    y = prefix_conv2d(x_leaf, w_leaf, b_leaf, out, (stride, stride), (kernel // 2, kernel // 2))
            else:
                y = prefix_conv2d(x_leaf, w_leaf, b_leaf, out, (stride, stride), (kernel // 2, kernel // 2))
            y.square().sum().backward()
            outputs.append(y.detach())
            grads.append(x_leaf.grad)
        results.append([*outputs, *grads, w_leaf.grad, *([] if b_leaf is None else [b_leaf.grad])])
    for found, wanted in zip(*results, strict=True):
        assert_near(found, wanted)


def test_in_place_is_asked_for() -> None:
    """Without the context `torch.autograd.grad` sees the weight, and `.grad` stays as it was."""
    weight = torch.randn(4, 3, 1, 1, requires_grad=True)
    y = prefix_conv2d(images(2, 3, 5, 5), weight, None, 2, (1, 1), (0, 0))
    (gradient,) = torch.autograd.grad(y.sum(), weight)
    assert weight.grad is None and gradient.shape == weight.shape
    assert gradient[:2].abs().min() > 0 and gradient[2:].abs().max() == 0


def test_in_place_leaves_unused_weights_without_gradient() -> None:
    """An optimiser then leaves them alone: no decay, no momentum."""
    used, unused = (torch.randn(4, 3, 1, 1, requires_grad=True) for _ in range(2))
    with gradients_in_place():
        y = prefix_conv2d(images(2, 3, 5, 5), used, None, 2, (1, 1), (0, 0))
    y.sum().backward()
    assert used.grad is not None and unused.grad is None


@pytest.mark.parametrize("side", [5, 40])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_batch_norm_gradients(channels_last: bool, in_place: bool, side: int) -> None:
    """Of a prefix of the channels, in train mode; running statistics move as torch moves them."""
    torch.manual_seed(0)
    layers = [ElasticBatchNorm2d(9), nn.BatchNorm2d(6).double()]
    with torch.no_grad():
        layers[0].weight.uniform_(0.5, 2)
        layers[0].bias.normal_()
        layers[1].weight.copy_(layers[0].weight[:6])
        layers[1].bias.copy_(layers[0].bias[:6])
    x = images(4, 6, side, side) if channels_last else torch.randn(4, 6, side, side)
    results = []
    for layer in layers:
        x_leaf = x.to(layer.weight.dtype).detach().requires_grad_()
        with gradients_in_place() if in_place else nullcontext():
            y = layer(x_leaf)
        (y * torch.arange(y.numel()).view_as(y).remainder(5)).sum().backward()
        assert layer.weight.grad is not None and layer.bias.grad is not None
        learned = layer.weight.grad[:6], layer.bias.grad[:6]
        results.append((y.detach(), x_leaf.grad, *learned, layer.running_mean[:6], layer.running_var[:6]))
    for found, wanted in zip(*results, strict=True):
        assert_near(found, wanted)
    assert layers[0].weight.grad is not None and layers[0].weight.grad[6:].abs().max() == 0


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("mean", [0.0, 30.0])
@pytest.mark.parametrize(("channels", "widened"), [(3, 10), (6, 12), (2, 3)])
def test_convolution_and_norm_in_one(channels: int, widened: int, mean: float, in_place: bool) -> None:
    """Many pixels, few channels: a prefix of both, in train mode, also far from zero; statistics move as torch's do."""
    torch.manual_seed(channels)
    conv, norm = ElasticConv2d(6, 12, 1, bias=False), ElasticBatchNorm2d(12)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    x = images(8, channels, 9, 8) + mean
    plain = nn.Sequential(nn.Conv2d(channels, widened, 1, bias=False), nn.BatchNorm2d(widened)).double()
    plain.load_state_dict(
        {
            "0.weight": conv.weight[:widened, :channels],
            "1.num_batches_tracked": norm.num_batches_tracked,
            **{
                f"1.{name}": getattr(norm, name)[:widened] for name in ("weight", "bias", "running_mean", "running_var")
            },
        }
    )
    worth = torch.arange(8 * widened * 72).remainder(5).view(8, widened, 9, 8)
    x_leaf = x.detach().clone().requires_grad_()
    with gradients_in_place() if in_place else nullcontext():
        z = prefix_conv_norm(x_leaf, conv, norm, widened)
    assert z.grad_fn is not None and z.grad_fn.name() == "_PointwiseNormBackward"
    (z.relu() * worth).sum().backward()
    wanted_leaf = x.double().detach().requires_grad_()
    wanted = plain(wanted_leaf)
    (wanted.relu() * worth).sum().backward()
    assert conv.weight.grad is not None and norm.weight.grad is not None and norm.bias.grad is not None
    found = (z, conv.weight.grad[:widened, :channels], norm.weight.grad[:widened], norm.bias.grad[:widened])
    found = (*found, norm.running_mean[:widened], norm.running_var[:widened])
    expected = (wanted, plain[0].weight.grad, plain[1].weight.grad, plain[1].bias.grad)
    expected = (*expected, plain[1].running_mean, plain[1].running_var)
    tolerance = 1e-5 * max(1.0, mean)
    for one, other in zip(found, expected, strict=True):
        assert (one.double() - other).abs().max() <= tolerance * other.abs().max().clamp(min=1)
    assert x_leaf.grad is not None and wanted_leaf.grad is not None
    assert (x_leaf.grad - wanted_leaf.grad).abs().max() <= tolerance * wanted_leaf.grad.abs().max().clamp(min=1)
    assert conv.weight.grad[widened:].abs().sum() == 0 and conv.weight.grad[:, channels:].abs().sum() == 0


@pytest.mark.parametrize("change", ["eval", "few pixels", "narrowing", "bias", "stride", "NCHW", "no grad"])
def test_one_after_the_other_where_it_is_no_gain_or_not_possible(change: str) -> None:
    options = {"bias": change == "bias", "stride": 2 if change == "stride" else 1}
    conv, norm = ElasticConv2d(4, 2 if change == "narrowing" else 9, 1, **options), ElasticBatchNorm2d(9)
    norm.train(change != "eval")
    x = images(2 if change == "few pixels" else 9, 4, 8, 8)
    x = x.contiguous() if change == "NCHW" else x
    with torch.no_grad() if change == "no grad" else nullcontext():
        z = prefix_conv_norm(x, conv, norm, conv.out_channels)
        wanted = norm(conv(x, conv.out_channels))
    assert z.grad_fn is None or z.grad_fn.name() != "_PointwiseNormBackward"
    assert torch.equal(z, wanted)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_linear_gradients(bias: bool, in_place: bool) -> None:
    """Summed over two uses of different widths."""
    torch.manual_seed(0)
    full = nn.Linear(7, 5, bias=bias)
    reference = nn.Linear(7, 5, bias=bias).double()
    reference.load_state_dict(full.state_dict())
    for wide, out in ((7, 5), (4, 3)):
        leaves = [torch.randn(6, wide, generator=torch.Generator().manual_seed(wide)) for _ in range(2)]
        x, x_wanted = leaves[0].requires_grad_(), leaves[1].double().requires_grad_()
        with gradients_in_place() if in_place else nullcontext():
            y = prefix_linear(x, full.weight, full.bias, out)
        part = None if reference.bias is None else reference.bias[:out]
        wanted = F.linear(x_wanted, reference.weight[:out, :wide], part)
        y.square().sum().backward()
        wanted.square().sum().backward()
        assert_near(y, wanted)
        assert_near(x.grad, x_wanted.grad)
    for found, expected in zip(full.parameters(), reference.parameters(), strict=True):
        assert_near(found.grad, expected.grad)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_squeeze_excite_gradients(channels_last: bool, in_place: bool) -> None:
    """Against its parts one after the other, with gates of both flat ends and of the slope between."""
    torch.manual_seed(0)
    reduce, expand = nn.Conv2d(9, 5, 1), nn.Conv2d(5, 9, 1)
    with torch.no_grad():
        expand.weight.mul_(60)
    exact = nn.ModuleList([nn.Conv2d(9, 5, 1), nn.Conv2d(5, 9, 1)]).double()
    exact.load_state_dict({**reduce.state_dict(prefix="0."), **expand.state_dict(prefix="1.")})
    gates = []
    for channels, squeezed in ((9, 5), (6, 3)):
        x = images(4, channels, 5, 5) if channels_last else torch.randn(4, channels, 5, 5)
        leaf, exact_leaf = x.detach().clone().requires_grad_(), x.double().requires_grad_()
        with gradients_in_place() if in_place else nullcontext():
            y = prefix_squeeze_excite(leaf, reduce, expand, squeezed)
        middle = F.conv2d(
            exact_leaf.mean((2, 3), keepdim=True), exact[0].weight[:squeezed, :channels], exact[0].bias[:squeezed]
        )
        gate = F.hardsigmoid(F.conv2d(middle.relu(), exact[1].weight[:channels, :squeezed], exact[1].bias[:channels]))
        gates.append(gate.flatten())
        wanted = exact_leaf * gate
        worth = torch.arange(y.numel()).remainder(7).view_as(y)
        (y * worth).sum().backward()
        (wanted * worth).sum().backward()
        assert_near(y, wanted)
        assert_near(leaf.grad, exact_leaf.grad)
        with torch.no_grad():
            assert_near(prefix_squeeze_excite(x, reduce, expand, squeezed), wanted)
    kinds = torch.cat(gates)
    assert bool((kinds == 0).any() and (kinds == 1).any() and ((kinds > 0) & (kinds < 1)).any())
    for found, expected in zip([*reduce.parameters(), *expand.parameters()], exact.parameters(), strict=True):
        assert_near(found.grad, expected.grad)
