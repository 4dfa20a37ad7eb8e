"""The `train.init` section: the weights that training starts from, and how they are known again."""

from __future__ import annotations

from pathlib import Path

import pydantic
from pydantic import Field

from search_spaces.common.errors import UserError
from search_spaces.common.files import file_digest, read_json
from search_spaces.common.settings import Settings


class InitSettings(Settings):
    """Start weights instead of fresh ones: of a published checkpoint `file`, or of the supernet of another `run`.

    A file goes into the largest subnet wherever its shapes allow (`trainers/start/pretrained.py`). A run must be of the
    same space; then the first phase may be distilled from a teacher, that run's largest subnet. Relative paths
    start at the folder the command runs in. `sha256` is that of the file (or of the run's weights); left out, it is
    computed. A training is known again by it, not by the path.
    """

    file: Path | None = None
    run: Path | None = None
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> InitSettings:
        if (self.file is None) == (self.run is None):
            raise UserError("needs either file (a checkpoint) or run (a run folder)")
        return self

    @property
    def source(self) -> Path:
        path = self.file or self.run
        assert path is not None
        return path

    def pinned(self) -> InitSettings:
        """The same with `sha256`. Raises `UserError` if it has to be computed and the source is not there."""
        return self if self.sha256 is not None else self.model_copy(update={"sha256": self.found_sha256()})

    def found_sha256(self) -> str:
        """The hash of what is there now. Raises `UserError` if nothing is."""
        if self.run is not None:
            described = self.run / "supernet.json"
            info = read_json(described, "supernet description")
            found = info.get("weights_sha256") if isinstance(info, dict) else None
            if not isinstance(found, str):
                raise UserError("not a supernet description", file=described, key="weights_sha256", value=found)
            return found
        try:
            return file_digest(self.source)
        except OSError as error:
            raise UserError(
                f"these start weights cannot be read: {error.strerror or error}",
                key="train.init.file",
                value=str(self.file),
                hint="A finished or begun training needs them no more if train.init.sha256 says which they were",
            ) from None
