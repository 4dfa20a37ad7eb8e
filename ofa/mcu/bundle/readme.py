"""`README.md` of a bundle."""

from __future__ import annotations

from latency_tables.cortex_m.boards import Board
from ofa.mcu.bundle.flashing import flashing_steps, openocd_files
from ofa.mcu.bundle.manifest import Manifest

_TEXT = """\
# {name} on {title}

An int8 network in C11 that needs no library: {macs:,} multiply-accumulates, {height} x {width} x {channels} in,
{classes} scores out.

| | needs | {board} has |
|---|---|---|
| SRAM | {arena:,} bytes of maps + {stack:,} of stack | {sram:,} |
| flash | {flash} | {flash_size:,} |
| instructions of an inference | {instructions} | |

`bundle.json` has all figures, and the SHA-256 of every file.

## Is it what it should be?

    make check                       # on this machine: {num} golden inputs, outputs compared bit for bit
    make sanitize                    # the same, and 1,000 random inputs, under sanitizers of memory and behaviour
    ofa verify-mcu .                 # on an emulated {core} with no more memory than the board has

`make host && build/net IMAGE` prints the scores of an image: {image_form}.

## In your program

Compile `net.c`, `weights.c`, `firmware/net_run.c` and `kernels/*.c` with your own sources (one object a source and no
link-time optimisation, if instructions are to stay as they were counted), and

    #include "net.h"

    {fill}
    ofa_net_run();
    /* score of class i: OFA_NET_OUTPUT_SCALE * (OFA_NET_OUTPUT[i] - OFA_NET_OUTPUT_ZERO) */

Input and output lie in `ofa_net_arena`, which every run overwrites: fill the input anew each time. The arena needs no
initial value: `board.ld` keeps it out of what is cleared at reset.

## On the board

    make firmware                               # with arm-none-eabi-gcc
    make firmware CC="zig cc"                   # or zig; from PyPI (pip install ziglang): CC="python3 -m ziglang cc"

and then one of

{flash_steps}

`firmware/firmware.c` is the smallest program: one inference after another, `ofa_done` is the place for a breakpoint.
Clocks, caches and peripherals are as they are after reset: to start them is up to your board's support code.

Golden inputs on the board itself, through a debugger (semihosting):

    make semihosting DWT=1
{semihosting}

It ends with `images {num}`, `wrong 0`, the bytes of stack in use, and `cycles`: what the core's cycle counter (DWT
CYCCNT) says of the last inference. With `make firmware DWT=1` that is in the variable `ofa_cycles`:

    gdb -ex "target remote :3333" -ex "break ofa_done" -ex continue -ex "print ofa_cycles" build/firmware.elf

Instructions are not cycles: flash wait states and caches decide the rest.
"""


def readme(manifest: Manifest, *, has_pixels: bool) -> str:
    board, (height, width, channels) = manifest.board, manifest.input.shape
    picture = f"{'PGM (P5)' if channels == 1 else 'PPM (P6)'} or raw bytes, {height} x {width} pixels"
    return _TEXT.format(
        name=manifest.name,
        title=board.title,
        board=board.name,
        core=board.core,
        macs=manifest.macs,
        height=height,
        width=width,
        channels=channels,
        classes=manifest.output.num_bytes,
        arena=manifest.claims.arena,
        stack=board.stack,
        sram=board.sram.size,
        flash=_by_compiler(manifest.claims.flash, "bytes"),
        flash_size=board.flash.size,
        instructions=_by_compiler(manifest.claims.instructions, ""),
        num=manifest.golden.num,
        image_form=picture if has_pixels else "this bundle has no table of pixels, so `--run IN OUT` on int8 inputs",
        fill=(
            "ofa_net_set_pixels(picture);     /* height x width x channels bytes, as a camera has them */"
            if has_pixels
            else "/* fill OFA_NET_INPUT with OFA_NET_INPUT_BYTES int8 values */"
        ),
        flash_steps=_commands(flashing_steps(board)),
        semihosting=_commands([_semihosting(board)]),
    )


def _by_compiler(numbers: dict[str, int], unit: str) -> str:
    said = [f"{number:,} {unit}".strip() + f" ({compiler})" for compiler, number in numbers.items()]
    return ", ".join(said) or "not predicted: no compiler was installed"


def _commands(commands: list[str]) -> str:
    return "\n".join(f"    {command}" for command in commands)


def _semihosting(board: Board) -> str:
    interface, target = openocd_files(board) or ("YOUR_INTERFACE.cfg", "YOUR_TARGET.cfg")
    return (
        f'openocd -f {interface} -f {target} -c "program build/semihosting.elf verify" '
        '-c "arm semihosting enable" -c "reset run"'
    )
