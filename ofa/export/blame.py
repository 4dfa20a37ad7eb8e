"""Which operator a converter could not take: by what it says, else by giving it the network's operators one by one.

What converters say when they fail seldom names the operator of the network. A network is a list of operators, each of
which is a network of its own to a converter; one that fails alone, where the simplest operators pass, is to blame.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, fx, nn

from ofa.export.failures import reason_of, spoils_everything
from ofa.export.forms.base import Form, Source
from search_spaces.operators import Classifier, Conv, Operator
from search_spaces.plain import build_operator, trace

#: no longer than this is looked for: a converter that compiles takes many seconds for each operator
PATIENCE_S = 120.0

#: what every converter takes, or it does not work here at all
_SIMPLEST: tuple[Operator, ...] = (
    Conv(in_channels=4, out_channels=4, resolution=8, kernel_size=1, stride=1, activation="relu"),
    Classifier(in_channels=8, out_channels=4, resolution=1),
)


@dataclass(frozen=True)
class Blamed:
    """An operator of a network, where it is, and why a form could not take it; `alone` if that was tried out."""

    slot: str
    operator: str
    reason: str
    alone: bool


def blame(
    form: Form,
    source: Source,
    operators: Sequence[tuple[str, Operator]],
    error: Exception,
    *,
    run: bool = False,
    patience_s: float = PATIENCE_S,
) -> Blamed | None:
    """The first of `operators` (slot, operator) that `form` fails at, after it failed with `error` at the network.

    None where no operator fails alone, or all do: then none of them is the reason. With `run` the network was written
    but could not be loaded or computed, and so are the operators. Raises what concerns all forms (a full disk).
    """
    named = _named(str(error), operators)
    if named is not None:
        return Blamed(named[0], named[1].key, reason_of(error), alone=False)
    end = time.monotonic() + patience_s
    distinct: dict[str, tuple[str, Operator]] = {}
    for slot, operator in operators:
        distinct.setdefault(operator.key, (slot, operator))
    works: dict[str, bool] = {}
    with torch.random.fork_rng(devices=[]):  # operators draw weights; whoever comes after draws as without this
        for slot, operator in distinct.values():
            if time.monotonic() > end:
                return None
            failure = _fails_alone(form, source, operator, run=run, works=works)
            if failure is not None:
                return Blamed(slot, operator.key, reason_of(failure), alone=True)
    return None


def _named(reason: str, operators: Sequence[tuple[str, Operator]]) -> tuple[str, Operator] | None:
    """The operator whose slot, or whose key, the converter named: as the start of a layer's name or in quotes."""
    for slot, operator in sorted(operators, key=lambda found: -len(found[0])):
        name = re.escape(slot)
        layer, quoted = rf"(?<![\w.]){name}(?:[._]\w|:)", rf"[`'\"]{name}[`'\"]"
        if re.search(rf"{layer}|{quoted}|(?<![\w-]){re.escape(operator.key)}(?![\w-])", reason):
            return slot, operator
    return None


def _fails_alone(
    form: Form, source: Source, operator: Operator, *, run: bool, works: dict[str, bool]
) -> Exception | None:
    """What `form` fails with at the operator by itself; None if it takes it, or takes nothing of such a shape."""
    for way, (module, shape) in _alone(build_operator(operator), operator.input_shape).items():
        if way not in works:
            works[way] = any(_try(form, source, *pair, run=run) is None for pair in _simplest(way))
        if works[way]:
            return _try(form, source, module, shape, run=run)
    return None


def _alone(module: fx.GraphModule, shape: tuple[int, ...]) -> dict[str, tuple[fx.GraphModule, tuple[int, ...]]]:
    """An operator as a network, with its input shape: of maps as it is; of tokens (N, D) as it is, and for converters
    that only know images behind the layers that make an image into tokens.
    """
    if len(shape) != 2:
        return {"maps": (module, shape)}
    return {"tokens": (module, shape), "image": (trace(_OfImage(module)), (shape[1], shape[0], 1))}


def _simplest(way: str) -> list[tuple[fx.GraphModule, tuple[int, ...]]]:
    if way == "maps":
        return [(build_operator(operator), operator.input_shape) for operator in _SIMPLEST]
    return [_alone(trace(nn.Sequential(nn.Linear(8, 8))), (16, 8))[way]]


class _OfImage(nn.Module):
    """A map (B, D, N, 1) as tokens (B, N, D)."""

    def __init__(self, of_tokens: nn.Module) -> None:
        super().__init__()
        self.of_tokens = of_tokens

    def forward(self, x_BDN1: Tensor) -> Tensor:
        return self.of_tokens(x_BDN1.flatten(2).transpose(1, 2))


def _try(form: Form, source: Source, module: fx.GraphModule, shape: tuple[int, ...], *, run: bool) -> Exception | None:
    """What `form` fails with at a small network; inputs are drawn as those of operators in networks are: normal."""
    module.eval()
    generator = torch.Generator().manual_seed(0)

    def images(like: Tensor) -> Tensor:
        return torch.randn(min(len(like), 8), *shape, generator=generator)

    calibration = None if source.calibration is None else images(source.calibration)
    deployment = source.deployment and replace(source.deployment, golden=images(source.deployment.golden))
    sides = cast("tuple[int, int, int]", shape)  # tokens have two: who minds is found out by the simplest operators
    small = replace(source, network=module, input_shape=sides, calibration=calibration, deployment=deployment)
    with tempfile.TemporaryDirectory(prefix="ofa-blame-") as place:
        try:
            form.write(small, Path(place))
            if run:
                with torch.inference_mode():
                    form.load(Path(place))(torch.randn(2, *shape, generator=generator))
        except Exception as error:  # every converter has errors of its own
            if spoils_everything(error):
                raise
            return error
    return None
