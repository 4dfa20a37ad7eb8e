"""Reading the YAML files; every value is checked before anything is done with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from latency_tables.once_for_all.operators import BLOCK, FIRST, FRAMES, OperatorText, parse_operator
from search_spaces.common.errors import UserError, unknown_name
from search_spaces.common.files import file_digest
from search_spaces.common.settings import Settings, load_yaml, parse_settings

#: factors to ms
UNITS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}


def _number(value: Any) -> Any:
    """YAML reads `1e-3` as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


class Statistics(Settings):
    """One operator, in the unit of the file."""

    count: Annotated[int, Field(strict=True, ge=1)]
    mean: Annotated[float, Field(strict=True, gt=0), BeforeValidator(_number)]
    std: Annotated[float, Field(strict=True, ge=0), BeforeValidator(_number)]


@dataclass(frozen=True)
class LookupFile:
    """A file's lines by operator string. `unit` is what the file itself says, if it does; `frame` holds the (input,
    output) channels of the operators that every network of the `family` has once.
    """

    path: Path
    sha256: str
    unit: str | None
    family: str
    resolutions: tuple[int, ...]
    frame: dict[str, tuple[int, int]]
    lines: dict[str, Statistics]


def read_lookup(path: Path | str) -> LookupFile:
    """Raises `UserError` for a file that is not of this form, or holds a value that is no latency."""
    path = Path(path)
    data = load_yaml(path, what="latency table", holds="operators")
    operators = [operator for text in data if (operator := parse_operator(str(text))) is not None]
    resolutions = sorted({operator.side for operator in operators if operator.kind == FIRST})
    if not resolutions:
        raise UserError(
            "not a latency table as once-for-all writes them: none of its lines is the first convolution",
            file=path,
            hint=f"Expected lines like {FIRST}-input:160x160x3-output:80x80x24, each with count, mean and std",
        )
    unit = data.pop("unit", None)
    if unit is not None and unit not in UNITS:
        raise unknown_name("unit", unit, UNITS, file=path, key="unit")
    lines = {str(text): parse_settings(Statistics, value, file=path, prefix=str(text)) for text, value in data.items()}
    family = _family(operators, path)
    return LookupFile(
        path, file_digest(path), unit, family, tuple(resolutions), _frame(operators, FRAMES[family], path), lines
    )


def _family(operators: Sequence[OperatorText], path: Path) -> str:
    families = sorted({operator.family for operator in operators if operator.family is not None})
    if len(families) == 1:
        return families[0]
    if not families:
        raise UserError(f"none of its lines is a block ({BLOCK}-...)", file=path)
    raise UserError(
        "mixes operators of MobileNetV3 (blocks that end at hs) and ProxylessNAS (blocks that end at idskip)", file=path
    )


def _frame(operators: Sequence[OperatorText], kinds: Sequence[str], path: Path) -> dict[str, tuple[int, int]]:
    frame = {}
    for kind in kinds:
        channels = sorted({(op.in_channels, op.out_channels) for op in operators if op.kind == kind})
        if not channels:
            raise UserError(f"an operator is missing: none of its lines is {kind}-input:...", file=path)
        if len(channels) > 1:
            found = " and ".join(f"{inputs} to {outputs}" for inputs, outputs in channels)
            raise UserError(f"holds several networks' {kind}: from {found} channels", file=path)
        frame[kind] = channels[0]
    return frame
