from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from latency_tables.fingerprint import fingerprint
from latency_tables.remote.runner import cpu_model
from latency_tables.runtimes import RUNTIMES, FileRuntime, get_runtime
from latency_tables.settings import DeviceSettings
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.settings import parse_settings
from search_spaces.plain import build_network


@pytest.mark.parametrize("name", RUNTIMES.names())
def test_a_call_is_one_inference_of_the_deployed_network(
    name: str, tiny: SearchSpace, call_once: Callable[..., tuple[torch.Tensor, torch.Tensor]]
) -> None:
    architecture = tiny.decode(tiny.largest())[0]
    network = build_network(tiny, architecture)
    torch.nn.init.normal_(network.classifier.linear.weight)  # fresh ones give logits near zero
    shape = (1, architecture.resolution, architecture.resolution)
    training, weights = network.training, {key: value.clone() for key, value in network.state_dict().items()}
    x, found = call_once(name, network, shape)
    assert network.training == training
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())

    with torch.no_grad():
        expected = network.eval()(x)
    assert expected.abs().max() > 0.01
    if name == "litert_int8":
        assert (found - expected).square().mean() < 0.02 * expected.square().mean()
    else:
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_unknown_runtime_suggests() -> None:
    with pytest.raises(UserError, match="Did you mean 'onnxruntime'"):
        parse_settings(DeviceSettings, {"name": "x", "runtime": "onxruntime"}, file="c.yaml", prefix="devices.0")
    with pytest.raises(UserError, match="litert, litert_int8, onnxruntime, torch"):
        get_runtime("tensorrt")


@pytest.mark.parametrize(
    ("key", "value"), [("rounds", 0), ("threads", -1), ("holdout", 3), ("name", "../up"), ("roundz", 3)]
)
def test_bad_device_settings(key: str, value: object) -> None:
    with pytest.raises(UserError, match=key):
        parse_settings(DeviceSettings, {"name": "x", "runtime": "torch", key: value}, file="c.yaml")


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "latency_tables.runtimes.onnxruntime", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # what import finds for a package that is not there
    with pytest.raises(UserError, match="pip install onnxruntime"):
        get_runtime("onnxruntime")


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith(("latency_tables.tflite", "ai_edge_litert"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "latency_tables.runtimes.litert", raising=False)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(UserError, match=r"ofa-nas\[litert\]"):
        get_runtime("litert")


def test_only_runtimes_of_files_take_files() -> None:
    assert isinstance(get_runtime("onnxruntime"), FileRuntime)
    assert not isinstance(get_runtime("torch"), FileRuntime)


def test_settings_need_no_torch() -> None:
    code = "import sys, latency_tables.settings; assert not {'torch', 'onnx', 'onnxruntime'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fingerprint_tells_devices_apart(tmp_path: Path) -> None:
    one = fingerprint(get_runtime("torch"), threads=1)
    assert one == fingerprint(get_runtime("torch"), threads=1) and one.differences(one) == []
    assert one.runtime_version == torch.__version__
    assert one.differences(fingerprint(get_runtime("torch"), threads=2)) == ["threads 1 here, 2 there"]
    info = tmp_path / "cpuinfo"
    info.write_text(
        "processor : 0\nmodel name : Some CPU\ncpu family : 6\nmodel : 85\n\nprocessor : 1\nmodel name : Other\n"
    )
    assert cpu_model(info) == "Some CPU (cpu family 6, model 85)"
