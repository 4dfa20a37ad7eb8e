"""Operators and networks in words, whatever the family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Layer = Mapping[str, Any]


def operator_words(layer: Layer) -> str:
    """`mbconv 5×5, expand ×4, SE` or `attention hilo, 3 heads, rank 12`, from what `describe_operator` gives."""
    options = layer["options"]
    parts = []
    kernel = options.get("kernel_size")
    if kernel is not None:
        parts.append(f"{kernel}×{kernel}")
    mid = options.get("mid_channels")
    if mid is not None and options.get("expansion"):
        parts.append(f"expand ×{mid / layer['in_channels']:.2g}")
    if options.get("stride", 1) != 1:
        parts.append(f"stride {options['stride']}")
    if options.get("se_channels"):
        parts.append("SE")
    if options.get("residual"):
        parts.append("residual")
    parts += _of_transformers(layer["kind"], layer["in_channels"], options)
    return f"{layer['kind']} {', '.join(parts)}".strip()


def operator_label(layer: Layer) -> str:
    """The same in a few characters, for a block of a diagram: `5×5 e4`, `hilo 3h`, `×2`."""
    options, parts = layer["options"], []
    if (kernel := options.get("kernel_size")) is not None:
        parts.append(f"{kernel}×{kernel}")
    if "patch" in options:
        parts.append(f"{options['patch']}×{options['patch']}")
    if "form" in options:
        parts.append(str(options["form"]))
    if options.get("heads"):
        parts.append(f"{options['heads']}h")
    mid = options.get("mid_channels")
    if mid is not None and (options.get("expansion") or layer["kind"] == "mlp"):
        parts.append(f"e{mid / layer['in_channels']:.2g}")
    return " ".join(parts) or str(layer["kind"])


def architecture_words(values: Mapping[str, Any]) -> str:
    """`resolution 16 · depth 3 2 1 · kernel 3 3 5 – – ...`: every group of choices, a dash for what is switched off."""
    return " · ".join(f"{group} {_values(value)}" for group, value in values.items())


def _values(value: Any) -> str:
    entries = value if isinstance(value, list | tuple) else [value]
    return " ".join("–" if entry is None else str(entry) for entry in entries)


def _of_transformers(kind: str, width: int, options: Mapping[str, Any]) -> Iterator[str]:
    if "patch" in options:
        yield f"{options['patch']}×{options['patch']}"
    if "form" in options:
        yield str(options["form"])
    if options.get("heads"):
        yield f"{options['heads']} heads"
    if kind == "mlp":
        yield f"expand ×{options['mid_channels'] / width:.2g}"
    if options.get("rank"):
        yield f"rank {options['rank']}"
    if options.get("drops"):
        yield f"drops {options['drops']} tokens"
