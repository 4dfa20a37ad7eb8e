"""A network on a board: quantised, scored in integers, written as a bundle of C, and run in an emulator that has the
board's memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latency_tables.cortex_m.boards import get_board
from latency_tables.cortex_m.compilers import kernels_digest
from latency_tables.settings import BoardSettings
from ofa.mcu.bundle import check_files, read_manifest, write_bundle
from ofa.mcu.finetune import quantize_trained
from ofa.mcu.integer import evaluate_program, quantize_images
from ofa.mcu.settings import QuantizationSettings
from ofa.mcu.verify import verify_bundle
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest, file_digest
from trainers.data.test_ledger import score_once, stored_score

if TYPE_CHECKING:
    from latency_tables.cortex_m.program import Program
    from ofa.export.job import ExportJob

#: the folder of a bundle in an export; of further boards `mcu-NAME`
FOLDER = "mcu"

#: images whose outputs come with the bundle, and are computed again on the emulated board
NUM_GOLDEN = 8


@dataclass(frozen=True)
class BoardJob:
    """A board to put the network on, how to quantise it, and what the board's table says it costs, by metric."""

    device: BoardSettings
    quantization: QuantizationSettings
    predicted: Mapping[str, float]
    folder: str = FOLDER

    def inputs(self) -> list[Any]:
        """What the bundle depends on besides the network, JSON-able."""
        board = get_board(self.device.board).model_dump(mode="json")
        settings = [self.device.model_dump(mode="json"), self.quantization.model_dump(mode="json")]
        return [board, *settings, dict(self.predicted), self.folder, kernels_digest()]


def deploy(job: ExportJob, board_job: BoardJob, folder: Path, *, batch_size: int) -> dict[str, Any]:
    """Write the bundle into `folder`, run it in the emulator, and tell both: accuracies, what was predicted, what was
    found.

    Raises `UserError` for a network that does not fit the board, and if the emulated outputs are not those of the
    integers to the bit.
    """
    board, device, side = get_board(board_job.device.board), board_job.device, job.architecture.resolution
    quantized = quantize_trained(
        job.network,
        job.data,
        resolution=side,
        settings=board_job.quantization,
        plan=device.memory_plan,
        seed=job.data.seed,
    )
    program = quantized.program
    write_bundle(
        program,
        folder / board_job.folder,
        board=board,
        images=quantize_images(program, _first(job, NUM_GOLDEN)),
        name=job.name,
        mean=job.data.mean,
        std=job.data.std,
        names_of_classes=job.data.class_names,
        facts={"architecture": job.architecture.to_json(), "selection_accuracy": quantized.accuracy},
        compilers=(device.compiler,),
    )
    verified = verify_bundle(folder / board_job.folder, board=board, compiler=device.compiler)
    if not verified.holds:
        what = f"the bundle of {job.architecture.key} does not do on an emulated {board.name} what it says"
        message = f"{what}: {verified.complaint}"
        raise UserError(message, hint="Nothing was exported")
    return {
        "board": board.model_dump(mode="json"),
        "folder": board_job.folder,
        "sha256": file_digest(folder / board_job.folder / "bundle.json"),
        "memory_plan": device.memory_plan,
        "quantization": board_job.quantization.model_dump(mode="json"),
        "finetuned": quantized.finetuned,
        "accuracy": {
            "selection": {"accuracy": quantized.accuracy},
            "test": _test_score(job, board_job, program, batch_size),
        },
        "predicted": dict(board_job.predicted),
        "verified": verified.facts(),
    }


def is_whole(out: Path, facts: Mapping[str, Any]) -> bool:
    """Whether a bundle is still what was written. Raises `UserError` where files have changed."""
    folder = out / facts["folder"]
    check_files(folder, read_manifest(folder))
    return file_digest(folder / "bundle.json") == facts["sha256"]


def _first(job: ExportJob, num: int) -> Tensor:
    """Images of the selection split."""
    batches = job.data.batches("selection", resolution=job.architecture.resolution, batch_size=num)
    return torch.cat([next(iter(batches))[0]])


def _test_score(job: ExportJob, board_job: BoardJob, program: Program, batch_size: int) -> dict[str, Any] | None:
    """In integers, read once per network as any other; without the right to read, the score that it has."""
    setup = digest([board_job.quantization.model_dump(mode="json"), kernels_digest()])[:8]
    key = f"{job.test_key}-int8-{setup}"

    def score(batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        return {name: float(value) for name, value in asdict(evaluate_program(program, batches)).items()}

    stored = stored_score(job.ledger, key=key, split_sha256=job.data.split_sha256["test"])
    if stored is None and job.read_test:
        side = job.architecture.resolution
        stored = score_once(job.data, key=key, ledger=job.ledger, resolution=side, batch_size=batch_size, score=score)
    return None if stored is None else {**stored, "num_images": int(stored["num_images"])}
