"""The whole config of a run: the trainer's sections and those of the later stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic

from latency_tables.settings import AnyDevice, BoardSettings, DeviceSettings
from ofa.export.settings import ExportSettings
from ofa.mcu.settings import QuantizationSettings
from ofa.search.settings import SearchSettings
from predictors.settings import PredictorSettings, RecordSettings
from search_spaces.common.errors import UserError
from search_spaces.common.settings import load_yaml, parse_settings
from trainers.settings.train import TrainingConfig, read_config

if TYPE_CHECKING:
    from search_spaces import SearchSpace


class RunConfig(TrainingConfig):
    """One YAML file, one reproducible run. `devices` are the machines whose latency the search may bound, and boards,
    for which networks are quantised.
    """

    devices: tuple[AnyDevice, ...] = ()
    records: RecordSettings = RecordSettings()
    predictor: PredictorSettings = PredictorSettings()
    search: SearchSettings
    export: ExportSettings = ExportSettings()
    quantization: QuantizationSettings = QuantizationSettings()

    @property
    def timed(self) -> tuple[DeviceSettings, ...]:
        """The devices that are measured here."""
        return tuple(device for device in self.devices if isinstance(device, DeviceSettings))

    @property
    def boards(self) -> tuple[BoardSettings, ...]:
        return tuple(device for device in self.devices if isinstance(device, BoardSettings))

    @pydantic.model_validator(mode="after")
    def _devices_differ(self) -> RunConfig:
        names = [device.name for device in self.devices]
        if len(set(names)) != len(names):
            raise UserError("two devices have the same name", key="devices", value=names)
        return self


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> RunConfig:
    """Read and check a config file. Raises `UserError` with file, key and value."""
    return parse_run_config(read_config(path, overrides), file=path)


def load_run_config(run: Path | str) -> RunConfig:
    """The config a run folder was made with. Raises `UserError` if `run` is none."""
    path = Path(run) / "config.yaml"
    if not path.exists():
        raise UserError("not a run folder: no config.yaml", file=run, hint="Make one with: ofa run CONFIG")
    return load_config(path)


def space_of(text: str, num_classes: int, in_channels: int, *, key: str = "--space") -> SearchSpace:
    """The space a word of the command line means: a registered name, or a YAML file with a `space` section."""
    from search_spaces import get_space
    from search_spaces.registry import SPACES

    if Path(text).suffix in (".yaml", ".yml"):
        return get_space(load_yaml(text).get("space", {}), num_classes, in_channels, file=text)
    if text not in SPACES:
        raise SPACES.unknown(text, key=key)
    return get_space({"name": text}, num_classes, in_channels)


def parse_run_config(data: Any, *, file: Path | str) -> RunConfig:
    """Check a config and, without loading any data, its space."""
    from search_spaces import get_space

    config = parse_settings(RunConfig, data, file=file)
    get_space(config.space, file=file)
    return config
