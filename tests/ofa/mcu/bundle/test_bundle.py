"""The folder that is written: whole, the same every time, and useful with a C compiler alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latency_tables.cortex_m.arena import plan
from latency_tables.cortex_m.boards import Board, Memory
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.quantization import Affine, Bytes
from ofa.mcu.bundle import read_manifest, write_bundle
from ofa.mcu.bundle.net import c_string, net_source
from ofa.mcu.bundle.pixels import pixel_tables, quantize_pixels
from ofa.mcu.bundle.weights import lay_out_weights
from ofa.mcu.verify.build import build_host, build_image
from search_spaces.common.errors import UserError

CLASSES = ("apple", 'a "quoted" \\ name??/', "Grüße")
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.3, 0.2)

needs_make = pytest.mark.skipif(not (shutil.which("make") and shutil.which("cc")), reason="needs make and cc")
needs_gcc = pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="needs arm-none-eabi-gcc")


def make(folder: Path, *words: str) -> str:
    """Nothing of this project is in the way: no Python path, no virtual environment."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    run = subprocess.run(["make", "-C", str(folder), *words], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "warning" not in run.stderr, run.stderr
    return run.stdout


@needs_make
def test_make_check_compares_the_golden_outputs(bundle: Path) -> None:
    assert "3 images, 0 wrong" in make(bundle, "check")
    outputs = bundle / "golden" / "outputs.bin"
    outputs.write_bytes(bytes([outputs.read_bytes()[0] ^ 1]) + outputs.read_bytes()[1:])
    run = subprocess.run(["make", "-C", str(bundle), "check"], capture_output=True, text=True)
    assert run.returncode != 0 and "3 images, 1 wrong" in run.stdout


@needs_make
def test_weights_may_be_an_array_of_c(bundle: Path) -> None:
    assert "0 wrong" in make(bundle, "check", "ARRAY=1")
    numbers = (bundle / "weights.inc").read_text().replace("\n", "").rstrip(",").split(",")
    assert bytes(map(int, numbers)) == (bundle / "weights.bin").read_bytes()


@needs_make
@pytest.mark.parametrize(
    "compiler", [pytest.param("zig", marks=pytest.mark.slow), pytest.param("gcc", marks=needs_gcc)]
)
def test_make_firmware_links_what_is_verified(bundle: Path, board: Board, compiler: str) -> None:
    cc = {"zig": f"{sys.executable} -m ziglang cc", "gcc": "arm-none-eabi-gcc"}[compiler]
    make(bundle, "firmware", f"CC={cc}")
    built = build_image(bundle, read_manifest(bundle), board, compiler=compiler)
    image = (bundle / "build" / "firmware.bin").read_bytes()
    assert len(image) == built.flash_bytes(board)
    for address, data in built.segments:
        start = address - board.flash.origin
        assert image[start : start + len(data)] == data
    make(bundle, "semihosting", "DWT=1", f"CC={cc}")


def test_a_picture_is_classified(made: Path, network: tuple[Program, Bytes], tmp_path: Path) -> None:
    program, _ = network
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    tables = pixel_tables(MEAN, STD, program.affine[program.input])
    scores = program.reference(quantize_pixels(pixels, tables)).ravel()
    best = int(scores.argmax())
    affine = program.affine[program.output]
    net = build_host(made, read_manifest(made), tmp_path / "net")
    assert net is not None
    for name, data in (("image.ppm", b"P6 # a comment\n12 12\n255\n" + pixels.tobytes()), ("raw", pixels.tobytes())):
        (tmp_path / name).write_bytes(data)
        said = subprocess.run([net, name], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
        assert said[-1] == f"{name}: {best} {CLASSES[best]}"
        assert [float(line.split()[-1]) for line in said[:-1]] == pytest.approx(affine.real(scores), abs=1e-4)
    (tmp_path / "other.ppm").write_bytes(b"P6\n12 13\n255\n" + bytes(12 * 13 * 3))
    run = subprocess.run([net, "other.ppm"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 2 and "is 12 x 13 pixels of 3 channels up to 255, not 12 x 12 of 3" in run.stderr


def test_pixels_are_normalised_as_in_training() -> None:
    import torch

    from trainers.data.augment import normalise

    affine = Affine(0.0173, -3)
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
    expected = affine.quantize(normalise(pixels, mean=mean, std=std)[0].permute(1, 2, 0).numpy())
    found = quantize_pixels(pixels[0].permute(1, 2, 0).numpy(), pixel_tables(MEAN, STD, affine))
    np.testing.assert_array_equal(found, expected)


def test_the_same_network_gives_the_same_bytes(
    made: Path, network: tuple[Program, Bytes], board: Board, tmp_path: Path
) -> None:
    program, images = network
    facts = {"mean": MEAN, "std": STD, "names_of_classes": CLASSES, "compilers": ("zig",)}
    write_bundle(program, tmp_path / "again", board=board, images=images[:3], **facts)
    files = [path.relative_to(made) for path in made.rglob("*") if path.is_file()]
    assert len(files) > 15
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (made / file).read_bytes(), file
    assert not any(str(Path.home()).encode() in (made / file).read_bytes() for file in files)


def test_a_network_that_does_not_fit_is_refused_with_the_layer_that_decides(
    network: tuple[Program, Bytes], board: Board, tmp_path: Path
) -> None:
    program, images = network
    layout = plan(program)
    peak = program.calls[layout.peak.last].output
    sram = Memory(origin=0x2000_0000, size=4096)
    small = board.model_copy(update={"sram": sram, "stack": 4096 - layout.num_bytes + 1})
    said = rf"4,096 bytes of SRAM, the network needs 4,097: .* set by .*{peak}.* of stack"
    with pytest.raises(UserError, match=said) as caught:
        write_bundle(program, tmp_path / "mcu", board=small, images=images[:1])
    assert caught.value.exit_code == 2
    small = board.model_copy(update={"flash": Memory(origin=0x0800_0000, size=8192)})
    largest = max(program.calls, key=lambda call: sum(array.nbytes for array in call.constants().values()))
    with pytest.raises(UserError, match=rf"8,192 bytes of flash, the network needs .*{largest.output!r}"):
        write_bundle(program, tmp_path / "mcu", board=small, images=images[:1])
    assert list(tmp_path.iterdir()) == []


def test_code_counts_where_constants_alone_would_fit(
    made: Path, network: tuple[Program, Bytes], board: Board, tmp_path: Path
) -> None:
    program, images = network
    (size,) = read_manifest(made).claims.flash.values()
    small = board.model_copy(update={"flash": Memory(origin=0x0800_0000, size=size - 1)})
    with pytest.raises(UserError, match=rf"the network needs {size:,}"):
        facts = {"mean": MEAN, "std": STD, "compilers": ("zig",)}
        write_bundle(program, tmp_path / "mcu", board=small, images=images[:1], **facts)


def test_other_folders_are_not_replaced(network: tuple[Program, Bytes], board: Board, tmp_path: Path) -> None:
    program, images = network
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds other files than a bundle"):
        write_bundle(program, tmp_path, board=board, images=images[:1])
    with pytest.raises(UserError, match="golden inputs"):
        write_bundle(program, tmp_path / "mcu", board=board, images=images[:1, :5])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_text_and_numbers_of_c(network: tuple[Program, Bytes]) -> None:
    assert c_string('a"\\?\n1é') == '"a\\042\\134\\077\\0121\\303\\251"'
    program, _ = network
    call = replace(program.calls[0], biases=program.calls[0].biases)  # type: ignore[type-var]
    text = net_source(program, plan(program), lay_out_weights(program), None)
    words = text[text.index("call_0 = {") :].partition("{")[2].partition("}")[0].replace("\n", "").split(",")
    assert len([word for word in words if word.strip()]) == len(call.arguments())
