from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from latency_tables.fingerprint import fingerprint
from latency_tables.remote.on_device.device import cpu_model
from latency_tables.runtimes import EXTRAS, RUNTIMES, FileRuntime, Portable, get_runtime
from latency_tables.settings import DeviceSettings
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.settings import parse_settings
from search_spaces.plain import build_network, build_operator
from tests.latency_tables.runtime_calls import check_close, infer, runtime_here, settle, some_runtimes


@pytest.mark.parametrize(
    "name", some_runtimes("torch", "onnxruntime", "onnxruntime_int8", "executorch", "litert", "litert_int8")
)
def test_a_call_is_one_inference_of_the_deployed_network(name: str, tiny: SearchSpace) -> None:
    runtime = runtime_here(name)
    architecture = tiny.decode(tiny.largest())[0]
    network = build_network(tiny, architecture)
    torch.nn.init.normal_(network.classifier.linear.weight)  # fresh ones give logits near zero
    shape = (1, architecture.resolution, architecture.resolution)
    settle(network, shape)
    training, weights = network.training, {key: value.clone() for key, value in network.state_dict().items()}
    x, result = infer(runtime, network, shape)
    assert network.training == training
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    with torch.no_grad():
        expected = network.eval()(x)
    assert expected.abs().max() > 0.01
    check_close(runtime, result, expected, whole=True)


@pytest.mark.parametrize(
    "name", some_runtimes("torch", "onnxruntime", "onnxruntime_int8", "executorch", "litert", "litert_int8")
)
def test_files_of_equal_modules_are_equal(name: str, tiny: SearchSpace, tmp_path: Path) -> None:
    runtime = runtime_here(name)
    if not isinstance(runtime, Portable):
        return
    operator = next(operator for operator in tiny.operators().values() if operator.kind == "mbconv")
    modules = []
    for _ in range(2):
        torch.manual_seed(7)
        modules.append(build_operator(operator))
    files = [runtime.compile(module, operator.input_shape) for module in modules]
    if name != "torch_inductor":  # its files hold times
        assert files[0] == files[1] and files[0] != runtime.compile(build_operator(operator), operator.input_shape)
    path = tmp_path / f"operator{runtime.suffix}"
    path.write_bytes(files[0])
    assert isinstance(runtime, FileRuntime)
    runtime.prepare_file(path, threads=1, input_shapes=[(1, *operator.input_shape)])()
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="not a"):
        runtime.prepare_file(path, threads=1, input_shapes=[(1, *operator.input_shape)])
    with pytest.raises(UserError, match="no such"):
        runtime.prepare_file(tmp_path / "none", threads=1)


def test_unknown_runtime_suggests() -> None:
    with pytest.raises(UserError, match="Did you mean 'onnxruntime'"):
        parse_settings(DeviceSettings, {"name": "x", "runtime": "onxruntime"}, file="c.yaml", prefix="devices.0")
    with pytest.raises(UserError, match="litert, litert_int8, onnxruntime, onnxruntime_int8, torch"):
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
    monkeypatch.delitem(sys.modules, "latency_tables.runtimes.executorch", raising=False)
    monkeypatch.setitem(sys.modules, "executorch", None)
    monkeypatch.setitem(sys.modules, "executorch.extension.pybindings", None)
    with pytest.raises(UserError, match=r"needs the package 'executorch'.*pip install 'ofa-nas\[executorch\]'"):
        get_runtime("executorch")
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[2] / "setup.cfg")
    assert set(EXTRAS) <= set(RUNTIMES.names()) and set(EXTRAS.values()) <= set(config["options.extras_require"])


def test_missing_extra_of_litert_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
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
