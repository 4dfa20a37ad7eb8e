"""Where code, constants, stack and arena lie on a board."""

from __future__ import annotations

from latency_tables.cortex_m.boards import Board

_TEXT = """\
/* {title}: code and constants in flash, stack and arena in SRAM. The linker refuses what does not fit. */
ENTRY(ofa_reset)

MEMORY
{{
    FLASH (rx) : ORIGIN = {flash.origin:#x}, LENGTH = {flash.size}
    SRAM (rw) : ORIGIN = {sram.origin:#x}, LENGTH = {sram.size}
}}

SECTIONS
{{
    /* one section, so that a tool can be told what the image is */
    .text :
    {{
        KEEP(*(.vectors))
        KEEP(*(.vectors.image))
        *(.text .text.*)
        . = ALIGN(16);
        KEEP(*(.rodata.ofa_net_weights))
        *(.rodata .rodata.*)
    }} > FLASH

    /* at the bottom: a stack that grows too far leaves SRAM and faults, instead of writing over maps */
    .stack (NOLOAD) :
    {{
        ofa_stack_bottom = .;
        . += {stack};
        ofa_stack_top = .;
    }} > SRAM
    .arena (NOLOAD) : ALIGN(16) {{ *(.bss.ofa_net_arena) }} > SRAM
    .data : ALIGN(4)
    {{
        ofa_data_start = .;
        *(.data .data.*)
        . = ALIGN(4);
        ofa_data_end = .;
    }} > SRAM AT > FLASH
    ofa_data_load = LOADADDR(.data);
    .bss (NOLOAD) : ALIGN(4)
    {{
        ofa_bss_start = .;
        *(.bss .bss.* COMMON)
        . = ALIGN(4);
        ofa_bss_end = .;
    }} > SRAM
    /DISCARD/ : {{ *(.ARM.exidx* .ARM.extab* .ARM.attributes .comment .note*) }}
}}
"""


def linker_script(board: Board) -> str:
    """`board.ld`"""
    stack = -(-board.stack // 16) * 16
    return _TEXT.format(title=board.title.replace("*/", ""), flash=board.flash, sram=board.sram, stack=stack)
