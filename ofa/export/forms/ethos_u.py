"""`model_ethos_u.tflite`: int8 for an Arm Ethos-U, compiled by Vela for `Source.npu`.

Input (1, H, W, C) and output (1, num_classes) are int8. What the accelerator knows has become a stream of commands for
it; TensorFlow Lite Micro hands that to the Ethos-U driver and runs the rest on the CPU. No command stream can be run
here. The int8 model that it was compiled from is written beside it, `model_ethos_u_int8.tflite`: that is what is
compared and scored, and a device can be checked against.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from latency_tables.ethos_u.vela import ACCELERATORS, compile_model, vela_version
from latency_tables.tflite.file import TFLiteModel, is_tflite
from latency_tables.tflite.micro import LACKING
from ofa.export.forms.base import Predict, Source
from ofa.export.forms.tflite import load_images
from ofa.export.forms.tflite_int8 import calibration, int8_model
from search_spaces.common.errors import UserError, in_file, unknown_name
from search_spaces.common.files import file_digest, write_bytes

#: the model before Vela
INT8_FILE = "model_ethos_u_int8.tflite"


class EthosUForm:
    name = "ethos-u"
    file = "model_ethos_u.tflite"
    exact = False
    requires = ()
    usage = None

    def __init__(self) -> None:
        import ethosu.vela  # noqa: F401  (missing, it is told before anything is converted)

    def write(self, source: Source, folder: Path) -> None:
        if source.npu not in ACCELERATORS:
            raise unknown_name("accelerator", source.npu, ACCELERATORS, key="export.npu")
        with in_file(self.file):
            model = int8_model(source)
            content = model.to_bytes()
            compiled = compile_model(content, source.npu)
            _check_left(model, compiled.costs.cpu_operators)
        write_bytes(folder / INT8_FILE, content)
        write_bytes(folder / self.file, compiled.content)

    def load(self, folder: Path) -> Predict:
        """The int8 model before Vela, by LiteRT's own kernels, which round as the accelerator does more than XNNPACK.

        Raises `UserError` if what Vela made takes or gives something else than that.
        """
        ends = [_ends(folder / file) for file in (self.file, INT8_FILE)]
        if ends[0] != ends[1]:
            raise UserError(f"takes and gives {ends[0]}, and the model it was compiled from {ends[1]}", file=self.file)
        return load_images(folder / INT8_FILE, delegate=False)

    def examine(self, source: Source, folder: Path) -> Mapping[str, Any]:
        """Vela's summary, and what was not checked. Raises `UserError` if Vela makes another file of the int8 model."""
        path = folder / INT8_FILE
        compiled = compile_model(path.read_bytes(), source.npu)
        if compiled.content != (folder / self.file).read_bytes():
            raise UserError(f"is not what Vela makes of {INT8_FILE}", file=folder / self.file)
        system, memory = ACCELERATORS[source.npu]
        return {
            "vela": {
                "version": vela_version(),
                "accelerator": source.npu,
                "system_config": system,
                "memory_mode": memory,
                **asdict(compiled.costs),
                "cpu_operators": list(compiled.costs.cpu_operators),
            },
            "compiled_from": {"file": INT8_FILE, "bytes": path.stat().st_size, "sha256": file_digest(path)},
            "num_calibration_images": len(calibration(source)),
            "executed": "the int8 model before Vela, not the command stream",
        }


def _check_left(model: TFLiteModel, kinds: tuple[str, ...]) -> None:
    """Raises `UserError` naming an operator that neither the accelerator nor TensorFlow Lite Micro has."""
    for operator in model.operators:
        if operator.kind in kinds and operator.kind in LACKING:
            raise UserError(
                f"neither the accelerator nor TensorFlow Lite Micro has the operator {operator.kind}",
                key=operator.outputs[-1].name,
                hint="Networks that drop tokens need it" if operator.kind == "TOPK_V2" else None,
            )


def _ends(path: Path) -> dict[str, Any]:
    """Shapes, types, scales and zero points of the input and the output. Raises `UserError` for no TFLite model."""
    if not path.is_file():
        raise UserError("no such file, and the form is nothing without it", file=path)
    content = path.read_bytes()
    try:
        if not is_tflite(content):
            raise ValueError("it does not begin as one")
        graph = schema.ModelT.InitFromPackedBuf(content).subgraphs[0]
        (given,), (result,) = graph.inputs, graph.outputs
        return {"input": _described(graph.tensors[given]), "output": _described(graph.tensors[result])}
    except (ValueError, IndexError, TypeError, AttributeError, struct.error) as error:
        raise UserError(f"not a TFLite model ({error})", file=path) from None


def _described(tensor: Any) -> list[Any]:
    known = tensor.quantization
    scales = [[float(scale) for scale in known.scale], [int(zero) for zero in known.zeroPoint]]
    return [[int(side) for side in tensor.shape], int(tensor.type), *scales]
