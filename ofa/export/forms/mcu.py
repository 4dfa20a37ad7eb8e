"""`mcu/`: a folder of C for a microcontroller, with the network in int8, quantised on images of the calibration split.

It is computed here by the same C, compiled for this machine; golden outputs are those of the integer reference. Where
a compiler for the core and an emulator are installed, the image runs on the emulated board too, and all that the bundle
says of itself is checked.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latency_tables.cortex_m.boards import get_board
from latency_tables.cortex_m.quantization import Affine
from ofa.export.forms.base import Predict, Source
from ofa.mcu.bundle import check_files, read_manifest, write_bundle
from ofa.mcu.bundle.manifest import FILE
from ofa.mcu.integer import quantize_images
from ofa.mcu.quantize import quantize_network
from ofa.mcu.verify import verify_bundle
from ofa.mcu.verify.build import build_host
from search_spaces.common.errors import UserError
from search_spaces.common.files import file_digest


class McuForm:
    name = "mcu"
    file = "mcu"
    exact = False
    requires = ()
    usage = None

    def write(self, source: Source, folder: Path) -> None:
        deployment = source.deployment
        if source.calibration is None or deployment is None or deployment.board is None:
            raise UserError("needs a board, and images to calibrate with", file=self.file, key="board")
        board = get_board(deployment.board)
        program = quantize_network(source.network, source.calibration, settings=deployment.quantization)
        write_bundle(
            program,
            folder / self.file,
            board=board,
            images=quantize_images(program, deployment.golden),
            name=str(deployment.facts.get("key", "net")),
            mean=deployment.mean,
            std=deployment.std,
            names_of_classes=deployment.class_names,
            facts={**deployment.facts, "quantization": deployment.quantization.model_dump(mode="json")},
        )

    def load(self, folder: Path) -> Predict:
        """The bundle's C on this machine. Raises `UserError` where there is no compiler for it."""
        bundle = folder / self.file
        manifest = read_manifest(bundle)
        check_files(bundle, manifest)
        before, after = Affine(manifest.input.scale, manifest.input.zero), manifest.output
        place = tempfile.TemporaryDirectory(prefix="ofa-mcu-")  # as long as the function that is returned
        program = build_host(bundle, manifest, Path(place.name) / "net")
        if program is None:
            hint = "pip install 'ofa-nas[mcu]', or install gcc or clang"
            raise UserError("the form mcu is checked by a C compiler, and there is none", key="forms.mcu", hint=hint)

        def predict(images: Tensor) -> Tensor:
            inputs, outputs = Path(place.name) / "inputs.bin", Path(place.name) / "outputs.bin"
            rows = before.quantize(images.detach().float().cpu().permute(0, 2, 3, 1).numpy())
            inputs.write_bytes(np.ascontiguousarray(rows).tobytes())
            subprocess.run([program, "--run", str(inputs), str(outputs)], check=True, capture_output=True)
            q = np.frombuffer(outputs.read_bytes(), dtype=np.int8).reshape(len(images), -1)
            return torch.from_numpy(Affine(after.scale, after.zero).real(q)).float()

        return predict

    def digest(self, folder: Path) -> str:
        check_files(folder / self.file, read_manifest(folder / self.file))
        return file_digest(folder / self.file / FILE)

    def num_bytes(self, folder: Path) -> int:
        manifest = read_manifest(folder / self.file)
        return sum((folder / self.file / name).stat().st_size for name in (FILE, *manifest.files))

    def examine(self, source: Source, folder: Path) -> Mapping[str, Any]:
        """What the bundle needs of its board, and what the emulated board says; null where there is none.

        Raises `UserError` where the emulator finds something else than what the bundle says.
        """
        manifest = read_manifest(folder / self.file)
        needs = {"board": manifest.board.name, **manifest.claims.model_dump(mode="json")}
        if any(find_spec(package) is None for package in ("unicorn", "ziglang", "elftools")):
            return {"needs": needs, "verified": None}
        found = verify_bundle(folder / self.file)
        if not found.holds:
            what = f"the bundle does not do on the emulated board what it says: {found.complaint}"
            raise UserError(what, file=self.file)
        return {"needs": needs, "verified": found.facts()}
