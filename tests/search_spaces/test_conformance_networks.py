"""The other half of the conformance suite: supernets and extracted networks of every registered space, and costs
against torch's own counters.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import fx, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.operators import Operator
from search_spaces.plain import build_network, build_operator
from search_spaces.supernet import Supernet, build_supernet


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def close(output: torch.Tensor, expected: torch.Tensor, tolerance: float) -> bool:
    """Equal to `tolerance`, relative where outputs are large (random statistics let residual networks grow)."""
    return bool((output - expected).abs().max() <= tolerance * max(1.0, float(expected.abs().max())))


# -- the extracted network is the active one ---------------------------------------------------------------------------


@torch.no_grad()
def test_extracted_output_equals_active_output(supernet, subnets, helpers):
    spread = []
    for architecture, network in subnets:
        x = helpers.images(architecture)
        active = supernet(x, architecture)
        assert close(network(x), active, 1e-5)
        spread.append(active.std())
    assert min(spread) > 1e-3  # the comparison is between numbers that say something


@pytest.mark.slow
@torch.no_grad()
def test_many_extracted_networks(space, supernet, helpers):
    """Outputs and both exact counts, of fifty others."""
    architectures = helpers.random_architectures(space, 52, seed=7)[2:]
    macs, params = [], []
    for architecture in architectures:
        network, x = supernet.extract(architecture), helpers.images(architecture)
        assert close(network(x), supernet(x, architecture), 1e-5)
        with counting() as counter:
            network(x[:1])
        macs.append(counter.get_total_flops() / 2)
        params.append(sum(parameter.numel() for parameter in network.parameters()))
    rows = space.encode(architectures)
    assert space.cost("macs").evaluate(rows).tolist() == macs
    assert space.cost("params").evaluate(rows).tolist() == params


def test_extracted_network_trains_like_the_active_one(space, supernet, helpers):
    """Train mode: batch statistics, running statistics after the step, and gradients, in double precision."""
    for architecture in helpers.random_architectures(space, 3, seed=1):
        active = copy.deepcopy(supernet).double().train()
        network = active.extract(architecture)
        x = helpers.images(architecture, num=4).double()
        outputs = []
        for model, arguments in ((active, (x, architecture)), (network, (x,))):
            torch.manual_seed(0)  # the same dropout
            outputs.append(model(*arguments))
            outputs[-1].square().sum().backward()
        assert torch.allclose(*outputs, rtol=0, atol=1e-9)
        for name, buffer in network.named_buffers():
            if "running" in name:
                assert torch.allclose(active.slots.get_buffer(name)[: len(buffer)], buffer, atol=1e-12)
        compare_gradients(active, network, space.network(architecture))


def compare_gradients(active: Supernet, network: fx.GraphModule, operators: Sequence[tuple[str, Operator]]) -> None:
    """Gradients are those of the extracted network, sent back through what makes its weights from the supernet's; they
    reach nothing else.
    """
    plain = dict(network.named_parameters())
    reached = [name for name, parameter in active.slots.named_parameters() if parameter.grad is not None]
    found = {name: active.slots.get_parameter(name).grad.clone() for name in reached}
    active.zero_grad()
    total = torch.zeros((), dtype=torch.float64)
    for slot, op in operators:
        for name, tensor in active.slots[slot].slices(op):
            if (parameter := plain.get(f"{slot}.{name}")) is not None and tensor.requires_grad:
                assert parameter.grad.any(), f"{slot}.{name} gets no gradient"
                total = total + (tensor * parameter.grad).sum()
    total.backward()
    for name, parameter in active.slots.named_parameters():
        zero = torch.zeros_like(parameter)
        expected = zero if parameter.grad is None else parameter.grad
        assert torch.allclose(found.get(name, zero), expected, rtol=1e-6, atol=1e-9), name


def test_largest_network_is_an_ordinary_module(space, supernet, subnets, helpers):
    """Its extracted state loads into the supernet by name; only what smaller networks need besides is missing."""
    architecture, network = subnets[1]
    assert architecture == space.decode(space.largest())[0]
    other = build_supernet(space, seed=5).eval()
    missing, unexpected = other.slots.load_state_dict(network.state_dict(), strict=False)
    assert not unexpected
    assert all(any(part in name for part in ("transform", ".mix.")) for name in missing)
    x = helpers.images(architecture)
    with torch.no_grad():
        assert close(other(x, architecture), supernet(x, architecture), 1e-6)


def test_extracted_networks_hold_torch_modules_only(subnets):
    for _, network in subnets:
        for module in network.modules():
            assert type(module).__module__.startswith("torch.")
        called = {node.target.__module__ for node in network.graph.nodes if node.op == "call_function"}
        assert called <= {"_operator", "operator", "torch", "torch._C._nn"}


def test_extracting_copies(space, helpers):
    architecture = helpers.random_architectures(space, 2)[0]
    supernet = build_supernet(space, seed=0)
    network = supernet.extract(architecture)
    before = copy.deepcopy(supernet.state_dict())
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())
    assert network.training
    assert not supernet.eval().extract(architecture).training


def test_extracting_with_shared_weights(space, helpers):
    """Equal to a copy, and to the active subnet after the weights have changed; no network changes another."""
    supernet = build_supernet(space, seed=0).eval()
    first, second = helpers.random_architectures(space, 2)
    shared = supernet.extract(first, share=True)
    x = torch.randn(2, space.in_channels, first.resolution, first.resolution)
    with torch.no_grad():
        assert torch.equal(shared(x), supernet.extract(first)(x))
        supernet.extract(second, share=True)
        for parameter in supernet.parameters():
            parameter.mul_(1.5)
        for name, buffer in supernet.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.1)
        again = supernet.extract(first, share=True)
        torch.testing.assert_close(again(x), supernet(x, first), rtol=1e-4, atol=1e-5)
    assert not again.training
    assert supernet.train().extract(first, share=True).training


def test_changing_the_graph_of_one_network_leaves_others_alone(space, helpers):
    architecture = helpers.random_architectures(space, 2)[0]
    supernet = build_supernet(space, seed=0).eval()
    changed, kept = supernet.extract(architecture), supernet.extract(architecture)
    output = next(node for node in changed.graph.nodes if node.op == "output")
    with changed.graph.inserting_before(output):
        doubled = changed.graph.call_function(operator.mul, (output.args[0], 2))
    output.args = (doubled,)
    changed.recompile()
    x = torch.randn(2, space.in_channels, architecture.resolution, architecture.resolution)
    with torch.no_grad():
        expected = kept(x)
        assert torch.equal(changed(x), 2 * expected)
        assert torch.equal(copy.deepcopy(changed)(x), 2 * expected)
        assert torch.equal(supernet.extract(architecture)(x), expected)


def test_seeded_weights_leave_the_global_generator_alone(space):
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    first = build_supernet(space, seed=3).state_dict()
    assert torch.equal(state, torch.random.get_rng_state())
    torch.rand(5)
    second = build_supernet(space, seed=3).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    third = build_supernet(space, seed=4).state_dict()
    assert not all(torch.equal(first[name], third[name]) for name in first)


# -- channel sorting ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_sorting_channels_leaves_the_largest_network_unchanged(space, supernet, helpers):
    model = copy.deepcopy(supernet).double()
    smallest, largest = space.decode(np.array([space.smallest(), space.largest()]))
    x, small_x = helpers.images(largest).double(), helpers.images(smallest).double()
    before, small_before = model(x, largest), model(small_x, smallest)
    model.sort_channels()
    assert close(model(x, largest), before, 1e-9)
    assert not torch.allclose(model(small_x, smallest), small_before, rtol=0, atol=1e-3)
    state = copy.deepcopy(model.state_dict())
    model.sort_channels()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), f"{name}: sorting what is sorted changes it"


@torch.no_grad()
def test_sorting_channels_keeps_what_is_trained(space, supernet, helpers):
    for seed in range(2):
        trained = helpers.part_of(space, seed)
        model = copy.deepcopy(supernet).double()
        architectures = [
            *trained.decode(trained.sample(5, np.random.default_rng(seed))),
            *space.decode(space.largest()),
        ]
        inputs = [helpers.images(architecture).double() for architecture in architectures]
        before = [model(x, architecture) for x, architecture in zip(inputs, architectures, strict=True)]
        state = copy.deepcopy(model.state_dict())
        model.sort_channels(trained)
        assert any(not torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
        for x, architecture, expected in zip(inputs, architectures, before, strict=True):
            assert close(model(x, architecture), expected, 1e-9)


# -- costs against the extracted network -------------------------------------------------------------------------------


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Counts operations. Attention runs as two products, which torch counts, not as one kernel, which it does not."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        yield counter


def test_macs_equal_the_flop_counter(space, subnets, helpers):
    counted = []
    for architecture, network in subnets[::2]:
        with counting() as counter:
            network(helpers.images(architecture, num=1))
        counted.append(counter.get_total_flops() / 2)
    assert space.cost("macs").evaluate(space.encode([a for a, _ in subnets[::2]])).tolist() == counted


def test_params_equal_the_parameter_count(space, subnets):
    counted = [sum(parameter.numel() for parameter in network.parameters()) for _, network in subnets]
    assert space.cost("params").evaluate(space.encode([a for a, _ in subnets])).tolist() == counted


@pytest.fixture(scope="module")
def folded(subnets):
    """The extracted networks as deployed: batch norm folded into the convolution before it."""
    return [(architecture, fold(network)) for architecture, network in subnets[::2]]


def fold(network: fx.GraphModule) -> fx.GraphModule:
    network = fx.GraphModule(network, copy.deepcopy(network.graph))  # a tree of its own over the same layers
    modules = dict(network.named_modules())
    for node in list(network.graph.nodes):
        if node.op == "call_module" and isinstance(modules[node.target], nn.BatchNorm2d):
            convolution = node.args[0]
            assert len(convolution.users) == 1
            fused = fuse_conv_bn_eval(modules[convolution.target], modules[node.target])
            network.set_submodule(convolution.target, fused)
            node.replace_all_uses_with(convolution)
            network.graph.erase_node(node)
    network.recompile()
    return network


def test_flash_equals_the_bytes_of_the_folded_network(space, subnets, folded, helpers):
    sizes = {"float32": (4, 4), "float16": (2, 2), "int8": (1, 4)}  # bytes of a weight and of a bias
    for dtype, (weight_bytes, bias_bytes) in sizes.items():
        counted = []
        for _, network in folded:
            layers = [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
            biases = sum(layer.bias.numel() for layer in layers if layer.bias is not None)
            kept = [module for module in network.modules() if not isinstance(module, nn.BatchNorm2d)]
            weights = sum(t.numel() for module in kept for t in module.parameters(recurse=False)) - biases
            counted.append(weights * weight_bytes + biases * bias_bytes)
        assert space.cost("flash", dtype).evaluate(space.encode([a for a, _ in folded])).tolist() == counted
    (architecture, network), (_, plain) = folded[0], subnets[0]
    x = helpers.images(architecture)
    with torch.no_grad():
        assert close(network(x), plain(x), 1e-4)


class Liveness(fx.Interpreter):
    """Runs a folded network and keeps count of the activation buffers alive: every convolution, pooling, linear layer,
    layer norm and GELU, attention, softmax, product, sum and what takes parts of its inputs fill a new buffer,
    everything else works in the buffer of its first argument (a padded one is as large from the start), and a buffer
    lives until the last node that reads it, or works in it, has run. Attention first fills its scores, then, queries
    and keys given up, their softmax. The numbers of chosen tokens are one buffer.
    """

    ALLOCATES = (
        nn.Conv2d,
        nn.Linear,
        nn.AdaptiveAvgPool2d,
        nn.AvgPool2d,
        nn.MaxPool2d,
        nn.LayerNorm,
        nn.GELU,
    )
    FUNCTIONS = (
        "scaled_dot_product_attention",
        "softmax",
        "getitem",
        "mean",
        "matmul",
        "sum",
        "cat",
        "topk",
        "gather",
    )

    def peak(self, x: torch.Tensor) -> int:
        """Elements alive at once at the worst moment, for one image."""
        self.buffer: dict[fx.Node, fx.Node] = {}
        self.elements: dict[fx.Node, int] = {}
        self.scores: dict[fx.Node, int] = {}
        self.shapes: dict[fx.Node, torch.Size] = {}
        self.pairs: set[fx.Node] = set()
        with torch.no_grad():
            self.run(x)
        order = {node: number for number, node in enumerate(self.module.graph.nodes)}
        last: dict[fx.Node, int] = {}
        for node, buffer in self.buffer.items():
            last[buffer] = max([last.get(buffer, 0), order[node], *(order[u] for u in node.users if u.op != "output")])
        peaks = []
        for node, now in order.items():
            alive = {b: size for b, size in self.elements.items() if order[b] <= now <= last[b]}
            if node not in self.scores:
                peaks.append(sum(alive.values()))
                continue
            query, key, value, out = (alive.pop(self.buffer[n]) for n in (*node.args, node))
            scores, others = self.scores[node], sum(alive.values())
            peaks += [others + query + key + value + scores, others + value + 2 * scores, others + value + scores + out]
        return max(peaks)

    def run_node(self, node: fx.Node) -> object:
        value = super().run_node(node)
        if node.op in ("output", "get_attr") or node.target == "size":
            return value
        layer = self.fetch_attr(str(node.target)) if node.op == "call_module" else None
        name = getattr(node.target, "__name__", node.target)
        of_pair = name == "getitem" and node.args[0] in self.pairs
        new = node.op == "placeholder" or isinstance(layer, self.ALLOCATES)
        new = new or (layer is None and name in self.FUNCTIONS and not of_pair)
        self.buffer[node] = node if new else self.buffer[node.args[0]]
        if name == "topk":
            self.pairs.add(node)
            value, pair = value[1], value
        self.shapes[node] = value.shape
        if new or isinstance(layer, (nn.ZeroPad2d, nn.ConstantPad1d)):
            self.elements[self.buffer[node]] = math.prod(value.shape)
        if name == "expand":
            return value  # one number for all features of a token
        if name == "scaled_dot_product_attention":
            self.scores[node] = math.prod(value.shape[:-1]) * self.shapes[node.args[1]][-2]
        assert math.prod(value.shape) == self.elements[self.buffer[node]], f"{node} does not fit its buffer"
        return pair if name == "topk" else value


def test_peak_memory_equals_traced_liveness(space, folded, helpers):
    rows = space.encode([architecture for architecture, _ in folded])
    peaks = np.array([Liveness(network).peak(helpers.images(a, num=1)) for a, network in folded])
    for dtype, size in (("float32", 4), ("float16", 2), ("int8", 1)):
        assert space.cost("peak_memory", dtype).evaluate(rows).tolist() == (peaks * size).tolist()


def test_operators_stand_alone(space):
    """Each kind of operator as a module of its own: its shapes, and its own costs."""
    rng = np.random.default_rng(0)
    operators = list(space.operators().values())
    for number in rng.choice(len(operators), size=min(len(operators), 20), replace=False):
        operator = operators[number]
        module = build_operator(operator).eval()
        with counting() as counter:
            out = module(torch.zeros(1, *operator.input_shape))
        assert out.shape == (1, *operator.output_shape)
        assert counter.get_total_flops() == 2 * operator.macs()
        assert sum(parameter.numel() for parameter in module.parameters()) == operator.params()


def test_fresh_network_is_like_an_extracted_one(space, subnets):
    for architecture, network in subnets[:3]:
        fresh = build_network(space, architecture)
        assert {n: t.shape for n, t in fresh.state_dict().items()} == {
            n: t.shape for n, t in network.state_dict().items()
        }
        assert all(torch.isfinite(tensor).all() for tensor in fresh.state_dict().values())
