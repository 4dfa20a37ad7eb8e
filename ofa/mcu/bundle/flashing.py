"""How an image gets onto a board: the usual tools, by the board's name."""

from __future__ import annotations

from latency_tables.cortex_m.boards import Board

#: OpenOCD's target files, by the beginning of a board's name
_OPENOCD = {
    "stm32f4": ("interface/stlink.cfg", "target/stm32f4x.cfg"),
    "stm32f7": ("interface/stlink.cfg", "target/stm32f7x.cfg"),
    "stm32h7": ("interface/stlink.cfg", "target/stm32h7x.cfg"),
    "nrf52": ("interface/jlink.cfg", "target/nrf52.cfg"),
    "rp2350": ("interface/cmsis-dap.cfg", "target/rp2350.cfg"),
    "sam3x": ("interface/cmsis-dap.cfg", "target/at91sam3ax_8x.cfg"),
}

_DIRECT = {
    "stm32": "st-flash --reset write build/firmware.bin {origin:#010x}",
    "nrf52": "nrfjprog --program build/firmware.bin --sectorerase --verify --reset",
    "rp2350": "picotool load -t bin build/firmware.bin -o {origin:#010x} && picotool reboot",
    "sam3x": "bossac --erase --write --verify --boot=1 --reset build/firmware.bin",
}


def openocd_files(board: Board) -> tuple[str, str] | None:
    """The interface and the target; None for a board that nothing is known of."""
    return next((files for start, files in _OPENOCD.items() if board.name.startswith(start)), None)


def flashing_steps(board: Board) -> list[str]:
    """Shell commands, one of which is enough."""
    direct = next((text for start, text in _DIRECT.items() if board.name.startswith(start)), None)
    steps = [] if direct is None else [direct.format(origin=board.flash.origin)]
    interface, target = openocd_files(board) or ("YOUR_INTERFACE.cfg", "YOUR_TARGET.cfg")
    program = '-c "program build/firmware.elf verify reset exit"'
    return [*steps, f"openocd -f {interface} -f {target} {program}"]
