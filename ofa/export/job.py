"""What is exported, and what is said about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.fx import GraphModule

from latency_tables.settings import DeviceSettings
from ofa.export.architecture_file import ArchitectureFile, Preprocessing
from ofa.mcu.settings import QuantizationSettings
from search_spaces import Architecture, SearchSpace
from search_spaces.costs import CostTable
from trainers.checkpoints.store import weights_digest
from trainers.data import ImageData

if TYPE_CHECKING:
    from ofa.export.boards import BoardJob
    from ofa.export.card import CardFacts


@dataclass(frozen=True)
class ExportJob:
    """What is exported and what is said about it.

    `devices` and `latencies` (device name -> cost table in ms): where it is measured, and what was predicted.
    `boards`: those that it is put on as a bundle of C. `ledger`: the file that test readings are entered in;
    `read_test`: whether this network may read the test split, or only show a score it has. `facts` are copied into the
    report (budget, predictions, fine-tuning).
    """

    name: str
    network: GraphModule
    architecture: Architecture
    space: SearchSpace
    data: ImageData
    ledger: Path
    read_test: bool
    devices: Sequence[DeviceSettings] = ()
    latencies: Mapping[str, CostTable] | None = None
    facts: Mapping[str, Any] | None = None
    journal: Path | None = None
    boards: Sequence[BoardJob] = ()
    quantization: QuantizationSettings = field(default_factory=QuantizationSettings)
    """How the form for microcontrollers finds its ranges, from `ExportSettings.num_calibration_images` images."""
    limits: Mapping[str, float] | None = None
    """Budget by the name of the cost (`latency@DEVICE` in ms): what the exported file must keep when it is measured."""
    card: CardFacts | None = None
    """What the model card says besides; None: of the data alone."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        side = self.architecture.resolution
        return (self.space.in_channels, side, side)

    @property
    def network_sha256(self) -> str:
        return weights_digest(self.network.state_dict())

    @property
    def test_key(self) -> str:
        """What the ledger knows this network by: other weights are another network."""
        return f"{self.architecture.key}-{self.network_sha256[:16]}"

    @property
    def has_ties(self) -> bool:
        """Whether rounding may decide what the network computes (`Operator.has_ties`)."""
        return any(operator.has_ties for _, operator in self.space.network(self.architecture))

    @property
    def described(self) -> ArchitectureFile:
        """What goes into `architecture.json`."""
        data = self.data
        preprocessing = Preprocessing(
            resolution=self.architecture.resolution, in_channels=data.in_channels, mean=data.mean, std=data.std
        )
        return ArchitectureFile(self.space, self.architecture, preprocessing, data.class_names)


class OverBudget(Exception):
    """The exported file is slower than its budget; nothing was written. `measured` is the entry of its measurement."""

    def __init__(self, key: str, cost: str, measured: Mapping[str, Any]) -> None:
        super().__init__(f"{key} takes {measured['median_ms']:.4g} ms as exported, over its limit on {cost}")
        self.key, self.cost, self.measured = key, cost, measured
