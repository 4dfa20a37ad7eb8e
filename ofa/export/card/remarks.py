"""What is to be known of single forms: bits that were lost, the machine that code was compiled for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ofa import text
from ofa.export.card.markdown import bullets, code, escape


def remarks(forms: Mapping[str, Mapping[str, Any]]) -> str | None:
    """One line a form that there is something to say of, from what the report has of each."""
    lines = {name: "; ".join(_of(form)) for name, form in forms.items()}
    return bullets(f"{code(name)}: {line}." for name, line in lines.items() if line) or None


def _of(form: Mapping[str, Any]) -> Iterator[str]:
    if form.get("signal_db") is not None:
        moved, num = form.get("num_moved", 0), form["num_images"]
        yield (
            f"computes in fewer bits: {moved} of {num} images change their class, and its logits are "
            f"{form['signal_db']:.1f} dB above the noise of that"
        )
    if kept := form.get("float_operators"):
        yield f"in float32 all the same: {escape(', '.join(kept))}"
    if isa := form.get("isa"):
        yield f"compiled for {escape(form.get('machine', 'this machine'))} with {escape(isa)}: others do not run it"
    if vela := form.get("vela"):
        on_cpu = ", ".join(vela["cpu_operators"])
        yield (
            f"compiled for {escape(vela['accelerator'])} by Vela {escape(vela['version'])}, which counts "
            f"{vela['cycles']:,} cycles, {text.size(vela['sram_bytes'])} of SRAM and {text.size(vela['flash_bytes'])} "
            f"outside it, with {text.share(vela['npu_share'], 0)} of the operators on the accelerator"
            f"{f' (the others: {escape(on_cpu)})' if on_cpu else ''}"
        )
    if executed := form.get("executed"):
        yield f"what was run and scored here is {escape(executed)}"
