"""How numbers of a comparison read that no other page has."""

from __future__ import annotations

from ofa import text


def total_macs(macs: float | None) -> str:
    """What a whole training computed: `460 GMACs`, `11.37 TMACs`; a dash for what is not known."""
    if macs is None or macs < 1e12:
        return text.count(macs, "macs")
    return f"{macs / 1e12:.4g} TMACs"


def hours(num: float) -> str:
    return f"{num:.1f} h" if num >= 1 else f"{60 * num:.1f} min"
