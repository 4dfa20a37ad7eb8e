"""LiteRT's interpreter: a model ready to be called, or with every value of its graph left to look at."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from latency_tables.tflite.file import TFLiteModel, is_tflite
from search_spaces.common.errors import UserError


class LoadedModel:
    """A model whose input is set once; a call is one inference and nothing else."""

    def __init__(self, content: bytes, *, threads: int = 1, delegate: bool = True, reference: bool = False) -> None:
        """XNNPACK, which LiteRT's own resolver brings, runs all that it can, unless `delegate` is False; with
        `reference`, LiteRT's reference kernels run everything. Raises `UserError` if LiteRT cannot load the model.
        """
        resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        resolver = OpResolverType.BUILTIN_REF if reference else resolver
        try:
            if not is_tflite(content):
                raise ValueError("it does not begin as one")
            self._interpreter = _interpreter(content, resolver, threads=threads)
        except (ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or ["?"])[0]
            raise UserError(f"not a TFLite model that LiteRT can load ({reason})") from None
        self._invoke: Callable[[], object] = self._interpreter._interpreter.Invoke  # without a check of references

    def call(self) -> LoadedModel:
        """One inference."""
        self._invoke()
        return self

    @property
    def input_shapes(self) -> list[tuple[int, ...]]:
        return [tuple(int(side) for side in entry["shape"]) for entry in self._interpreter.get_input_details()]

    @property
    def left_to_kernels(self) -> list[str]:
        """Kinds of operators that XNNPACK did not take: they run on LiteRT's own kernels."""
        operators = self._interpreter._get_ops_details()
        taken: set[int] = set()
        kept = [entry for entry in operators if entry["op_name"] != "DELEGATE"]
        replaced = [entry for entry in operators if entry["op_name"] == "DELEGATE"]
        if not replaced:
            return [entry["op_name"] for entry in kept]
        # what a delegate needs and gives are the edges of its part of the graph: all between them is inside
        by_output = {int(tensor): entry for entry in kept for tensor in entry["outputs"]}
        for part in replaced:
            edges, todo = {int(tensor) for tensor in part["inputs"]}, [int(tensor) for tensor in part["outputs"]]
            while todo:
                entry = by_output.get(todo.pop())
                if entry is None or entry["index"] in taken:
                    continue
                taken.add(entry["index"])
                todo += [int(tensor) for tensor in entry["inputs"] if int(tensor) not in edges]
        return [entry["op_name"] for entry in kept if entry["index"] not in taken]

    def set_inputs(self, *arrays: NDArray[np.float32]) -> None:
        """Of the shapes of the model's inputs; converted to int8 where it takes that."""
        entries = self._interpreter.get_input_details()
        if len(entries) != len(arrays):
            raise UserError(f"this model takes {len(entries)} inputs, not {len(arrays)}")
        for entry, array in zip(entries, arrays, strict=True):
            self._interpreter.set_tensor(entry["index"], _as_stored(array, entry))

    @property
    def stored_input(self) -> NDArray[Any]:
        """The first input as the model has it."""
        return np.array(self._interpreter.get_tensor(self._interpreter.get_input_details()[0]["index"]))

    @property
    def stored_output(self) -> NDArray[Any]:
        """The first output as the last `call` left it, not converted."""
        return np.array(self._interpreter.get_tensor(self._interpreter.get_output_details()[0]["index"]))

    def output(self) -> NDArray[np.float32]:
        """The first output as the last `call` left it, converted from int8 where the model gives that."""
        entry = self._interpreter.get_output_details()[0]
        found = self._interpreter.get_tensor(entry["index"])
        scale, zero = entry["quantization"]
        if found.dtype == np.float32:
            return np.asarray(found)
        return ((found.astype(np.int32) - zero) * np.float32(scale)).astype(np.float32)


def value_ranges(model: TFLiteModel, inputs: Iterable[NDArray[np.float32]]) -> dict[int, tuple[float, float]]:
    """The least and the greatest finite value that each float tensor of `model` takes with these inputs, by `id`."""
    interpreter = _interpreter(model.to_bytes(), OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, preserve=True)
    index = interpreter.get_input_details()[0]["index"]
    watched = [(number, t) for number, t in enumerate(model.tensors()) if t.dtype == "float32" and t.data is None]
    constants = [t for t in model.tensors() if t.dtype == "float32" and t.data is not None]
    found = {id(tensor): _range(tensor.data) for tensor in constants if tensor.data is not None}
    for x in inputs:
        interpreter.set_tensor(index, x)
        interpreter.invoke()
        for number, tensor in watched:
            low, high = _range(interpreter.get_tensor(number))
            before = found.get(id(tensor), (low, high))
            found[id(tensor)] = min(before[0], low), max(before[1], high)
    return found


def _range(values: NDArray[np.float32]) -> tuple[float, float]:
    """Of finite values, as far as they are no stand-ins for infinity; (0, 0) if there are none."""
    sound = values[np.abs(values) < 1e30]
    return (float(sound.min()), float(sound.max())) if sound.size else (0.0, 0.0)


def _interpreter(content: bytes, resolver: OpResolverType, *, threads: int = 1, preserve: bool = False) -> Interpreter:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = Interpreter(
            model_content=content,
            num_threads=threads,
            experimental_op_resolver_type=resolver,
            experimental_preserve_all_tensors=preserve,
        )
    interpreter.allocate_tensors()
    return interpreter


def _as_stored(array: NDArray[np.float32], entry: dict[str, Any]) -> NDArray[Any]:
    if entry["dtype"] == np.float32:
        return array
    if entry["dtype"] != np.int8:
        raise UserError(f"input {entry['name']!r} is of type {np.dtype(entry['dtype'])}, not float32 or int8")
    scale, zero = entry["quantization"]
    return np.clip(np.rint(array / (scale or 1.0)) + zero, -128, 127).astype(np.int8)
