"""Runs a model in TensorFlow Lite Micro's interpreter, as a process of its own: it may end a process that it is in.

    python -P tflite_micro_runner.py MODEL.tflite INPUTS.npy OUTPUTS.npy ARENA_BYTES

INPUTS are (num, *input shape), OUTPUTS (num, *output shape), in the types of the model. The interpreter's words, the
allocations of its arena among them, go to stderr.
"""

from __future__ import annotations

import sys

import numpy as np
from tflite_micro import runtime  # type: ignore[import-untyped,import-not-found,unused-ignore]


def main(model: str, inputs: str, outputs: str, arena_bytes: str) -> None:
    interpreter = runtime.Interpreter.from_file(model, arena_size=int(arena_bytes))
    found = []
    for x in np.load(inputs):
        interpreter.set_input(x, 0)
        interpreter.invoke()
        found.append(np.array(interpreter.get_output(0)))
    interpreter.print_allocations()
    np.save(outputs, np.stack(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
