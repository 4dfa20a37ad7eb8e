"""What kind each instruction of a piece of Thumb-2 code is, read from its encoding.

Arm, "ARMv7-M Architecture Reference Manual" (DDI 0403), A5.2 and A5.3: the tables of 16-bit and of 32-bit encodings.
"""

from __future__ import annotations

CLASSES = ("load", "store", "multiply", "divide", "branch", "other")


def instruction_classes(code: bytes) -> tuple[int, ...]:
    """How many instructions of each of `CLASSES` the code has, in their order; whole instructions only."""
    counts = dict.fromkeys(CLASSES, 0)
    place = 0
    while place < len(code):
        first = int.from_bytes(code[place : place + 2], "little")
        if first >> 11 in (0b11101, 0b11110, 0b11111):  # the first half of two
            counts[_wide(first, int.from_bytes(code[place + 2 : place + 4], "little"))] += 1
            place += 4
        else:
            counts[_narrow(first)] += 1
            place += 2
    assert place == len(code), "cut in an instruction"
    return tuple(counts.values())


def _narrow(code: int) -> str:
    top = code >> 12
    if code >> 11 == 0b01001 or code >> 9 == 0b1011110:  # LDR (literal), POP
        return "load"
    if code >> 9 == 0b1011010:  # PUSH
        return "store"
    if top == 0b0101:  # register offset: STR, STRH, STRB; LDRSB, LDR, LDRH, LDRB, LDRSH
        return "store" if code >> 9 & 7 < 3 else "load"
    if top in (0b0110, 0b0111, 0b1000, 0b1001, 0b1100):  # immediate offset, SP-relative, multiple
        return "load" if code & 0x0800 else "store"
    if code >> 6 == 0b0100001101:
        return "multiply"
    conditional = top == 0b1101 and code >> 8 & 15 < 14
    if conditional or code >> 11 == 0b11100 or code >> 8 == 0b01000111 or code & 0xF500 == 0xB100:
        return "branch"  # B, BX and BLX, CBZ and CBNZ
    return "other"


def _wide(first: int, second: int) -> str:
    kind, op = first >> 11 & 3, first >> 4 & 0x7F
    if kind == 1:
        if op & 0x64 == 0x04 and first & 0xFFF0 == 0xE8D0 and second & 0xE0 == 0:  # TBB, TBH
            return "branch"
        if op & 0x60 == 0:  # multiple, dual, exclusive
            return "load" if op & 1 else "store"
        return "other"
    if kind == 2:
        if second & 0x8000 and (second & 0x5000 or op & 0x38 != 0x38):  # B and BL; the rest are hints and barriers
            return "branch"
        return "other"
    if op & 0x71 == 0:
        return "store"
    if op & 0x67 in (0x01, 0x03, 0x05):
        return "load"
    if op & 0x78 == 0x38 and op & 7 in (1, 3):
        return "divide"
    return "multiply" if op & 0x70 == 0x30 else "other"
