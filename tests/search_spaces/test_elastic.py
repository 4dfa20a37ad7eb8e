"""Elastic layers and blocks: kernel transforms, slices, order of channels; copies, shapes, and networks on their
own.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from search_spaces import Architecture
from search_spaces.elastic.layers import ElasticBatchNorm2d, ElasticConv2d, ElasticDepthwiseConv2d
from search_spaces.plain import clone_network
from search_spaces.supernet import build_supernet


@pytest.fixture(scope="module")
def trained(digits, helpers):
    return helpers.shaken(build_supernet(digits, seed=0)).eval()


def uniform(space, **values) -> Architecture:
    """The deepest, widest network at the largest resolution, with one value for a whole group."""
    largest = space.decode(space.largest())[0]
    groups = {g: tuple(values.get(g, v) for v in vs) for g, vs in largest.values.items() if isinstance(vs, tuple)}
    return Architecture({**largest.values, **groups})


def test_a_small_kernel_starts_as_the_centre_of_the_large_one():
    layer = ElasticDepthwiseConv2d(8, [3, 7, 5], stride=1)
    for size in (3, 5, 7):
        edge = (7 - size) // 2
        centre = layer.weight[:6, :, edge : 7 - edge, edge : 7 - edge]
        assert torch.equal(layer.weight_for(6, size), centre)


def test_kernel_transforms_are_matrices_on_the_centre():
    layer = ElasticDepthwiseConv2d(4, [3, 5, 7], stride=1)
    with torch.no_grad():
        layer.transform_7to5.normal_()
        layer.transform_5to3.normal_()
    five = torch.einsum("ij,cj->ci", layer.transform_7to5, layer.weight[:, 0, 1:6, 1:6].reshape(4, 25))
    assert torch.allclose(layer.weight_for(4, 5).reshape(4, 25), five, atol=1e-5)
    three = torch.einsum("ij,cj->ci", layer.transform_5to3, five.view(4, 5, 5)[:, 1:4, 1:4].reshape(4, 9))
    assert torch.allclose(layer.weight_for(4, 3).reshape(4, 9), three, atol=1e-5)


def test_kernels_without_five():
    layer = ElasticDepthwiseConv2d(4, [3, 7], stride=2)
    assert torch.equal(layer.weight_for(4, 3), layer.weight[:, :, 2:5, 2:5])
    assert [name for name, _ in layer.named_parameters()] == ["weight", "transform_7to3"]


@pytest.mark.parametrize(("kernel", "used"), [(7, set()), (5, {"7to5"}), (3, {"7to5", "5to3"})])
def test_gradients_reach_the_transforms_in_use(digits, helpers, kernel, used):
    supernet = build_supernet(digits, seed=0)
    architecture = uniform(digits, kernel=kernel)
    supernet(helpers.images(architecture), architecture).sum().backward()
    reached = {
        name.rpartition("transform_")[2]
        for name, parameter in supernet.named_parameters()
        if "transform" in name and parameter.grad is not None and parameter.grad.any()
    }
    assert reached == used


def test_at_full_width_the_layers_are_those_of_torch():
    torch.manual_seed(0)
    x = torch.randn(2, 6, 9, 9)
    for elastic, plain, arguments in (
        (ElasticConv2d(6, 8, 3, 2, 1), torch.nn.Conv2d(6, 8, 3, 2, 1), (8,)),
        (
            ElasticDepthwiseConv2d(6, [5], 2),
            torch.nn.Conv2d(6, 6, 5, 2, 2, groups=6, bias=False),
            (5,),
        ),
        (ElasticBatchNorm2d(6), torch.nn.BatchNorm2d(6), ()),
    ):
        plain.load_state_dict(elastic.state_dict())
        assert torch.equal(elastic(x, *arguments), plain(x))


def test_batch_norm_of_a_narrow_subnet_moves_only_its_own_statistics():
    norm = ElasticBatchNorm2d(6)
    norm(torch.randn(8, 4, 3, 3) + 5)
    assert norm.running_mean is not None
    assert (norm.running_mean[:4] > 0.3).all()
    assert not norm.running_mean[4:].any()


def test_channels_are_sorted_by_the_weights_that_read_them(trained):
    model = copy.deepcopy(trained)
    model.sort_channels()
    for name, block in model.slots.items():
        if not name.startswith("stage"):
            continue
        importance = block.project_conv.weight.abs().sum((0, 2, 3))
        assert (importance.diff() <= 1e-4).all(), name
        if block.excites:
            assert (block.se.expand.weight.abs().sum((0, 2, 3)).diff() <= 1e-4).all(), name


def test_sorting_knows_a_space_rebuilt_from_its_description(digits, trained, helpers):
    part = digits.restrict(expand=[4, 6])
    again = type(part).from_description(json.loads(json.dumps(part.description)))
    first, second = copy.deepcopy(trained), copy.deepcopy(trained)
    first.sort_channels(part)
    second.sort_channels(again)
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())


def test_supernets_can_be_copied_after_use(digits, trained, helpers):
    architecture = uniform(digits, kernel=5)
    x = helpers.images(architecture)
    with torch.no_grad():
        expected = trained(x, architecture)
        assert torch.equal(copy.deepcopy(trained)(x, architecture), expected)
    assert copy.deepcopy(architecture) == architecture


def test_no_hidden_state(digits, trained, helpers):
    """The same call gives the same output whatever ran in between."""
    first, *others = helpers.random_architectures(digits, 5)
    x = helpers.images(first)
    with torch.no_grad():
        before = trained(x, first)
        for other in others:
            trained(helpers.images(other), other)
        assert torch.equal(trained(x, first), before)


def test_images_of_another_size_are_refused(digits, trained):
    architecture = uniform(digits)
    with pytest.raises(AssertionError, match="28 px"):
        trained(torch.zeros(1, 3, 24, 24), architecture)


def test_clones_are_independent(digits, trained):
    network = trained.extract(uniform(digits))
    clone = clone_network(network)
    with torch.no_grad():
        next(clone.parameters()).zero_()
    assert next(network.parameters()).any()


ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"search_spaces", "latency_tables", "trainers", "predictors", "ofa"}:
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Refuse())
import numpy, torch

program = torch.export.load(sys.argv[1]).module()
x, expected = (numpy.load(path) for path in sys.argv[2:])
out = program(torch.from_numpy(x)).detach().numpy()
assert abs(out - expected).max() <= 1e-5, abs(out - expected).max()
"""


@pytest.mark.slow
def test_an_exported_network_runs_without_this_project(digits, trained, helpers, tmp_path):
    architecture = helpers.random_architectures(digits, 2)[0]
    network = trained.extract(architecture)
    x = helpers.images(architecture)
    with torch.no_grad():
        torch.export.save(torch.export.export(network, (x,)), tmp_path / "model.pt2")
        np.save(tmp_path / "expected.npy", network(x).numpy())
    np.save(tmp_path / "x.npy", x.numpy())
    command = [sys.executable, "-I", "-c", ALONE, "model.pt2", "x.npy", "expected.npy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
