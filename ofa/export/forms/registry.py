"""Export forms by name. One file a form, one entry here; the file, and with it torch, is imported when it is asked
for.
"""

from __future__ import annotations

from collections.abc import Callable

from ofa.export.forms.base import Form
from search_spaces.common.errors import UserError
from search_spaces.common.registry import Registry

FORMS: Registry[Callable[[], Form]] = Registry(
    "export form",
    entry_points="ofa.forms",
    makes=("name", "file", "exact", "requires", "usage", "write", "load"),
)

#: forms whose packages come with an extra of this project
_EXTRAS = {
    "tflm": "tflm",
    "tflite": "litert",
    "tflite-int8": "litert",
    "executorch": "executorch",
    "executorch-int8": "executorch",
    "ethos-u": "ethosu",
}


@FORMS.register("safetensors")
def _safetensors() -> Form:
    from ofa.export.forms.safetensors import SafetensorsForm

    return SafetensorsForm()


@FORMS.register("pt2")
def _pt2() -> Form:
    from ofa.export.forms.pt2 import Pt2Form

    return Pt2Form()


@FORMS.register("aoti")
def _aoti() -> Form:
    from ofa.export.forms.aoti import AotiForm

    return AotiForm()


@FORMS.register("timm")
def _timm() -> Form:
    from ofa.export.forms.timm import TimmForm

    return TimmForm()


@FORMS.register("onnx-fp16")
def _onnx_fp16() -> Form:
    from ofa.export.forms.onnx_fp16 import OnnxFp16Form

    return OnnxFp16Form()


@FORMS.register("onnx-int8")
def _onnx_int8() -> Form:
    from ofa.export.forms.onnx_int8 import OnnxInt8Form

    return OnnxInt8Form()


@FORMS.register("onnx")
def _onnx() -> Form:
    from ofa.export.forms.onnx import OnnxForm

    return OnnxForm()


@FORMS.register("tflite")
def _tflite() -> Form:
    from ofa.export.forms.tflite import TfliteForm

    return TfliteForm()


@FORMS.register("tflite-int8")
def _tflite_int8() -> Form:
    from ofa.export.forms.tflite_int8 import TfliteInt8Form

    return TfliteInt8Form()


@FORMS.register("executorch")
def _executorch() -> Form:
    from ofa.export.forms.executorch import ExecuTorchForm

    return ExecuTorchForm()


@FORMS.register("executorch-int8")
def _executorch_int8() -> Form:
    from ofa.export.forms.executorch_int8 import ExecuTorchInt8Form

    return ExecuTorchInt8Form()


@FORMS.register("ethos-u")
def _ethos_u() -> Form:
    from ofa.export.forms.ethos_u import EthosUForm

    return EthosUForm()


@FORMS.register("tflm")
def _tflm() -> Form:
    from ofa.export.forms.tflm import TflmForm

    return TflmForm()


@FORMS.register("mcu")
def _mcu() -> Form:
    from ofa.export.forms.mcu import McuForm

    return McuForm()


def form_name(text: str) -> str:
    """The name of a form as it is registered: `onnx_int8` is `onnx-int8`."""
    name = text.strip()
    return name if name in FORMS else name.replace("_", "-")


def get_form(name: str, *, key: str = "forms") -> Form:
    """The form called `name`. Raises `UserError` for an unknown one, or when its converter is not installed."""
    make = FORMS.get(name, key=key)
    try:
        return make()
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).split(".")[0]
        raise UserError(
            f"needs the package {package!r}, which is not installed",
            key=key,
            value=name,
            hint=install_hint(name, error),
        ) from error


def install_hint(name: str, error: ModuleNotFoundError) -> str:
    """The command that brings what the form `name` lacks."""
    package = (error.name or str(error)).split(".")[0]
    return f"pip install 'ofa-nas[{_EXTRAS[name]}]'" if name in _EXTRAS else f"pip install {package}"
