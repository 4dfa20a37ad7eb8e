"""Lowering in haste: the same bytes as ExecuTorch's own, and nothing of torch's that stays changed."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from search_spaces import get_space
from search_spaces.plain import build_network, build_operator
from search_spaces.registry import FAMILIES

pytest.importorskip("executorch", reason="the extra 'executorch' is not installed: lowering is not tested")

from executorch.backends.xnnpack import xnnpack_preprocess
from executorch.backends.xnnpack._passes import XNNPACKPassManager
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import exported_program

from latency_tables.executorch import haste
from latency_tables.executorch.graph import for_xnnpack
from latency_tables.executorch.int8 import quantized_pte
from latency_tables.executorch.program import as_fed, export, to_pte
from tests.latency_tables.executorch.plain import plain_pte


class Gated(nn.Module):
    """Of a squeeze-excitation block: what is decomposed unless XNNPACK asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.hardswish(self.conv(x))
        return x * functional.hardsigmoid(self.gate(functional.adaptive_avg_pool2d(x, 1)))


class Everything(nn.Module):
    """What the passes of XNNPACK look for that are left out elsewhere, but for those of quantised graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.free = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.line, self.prelu = nn.Conv1d(4, 4, 3), nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(functional.relu(self.norm(self.conv(functional.pad(x, (1, 1, 1, 1))))))
        x = self.free(functional.max_pool2d(torch.cat([x] * 6, dim=2), 2))
        x = functional.interpolate(x, size=(8, 6), mode="bilinear", align_corners=False)
        return torch.softmax(self.line(x.flatten(2)), dim=-1)


@pytest.mark.parametrize("kind", ["gated", "everything", pytest.param("attention", marks=pytest.mark.slow)])
def test_hasty_lowering_makes_the_same_program(kind: str) -> None:
    network: Any
    if kind == "attention":
        network = nn.Sequential(nn.LayerNorm(8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)).eval()
        x = torch.randn(1, 5, 8)
    else:
        traced = fx.symbolic_trace((Gated() if kind == "gated" else Everything()).eval())
        network, x = (for_xnnpack(traced, (3, 9, 9)) if kind == "gated" else traced), as_fed(torch.randn(1, 3, 9, 9))
    assert to_pte(export(network, x), x) == plain_pte(network, x)


#: a space of each family
SPACES = {
    "mobilenet_v3": "mobilenet_v3_28",
    "proxyless_nas": "efficientnet_lite0",
    "resnet": "ofa_resnet50",
    "hybrid": "hybrid_nano",
    "vision_transformer": "vit_nano",
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES.names())
def test_of_every_family(family: str) -> None:
    space = get_space({"name": SPACES[family]}, 10, 3)
    assert space.family == family
    (architecture,) = space.decode(space.sample(1, np.random.default_rng(0)))
    kinds = {type(operator): operator for _, operator in space.network(architecture)}
    modules = [(build_operator(operator), operator.input_shape) for operator in kinds.values()]
    modules.append((build_network(space, architecture), (3, architecture.resolution, architecture.resolution)))
    for module, shape in modules:
        network, x = for_xnnpack(module.eval(), shape), as_fed(torch.randn(1, *shape))
        assert to_pte(export(network, x), x) == plain_pte(network, x), (type(module), shape)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_lowered_weights_do_not_stay_in_memory(precision: str) -> None:
    """A table has a thousand operators: what each leaves behind fills the memory."""

    def kept() -> int:
        gc.collect()
        tensors = [each for each in gc.get_objects() if isinstance(each, torch.Tensor)]
        return sum(tuple(each.shape) == (37, 41) and not isinstance(each, FakeTensor) for each in tensors)

    def lower() -> None:
        x, network = torch.randn(1, 41), fx.symbolic_trace(nn.Sequential(nn.Linear(41, 37)).eval())
        if precision == "int8":
            quantized_pte(network, [x])
        else:
            to_pte(export(network, x), x)

    lower()
    assert kept() == 0


def test_every_pass_that_may_be_left_out_is_one() -> None:
    """A name that ExecuTorch changed would only cost time; this says so."""
    assert set(haste._LOOKS_FOR) <= {one.__name__ for one in XNNPACKPassManager(None).passes}


def test_afterwards_all_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(1, 3)
    exported = torch.export.export(nn.Linear(3, 2), (x,), strict=False)

    def changed() -> list[Any]:
        names = ("_split_decomp_table_to_cia_and_python_decomp", "_collect_all_valid_cia_ops")
        found = [getattr(exported_program, name) for name in names]
        return [*found, torch.fx.traceback.copy, fx.GraphModule.recompile, xnnpack_preprocess.XNNPACKPassManager]

    before = changed()
    with pytest.raises(KeyboardInterrupt), haste.haste(exported):
        assert not any(now is then for now, then in zip(changed(), before, strict=True)) and not gc.isenabled()
        late = fx.symbolic_trace(nn.Linear(3, 2))  # whose code is written inside the block, or after it
        assert late(x).shape == (1, 2)
        later = fx.symbolic_trace(nn.Linear(3, 2))
        raise KeyboardInterrupt
    assert all(now is then for now, then in zip(changed(), before, strict=True)) and gc.isenabled()
    assert later(x).shape == (1, 2) and all("linear" in each.code for each in (late, later))

    with monkeypatch.context() as patch:  # a torch with other private names
        patch.delattr(exported_program, "_special_op_to_preserve_cia")
        with haste.haste(exported):
            assert exported_program._split_decomp_table_to_cia_and_python_decomp is before[0]
