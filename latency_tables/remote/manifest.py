"""`Manifest`: what a bundle holds and how it is to be measured. The runner reads the same file without this class."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from latency_tables.identity import SpaceIdentity
from latency_tables.settings import DeviceSettings
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest
from search_spaces.common.settings import Settings

#: of `manifest.json` and of the results
SCHEMA = 1
FILE = "manifest.json"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class BundleItem(Settings):
    """A compiled model."""

    role: Literal["operator", "network", "empty"]
    key: str
    """Of the operator; `network_key` of a network."""
    file: Annotated[str, Field(pattern=r"^(operators|networks)/[A-Za-z0-9._-]+$")]
    sha256: Sha256
    input_shape: tuple[int, ...]
    """Of one input without its batch, as the space tells it: (C, H, W)."""
    num_bytes: Annotated[float, Field(ge=0)]
    """Roughly what it holds when loaded."""


class BundleRuntime(Settings):
    """What compiled the models. The device runs them with a version of its own, which its results tell."""

    name: str
    version: str
    suffix: Annotated[str, Field(pattern=r"^\.[a-z0-9]+$")]


class Manifest(Settings):
    """`settings` are the sampling plan; `digest` is that of all the rest."""

    # `schema` is a method of pydantic's models
    version: Annotated[Literal[1], Field(alias="schema")] = 1
    space: SpaceIdentity
    runtime: BundleRuntime
    precision: str
    settings: DeviceSettings
    seed: Annotated[int, Field(ge=0)]
    group_size: Annotated[int, Field(ge=1)]
    """Operators that are timed together: as many as a network has."""
    sentinels: list[str]
    """Operators that are timed as every round begins and ends, to tell how fast the device is just then."""
    items: Annotated[list[BundleItem], Field(min_length=1)]
    digest: Sha256

    @model_validator(mode="after")
    def _untouched(self) -> Manifest:
        if self.digest != digest(self.content()):
            raise UserError("was changed after it was written", key="digest", value=self.digest)
        return self

    def content(self) -> dict[str, Any]:
        """JSON-able, without the digest."""
        return self.model_dump(mode="json", by_alias=True, exclude={"digest"})

    @staticmethod
    def of(**parts: Any) -> Manifest:
        """The manifest with these parts: all fields but `schema` and `digest`."""
        draft = Manifest.model_construct(version=1, digest="", **parts)
        return Manifest.model_validate({"schema": SCHEMA, **parts, "digest": digest(draft.content())})
