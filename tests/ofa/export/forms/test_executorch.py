"""The forms for ExecuTorch. Slow, all of it: lowering the smallest network takes seconds, and so does importing it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

pytest.importorskip("executorch", reason="executorch is not installed: pip install 'ofa-nas[executorch]'")

from ofa.export.forms.base import Examined, Source, Timed
from ofa.export.forms.registry import get_form
from ofa.export.verify import verify_forms
from search_spaces.common.errors import UserError
from search_spaces.plain import clone_network
from tests.ofa.export.forms.snippets import run_usage

pytestmark = pytest.mark.slow

FORMS = ("executorch", "executorch-int8")


def calibration(source: Source) -> Tensor:
    assert source.calibration is not None
    return source.calibration


@pytest.mark.parametrize("name", FORMS)
def test_the_whole_form(name: str, source: Source, tmp_path: Path) -> None:
    images, form = calibration(source), get_form(name)
    form.write(source, tmp_path)
    path = tmp_path / form.file
    assert [file.name for file in tmp_path.iterdir()] == [form.file]
    found = verify_forms(source.network, images, folder=tmp_path, forms=(name,), tolerance=1e-5)[name]
    assert found.num_images == 32
    if not form.exact:
        assert found.signal_db is not None and found.signal_db > 25 and found.num_moved <= 2
    other = clone_network(source.network)
    with torch.no_grad():
        other.get_parameter("head.weight").mul_(-1)
    with pytest.raises(UserError, match=f"{form.file}: the form '{name}' differs from the network"):
        verify_forms(other, images, folder=tmp_path, forms=(name,), tolerance=1e-5)

    some, predict = images[:3], form.load(tmp_path)
    snippet = run_usage(form.usage, some.numpy(), tmp_path)
    assert snippet.dtype == np.float32 and snippet.shape == (3, 4)
    np.testing.assert_allclose(snippet, predict(some).numpy(), atol=1e-6)
    channels_last = some.contiguous(memory_format=torch.channels_last)
    assert torch.equal(predict(channels_last), predict(some)), "the layout of images changes what is computed"

    assert isinstance(form, Timed) and isinstance(form, Examined)
    assert form.prepare(tmp_path, source.input_shape, threads=1)() is not None
    with pytest.raises(UserError, match="takes inputs of"):
        form.prepare(tmp_path, (3, 16, 16), threads=1)
    facts = form.examine(source, tmp_path)
    assert facts["xnnpack_parts"] >= 1 and facts["portable_operators"] == []
    assert ("quantization" in facts) == (not form.exact)

    content = path.read_bytes()
    form.write(source, tmp_path)
    assert path.read_bytes() == content, "another file of the same network"
    if not form.exact:
        form.write(replace(source, calibration=10 * images), tmp_path)
        assert path.read_bytes() != content, "not calibrated on what it was given"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=f"{form.file}: not a program that ExecuTorch can run here"):
        form.load(tmp_path)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.AdaptiveMaxPool2d(2), r"1: ExecuTorch has no kernel for the operator aten::adaptive_max_pool2d"),
        (nn.RReLU(), r"ExecuTorch has no kernel for the operator aten::rrelu"),
    ],
)
def test_what_it_cannot_do_is_named_and_nothing_is_left(
    layer: nn.Module, message: str, name: str, source: Source, tmp_path: Path
) -> None:
    network = fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 3), layer, nn.Flatten())).eval()
    form = get_form(name)
    with pytest.raises(UserError, match=f"^{form.file}: {message}"):
        form.write(replace(source, network=network), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_int8_needs_images(source: Source, tmp_path: Path) -> None:
    for nothing in (None, calibration(source)[:0]):
        with pytest.raises(UserError, match=r"^model_int8\.pte: int8 needs images to calibrate with"):
            get_form("executorch-int8").write(replace(source, calibration=nothing), tmp_path)
    assert list(tmp_path.iterdir()) == []
