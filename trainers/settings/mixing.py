"""The section `train.mixing` of a config."""

from __future__ import annotations

from pydantic import Field, model_validator

from search_spaces.common.errors import UserError
from search_spaces.common.settings import Settings


class MixingSettings(Settings):
    """Mixing the images of a forward pass, and their labels in the same proportion.

    `mixup` (https://arxiv.org/abs/1710.09412) and `cutmix` (https://arxiv.org/abs/1905.04899) are the two parameters,
    equal, of the Beta distribution that the proportion comes from; 0 is off. Each micro-batch is mixed with
    `probability`; where both are on, by cutmix with probability `switch`.
    """

    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0)
    probability: float = Field(1.0, gt=0, le=1)
    switch: float = Field(0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _mixes(self) -> MixingSettings:
        if not (self.mixup or self.cutmix):
            raise UserError("neither mixup nor cutmix is above 0", hint="Set one of them, as in {mixup: 0.2}")
        return self
