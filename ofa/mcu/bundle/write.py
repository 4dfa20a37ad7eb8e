"""Writing a bundle: a folder that builds with a C compiler alone, and says what it needs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latency_tables.cortex_m.arena import Layout, plan
from latency_tables.cortex_m.boards import Board
from latency_tables.cortex_m.code_size import AROUND, BOOT, FIRMWARE, RUN, network_flash
from latency_tables.cortex_m.compilers import SOURCES, Firmware, build_firmware
from latency_tables.cortex_m.counting import Counter
from latency_tables.cortex_m.footprint import flash
from latency_tables.cortex_m.kernel_sources import kernel_sources
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.quantization import Affine, Bytes
from ofa.mcu.bundle.limits import check_fits, peak_layers
from ofa.mcu.bundle.linker_script import linker_script
from ofa.mcu.bundle.makefile import makefile
from ofa.mcu.bundle.manifest import FILE, Claims, Golden, Manifest, Port, list_files
from ofa.mcu.bundle.net import class_names, net_header, net_source
from ofa.mcu.bundle.pixels import pixel_tables
from ofa.mcu.bundle.readme import readme
from ofa.mcu.bundle.weights import lay_out_weights
from search_spaces.common.errors import UserError
from search_spaces.common.files import atomic_directory, file_digest, write_bytes, write_json, write_text

_C = Path(__file__).with_name("c")
_COPIED = ("main.c", "weights.c")
#: tried in this order; those that are not installed are passed over
COMPILERS = ("zig", "gcc")


def write_bundle(
    program: Program,
    folder: Path,
    *,
    board: Board,
    images: Bytes,
    name: str = "net",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    names_of_classes: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
    outputs: Bytes | None = None,
    compilers: Sequence[str] = COMPILERS,
    count: bool = True,
) -> Manifest:
    """Write `folder` whole, in the place of an older bundle, or not at all; its description.

    `images` (N, H, W, C) are the golden inputs as the network takes them; golden `outputs` (N, H', W', K) are those of
    `program.reference` unless given. `mean` and `std` of each channel, of pixels scaled to 0..1, make the table that
    pictures go through. Flash, and with `count` instructions, are predicted for those `compilers` that are installed.
    Raises `UserError` for a network that does not fit `board`, before anything is written.
    """
    if folder.exists() and not (folder / FILE).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError("holds other files than a bundle, and would be replaced", file=folder)
    if images.dtype != np.int8 or images.shape[1:] != program.shapes[program.input] or not len(images):
        raise UserError(f"golden inputs are (N, *{program.shapes[program.input]}) int8", value=images.shape)
    layout = plan(program)
    num_tables = 0 if mean is None else len(mean)
    check_fits(program, layout, board, flash=flash(program))
    firmwares = _firmwares(board, compilers)
    sizes = {
        firmware.provenance["compiler"]: network_flash(program, firmware, num_tables=num_tables, board=board.name)
        for firmware in firmwares
    }
    if sizes:
        check_fits(program, layout, board, flash=min(sizes.values()))
    if outputs is None:
        outputs = program.reference(images)
    claims = Claims(
        arena=layout.num_bytes,
        flash=sizes,
        instructions={each.provenance["compiler"]: predicted_instructions(program, each) for each in firmwares}
        if count
        else {},
        peak_layers=peak_layers(program, layout),
    )
    with atomic_directory(folder) as made:
        tables = None if mean is None or std is None else pixel_tables(mean, std, program.affine[program.input])
        classes = names_of_classes or [str(number) for number in range(program.size(program.output))]
        sources = _write_sources(made, program, layout, board, tables, classes)
        write_bytes(made / "golden" / "inputs.bin", np.ascontiguousarray(images).tobytes())
        write_bytes(made / "golden" / "outputs.bin", np.ascontiguousarray(outputs).tobytes())
        described: dict[str, Any] = {
            "schema": 1,
            "name": name,
            "board": board.model_dump(mode="json"),
            "input": _port(program, layout, program.input).model_dump(mode="json"),
            "output": _port(program, layout, program.output).model_dump(mode="json"),
            "claims": claims.model_dump(mode="json"),
            "golden": Golden(num=len(images)).model_dump(mode="json"),
            "macs": program.macs,
            "sources": sources,
            "facts": dict(facts or {}),
            "files": {},
        }
        write_text(made / "README.md", readme(Manifest.model_validate(described), has_pixels=tables is not None))
        described["files"] = {path: file_digest(made / path) for path in list_files(made)}
        write_json(made / FILE, described)
    return Manifest.model_validate(described)


def predicted_instructions(program: Program, firmware: Firmware) -> int:
    """Of one inference: the sum over its calls, each counted by itself."""
    counter = Counter(firmware)
    return counter.total(program) + counter.around


def image_sources(program: Program, board: Board) -> list[str]:
    """C files of the image, as they are called in a bundle, in the order they are linked."""
    boot = [f"firmware/{BOOT[board.name]}"] if board.name in BOOT else []
    kernels = sorted({RUN, *kernel_sources(call.kernel for call in program.calls)})
    around = [f"firmware/{source}" for source in AROUND]
    return [*boot, *around, "net.c", "weights.c", *(f"kernels/{source}" for source in kernels)]


def _firmwares(board: Board, compilers: Sequence[str]) -> list[Firmware]:
    found = []
    for compiler in compilers:
        try:
            found.append(build_firmware(board.processor, compiler))
        except UserError:
            continue  # predictions are made for what is installed
    return found


def _write_sources(
    folder: Path, program: Program, layout: Layout, board: Board, tables: Bytes | None, classes: Sequence[str]
) -> list[str]:
    weights, sources = lay_out_weights(program), image_sources(program, board)
    write_bytes(folder / "weights.bin", weights.data)
    write_text(folder / "net.h", net_header(program, layout, weights, tables))
    write_text(folder / "net.c", net_source(program, layout, weights, tables))
    write_text(folder / "classes.h", class_names(classes))
    for name in _COPIED:
        write_text(folder / name, (_C / name).read_text())
    with (folder / "weights.c").open("a") as stream:  # a compiler's cache does not look into what .incbin names
        stream.write(f"\n/* SHA-256 of weights.bin: {hashlib.sha256(weights.data).hexdigest()} */\n")
    write_text(folder / "firmware" / "semihosting.c", (_C / "semihosting.c").read_text())
    for source in sources:
        kind, _, name = source.rpartition("/")
        if kind:
            write_text(folder / source, ({"kernels": SOURCES, "firmware": FIRMWARE}[kind] / name).read_text())
    for header in SOURCES.glob("*.h"):
        write_text(folder / "kernels" / header.name, header.read_text())
    write_text(folder / "board.ld", linker_script(board))
    write_text(folder / "Makefile", makefile(board, sources))
    return sources


def _port(program: Program, layout: Layout, name: str) -> Port:
    affine = program.affine.get(name, Affine(1.0, 0))
    return Port(
        offset=layout.offsets[name], shape=program.shapes[name], scale=float(affine.scale), zero=int(affine.zero)
    )
