"""`model_tflm.tflite`: for TensorFlow Lite Micro, all in int8, calibrated on images of the calibration split.

Input (1, H, W, C) and output (1, num_classes) are int8, their scales and zero points stand in the file. It is computed
here by LiteRT's reference kernels, which TFLM's are ports of. Where TFLM's interpreter installs, the file is run by
that too, and both are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latency_tables.tflite.graph import to_tflite
from latency_tables.tflite.int8 import quantize
from latency_tables.tflite.interpreter import LoadedModel
from latency_tables.tflite.micro import check_installed, check_operators, for_micro, micro_installs_here, run_micro
from ofa.export.forms.base import Predict, Source
from search_spaces.common.errors import UserError, in_file
from search_spaces.common.files import write_bytes

#: images that both interpreters compute
NUM_COMPARED = 16
#: the most steps of the output that they may be apart: rounding of transformers' operators differs by one, and adds up
MOST_STEPS = 8
#: LiteRT's reference kernel of it does not rescale its result in int8 (2.3): the fast one does
_WRONG_REFERENCE = "SUM"


_USAGE = """\
import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter("model_tflm.tflite")
interpreter.allocate_tensors()
(before,), (after,) = interpreter.get_input_details(), interpreter.get_output_details()


def logits(image):
    scale, zero = before["quantization"]
    steps = np.rint(image.transpose(0, 2, 3, 1) / scale) + zero
    interpreter.set_tensor(before["index"], steps.clip(-128, 127).astype(np.int8))
    interpreter.invoke()
    scale, zero = after["quantization"]
    return ((interpreter.get_tensor(after["index"])[0].astype(np.float32) - zero) * scale).astype(np.float32)
"""


class TflmForm:
    name = "tflm"
    file = "model_tflm.tflite"
    exact = False
    requires = ("ai-edge-litert",)
    usage = _USAGE

    def write(self, source: Source, folder: Path) -> None:
        if source.calibration is None or not len(source.calibration):
            raise UserError("int8 needs images to calibrate with, and there are none", file=self.file)
        with in_file(self.file):
            if micro_installs_here():
                check_installed()
            model = to_tflite(for_micro(source.network, source.input_shape), source.input_shape)
            check_operators(model)
            content = quantize(model, (image for image in channels_last(source.calibration))).to_bytes()
        write_bytes(folder / self.file, content)

    def load(self, folder: Path) -> Predict:
        model = _load(folder / self.file)

        def predict(images: Tensor) -> Tensor:
            outputs = []
            for image in channels_last(images):
                model.set_inputs(image)
                outputs.append(torch.from_numpy(model.call().output()))
            return torch.cat(outputs)

        return predict

    def examine(self, source: Source, folder: Path) -> Mapping[str, Any]:
        """What TFLM's interpreter says: its arena, and how far its outputs are from LiteRT's; null where there is none.

        Raises `UserError` if it cannot run the file or computes something else.
        """
        assert source.calibration is not None
        if not micro_installs_here():
            return {"micro": None}
        path = folder / self.file
        model, inputs, outputs = _load(path), [], []
        for image in channels_last(source.calibration[:NUM_COMPARED]):
            model.set_inputs(image)
            outputs.append(model.call().stored_output)
            inputs.append(model.stored_input)
        with in_file(path):
            run = run_micro(path.read_bytes(), np.stack(inputs))
            steps = np.abs(run.outputs.astype(np.int32) - np.stack(outputs))
            if steps.max() > MOST_STEPS:
                raise UserError(
                    f"TensorFlow Lite Micro computes something else than LiteRT: up to {steps.max()} steps of the "
                    f"output apart on {len(inputs)} images, at most {MOST_STEPS} is rounding"
                )
        return {
            "micro": {
                "version": run.version,
                "arena_head_bytes": run.head_bytes,
                "arena_tail_bytes": run.tail_bytes,
                "num_outputs": int(steps.size),
                "num_off_by_one": int((steps == 1).sum()),
                "num_off_by_more": int((steps > 1).sum()),
                "most_steps": int(steps.max()),
            }
        }


def channels_last(images: Tensor) -> list[NDArray[np.float32]]:
    """Images (N, C, H, W) as the model takes them, (1, H, W, C) each."""
    return list(images.permute(0, 2, 3, 1).unsqueeze(1).contiguous().cpu().numpy())


def _load(path: Path) -> LoadedModel:
    with in_file(path):
        content = path.read_bytes()
        first = LoadedModel(content, delegate=False)
        return first if _WRONG_REFERENCE in first.left_to_kernels else LoadedModel(content, reference=True)
