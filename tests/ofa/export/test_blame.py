"""The operator that a converter could not take is found, and no other is blamed; with the real converters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import fx, nn

from ofa.export.blame import blame
from ofa.export.failures import reason_of
from ofa.export.forms.base import Source
from ofa.export.forms.onnx import OnnxForm
from search_spaces import get_space
from search_spaces.common.errors import UserError
from search_spaces.operators import Classifier, Conv, Operator
from search_spaces.plain import ACTIVATIONS, PLAIN, build_network, trace

SIDE = 8
OPERATORS: list[tuple[str, Operator]] = [
    ("stem", Conv(in_channels=3, out_channels=4, resolution=SIDE, kernel_size=3, stride=2, activation="relu")),
    ("odd", Conv(in_channels=4, out_channels=4, resolution=4, kernel_size=3, stride=4, activation="softplus")),
    ("odd_again", Conv(in_channels=4, out_channels=4, resolution=1, kernel_size=1, stride=1, activation="softplus")),
    ("classifier", Classifier(in_channels=4, out_channels=2, resolution=1)),
]


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    """A network with an activation that our ONNX translation really does not know."""
    monkeypatch.setitem(ACTIVATIONS, "softplus", lambda: nn.Softplus())
    root = nn.Sequential()
    for slot, operator in OPERATORS:
        root.add_module(slot, PLAIN[type(operator)](operator))
    return Source(trace(root).eval(), (3, SIDE, SIDE))


class Mute(OnnxForm):
    """The same converter, with nothing to say."""

    def write(self, source: Source, folder: Path) -> None:
        try:
            super().write(source, folder)
        except UserError:
            raise RuntimeError("internal error 12") from None


def failure(form: OnnxForm, source: Source, folder: Path) -> Exception:
    with pytest.raises((UserError, RuntimeError)) as told:
        form.write(source, folder)
    return told.value


def test_what_the_converter_names_is_believed(source: Source, tmp_path: Path) -> None:
    found = blame(OnnxForm(), source, OPERATORS, failure(OnnxForm(), source, tmp_path))
    assert found is not None and (found.slot, found.operator, found.alone) == ("odd", OPERATORS[1][1].key, False)
    assert "odd.act: torch.nn.Softplus cannot be converted to ONNX" in found.reason


def test_what_it_does_not_name_is_found_by_trying(source: Source, tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    found = blame(Mute(), source, OPERATORS, failure(Mute(), source, tmp_path))
    assert found is not None and (found.slot, found.operator, found.alone) == ("odd", OPERATORS[1][1].key, True)
    assert found.reason == "internal error 12"
    assert torch.equal(torch.random.get_rng_state(), state) and list(tmp_path.iterdir()) == []


def test_nobody_is_blamed_where_each_passes_or_all_fail(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("two heads")
    assert blame(OnnxForm(), source, [OPERATORS[0], OPERATORS[-1]], error) is None

    class Broken(OnnxForm):
        def write(self, source: Source, folder: Path) -> None:
            raise RuntimeError("no C++ compiler")

    assert blame(Broken(), source, OPERATORS, error) is None
    assert blame(Mute(), source, OPERATORS, error, patience_s=0) is None  # a converter may take minutes


@pytest.mark.parametrize("only_images", [False, True])
def test_operators_of_tokens_are_tried_too(only_images: bool) -> None:
    settings = {"name": "vit_nano", "resolution": [16], "patch": [4], "embed": [16], "depth": [1], "heads": [2]}
    space = get_space({**settings, "mlp": [2], "head_dim": 8, "selects": [1]}, num_classes=3)
    (architecture,) = space.decode(space.largest())

    class NoGelu(OnnxForm):
        def write(self, source: Source, folder: Path) -> None:
            if only_images and len(source.input_shape) != 3:
                raise RuntimeError("not an image")
            if any(isinstance(layer, nn.GELU) for layer in source.network.modules()):
                raise RuntimeError("no such kernel")
            super().write(source, folder)

    network = build_network(space, architecture).eval()
    found = blame(NoGelu(), Source(network, (3, 16, 16)), space.network(architecture), RuntimeError("no such kernel"))
    assert found is not None and (found.slot, found.reason) == ("block1_mlp", "no such kernel")


@pytest.mark.parametrize(
    ("text", "slot"),
    [
        ("node stage1_block10_expand_conv has no kernel", "stage1_block10"),
        ("stage1_block1.se.gate: not known", "stage1_block1"),
        ("at 'stem'", "stem"),
        ("operator conv-3-4-8-3-2-relu is refused", "stem"),
        ("the first operator of the stem is refused", None),
    ],
)
def test_names_in_messages(text: str, slot: str | None) -> None:
    key = Conv(in_channels=4, out_channels=4, resolution=4, kernel_size=1, stride=1, activation="relu")
    named = [("stem", OPERATORS[0][1]), ("first", key), ("stage1_block1", key), ("stage1_block10", key)]

    class Willing(OnnxForm):
        def write(self, source: Source, folder: Path) -> None: ...

    network = fx.symbolic_trace(nn.Sequential(nn.Identity()))
    found = blame(Willing(), Source(network, (3, 8, 8)), named, RuntimeError(text))
    assert (found and found.slot) == slot


def test_a_reason_is_one_line() -> None:
    assert reason_of(RuntimeError("  first\nsecond")) == "first"
    assert reason_of(ValueError()) == "ValueError"
    assert len(reason_of(RuntimeError("x" * 10_000))) == 400
