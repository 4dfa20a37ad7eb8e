"""The compiled network: needs a compiler to be made and none to be run; says what processor it is for."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.fx import GraphModule, symbolic_trace

from ofa.export.forms.aoti import AotiForm, _attending_by_products, compiled_for
from ofa.export.forms.base import Form, Source, Timed
from search_spaces.common.errors import UserError


def test_without_a_compiler_it_says_what_to_install(
    network: GraphModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"model_aoti\.pt2: forms: needs a C\+\+ compiler.*no-such-compiler.*install g"):
        AotiForm().write(Source(network.eval(), (3, 20, 20)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_release_of_torch_is_asked_for() -> None:
    (needs,) = AotiForm().requires
    assert needs == f"torch=={torch.__version__.split('+')[0]}" and isinstance(AotiForm(), Form | Timed)


def test_what_it_was_compiled_for_stands_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model_aoti.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/version", "0")
    with pytest.raises(UserError, match=r"model_aoti\.pt2: does not say"):
        compiled_for(path)
    with zipfile.ZipFile(path, "a") as archive:
        said = {"AOTI_MACHINE": "aarch64", "AOTI_CPU_ISA": "NEON", "AOTI_DEVICE_KEY": "cpu"}
        archive.writestr("archive/data/aotinductor/model/abc.wrapper_metadata.json", json.dumps(said))
    assert compiled_for(path) == {"machine": "aarch64", "isa": "NEON"}


def test_attention_within_windows_is_written_as_products() -> None:
    attention = torch.nn.functional.scaled_dot_product_attention

    def windows(x: torch.Tensor) -> torch.Tensor:
        parts = x.unflatten(1, (1, 2, 3))
        return attention(parts, parts * 2, parts).flatten(1, 3)

    network, x = symbolic_trace(windows), torch.randn(2, 6, 5, 4)
    expected = network(x)
    found = _attending_by_products(network, (6, 5, 4))
    assert attention not in {node.target for node in found.graph.nodes}
    assert torch.allclose(found(x), expected, atol=1e-6)
    usual = symbolic_trace(lambda x: attention(x, x, x))
    assert attention in {node.target for node in _attending_by_products(usual, (6, 5, 4)).graph.nodes}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "model_aoti.pt2").write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(UserError, match=r"model_aoti\.pt2: is no AOTInductor package that runs here"):
        AotiForm().load(tmp_path)


@pytest.mark.slow
def test_the_compiled_network_is_the_network(network: GraphModule, tmp_path: Path) -> None:
    form, shape = AotiForm(), (3, 20, 20)
    source = Source(network.eval(), shape)
    form.write(source, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model_aoti.pt2"]
    images = torch.randn(70, *shape, generator=torch.Generator().manual_seed(0))
    predict = form.load(tmp_path)
    with torch.no_grad():
        expected = network(images)
    for size in (1, 2, 67):
        assert (predict(images[:size]) - expected[:size]).abs().max() <= 1e-4
    strided = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert (predict(strided[:3]) - expected[:3]).abs().max() <= 1e-4
    result = form.prepare(tmp_path, shape, threads=1)()
    assert isinstance(result, torch.Tensor) and result.shape == (1, 4)
    facts = form.examine(source, tmp_path)
    assert facts["torch"] == torch.__version__ and facts["machine"] and facts["isa"]
    np.save(tmp_path / "image.npy", images[:1].numpy())
    program = f"{form.usage}\nimport sys\nassert 'ofa' not in sys.modules\n"
    program += 'np.save("logits.npy", logits(np.load("image.npy")))\n'
    subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, check=True, env={"PATH": "", "CXX": "none"})
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected[0].numpy(), atol=1e-4)
