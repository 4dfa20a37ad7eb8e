"""How accurate subnets are in int8, computed in integers as the microcontroller will; kept in `int8_accuracy.jsonl`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.common.errors import UserError
from search_spaces.common.files import append_line, digest, read_json, read_lines

if TYPE_CHECKING:
    from ofa.config import RunConfig
    from search_spaces import Architecture
    from trainers.checkpoints.store import LoadedSupernet
    from trainers.data import ImageData

FILE = "int8_accuracy.jsonl"


class Int8Evaluator:
    """Quantises subnets of a run and scores them on its selection split; each once. Supernet and images are loaded when
    first needed.

    Raises `UserError` for a damaged file. Lines of other weights, images, settings or kernels are kept but not used.
    """

    def __init__(self, run: Path, config: RunConfig) -> None:
        self._run, self._config = Path(run), config
        self._loaded: tuple[LoadedSupernet, ImageData] | None = None
        self._setup = _setup(self._run, config)
        self._known: dict[str, float] = {}
        for number, line in enumerate(read_lines(self._run / FILE, "file of int8 accuracies"), start=1):
            if not _sound(line):
                hint = "Delete the file to compute them again"
                raise UserError(f"line {number} is no accuracy of a network", file=self._run / FILE, hint=hint)
            if line["setup"] == self._setup:
                self._known[line["key"]] = line["accuracy"]

    def __call__(self, architecture: Architecture) -> float:
        """Accuracy on the selection split, in 0..1: without fine-tuning, and whatever the memory plan."""
        if architecture.key not in self._known:
            accuracy = self._accuracy(architecture)
            append_line(self._run / FILE, {"key": architecture.key, "accuracy": accuracy, "setup": self._setup})
            self._known[architecture.key] = accuracy
        return self._known[architecture.key]

    def _accuracy(self, architecture: Architecture) -> float:
        from ofa.mcu.integer import evaluate_program
        from ofa.mcu.quantize import calibration_images, quantize_network
        from trainers.evaluation.evaluate import specialize

        supernet, data = self._load()
        settings, side = self._config.quantization, architecture.resolution
        network = specialize(supernet, architecture, data, cache=self._run / "calibrated")
        images = calibration_images(data, resolution=side, num_images=settings.num_images)
        program = quantize_network(network, images, settings=settings, plan="naive")
        batches = data.batches("selection", resolution=side, batch_size=self._config.records.batch_size)
        return float(evaluate_program(program, batches).accuracy)

    def _load(self) -> tuple[LoadedSupernet, ImageData]:
        from trainers.checkpoints.store import load_supernet
        from trainers.data import load_data

        if self._loaded is None:
            self._loaded = load_supernet(self._run), load_data(self._config.data, seed=self._config.seed)
        return self._loaded


def _setup(run: Path, config: RunConfig) -> str:
    """A digest of all that decides the accuracies."""
    from latency_tables.cortex_m.compilers import kernels_digest

    info = read_json(run / "supernet.json", "supernet description")
    splits = info["data"].get("split_sha256", {})
    settings = config.quantization.model_dump(mode="json")
    used = [splits.get(split) for split in ("calibration", "selection")]
    return digest([info["weights_sha256"], info["space"], used, settings, kernels_digest()])[:16]


def _sound(line: Any) -> bool:
    return (
        isinstance(line, dict)
        and isinstance(line.get("key"), str)
        and isinstance(line.get("setup"), str)
        and isinstance(line.get("accuracy"), (int, float))
        and 0 <= line["accuracy"] <= 1
    )
