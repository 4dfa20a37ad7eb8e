"""The `export` section of a config."""

from __future__ import annotations

from typing import Any

import pydantic

from search_spaces.common.errors import UserError
from search_spaces.common.settings import Settings

#: in the place of forms: every one that is installed
ALL = "all"


class ExportSettings(Settings):
    """Which forms the winners are written in, how closely the forms must agree, and whether winners are trained on
    before.
    """

    forms: tuple[str, ...] = pydantic.Field(default=("safetensors", "pt2", "onnx"), min_length=1)
    """Names of forms, or `all`: those that are installed."""
    tolerance: float = pydantic.Field(default=1e-4, gt=0)
    """Largest absolute difference of any logit between the network and any of its forms."""
    num_images: int = pydantic.Field(default=64, ge=64)
    """Real images (of the selection split) the forms are compared on."""
    num_calibration_images: int = pydantic.Field(default=256, ge=1)
    """Images of the calibration split that forms in integers are calibrated on."""
    board: str | None = None
    """The microcontroller board of the form `mcu`: a name, or the path of a YAML file."""
    npu: str = "ethos-u55-128"
    """The accelerator of the form `ethos-u`: ethos-u55-32, -64, -128, -256, or an ethos-u65."""
    measure_forms: bool = True
    """Whether the latency of every file that runs here is measured, all of them beside each other."""
    licence: str | None = None
    """Of the weights, as SPDX has it, for the model card; left out: not stated."""
    batch_size: int = pydantic.Field(default=256, ge=1)
    finetune_epochs: int = pydantic.Field(default=0, ge=0)
    """Epochs each winner is trained on alone, distilled from the largest subnet; 0 leaves it as the supernet has it."""
    finetune_lr: float = pydantic.Field(default=1e-3, gt=0)
    finetune_weight_decay: float = pydantic.Field(default=1e-2, ge=0)
    finetune_batch_size: int = pydantic.Field(default=128, ge=2)

    @pydantic.field_validator("board")
    @classmethod
    def _known_board(cls, name: str | None) -> str | None:
        from latency_tables.cortex_m.boards import get_board

        if name is not None:
            get_board(name)
        return name

    @pydantic.model_validator(mode="after")
    def _has_board(self) -> ExportSettings:
        if "mcu" in self.forms and self.board is None:
            from latency_tables.cortex_m.boards import list_boards

            hint = f"Boards: {', '.join(list_boards())}, or a YAML file"
            raise UserError("the form mcu is for a board, and none is named", key="board", hint=hint)
        return self

    @pydantic.field_validator("forms", mode="before")
    @classmethod
    def _all(cls, forms: Any) -> Any:
        return [ALL] if forms == ALL else forms

    @pydantic.field_validator("forms")
    @classmethod
    def _known_and_distinct(cls, forms: tuple[str, ...]) -> tuple[str, ...]:
        from ofa.export.forms.registry import FORMS, form_name

        names = tuple(name if name == ALL else form_name(name) for name in forms)
        if ALL in names and len(names) > 1:
            raise UserError("'all' has every form in it already", value=list(forms))
        for name in names:
            if name != ALL:
                FORMS.get(name)
        if len(set(names)) != len(names):
            raise UserError("names a form twice")
        return names
