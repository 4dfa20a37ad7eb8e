"""A run opened for exporting: its config, supernet, images and latency tables, and the networks cut out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.fx import GraphModule

from ofa.export.card import CardFacts
from ofa.export.card.facts import card_facts
from ofa.export.finetune import FinetuneSettings, finetune
from ofa.export.job import ExportJob
from ofa.search.costs import run_tables
from search_spaces import Architecture, SearchSpace
from search_spaces.costs import CostTable
from trainers.checkpoints.store import LoadedSupernet, load_supernet
from trainers.data import ImageData, load_data
from trainers.evaluation.evaluate import specialize

if TYPE_CHECKING:
    from ofa.config import RunConfig

#: the run's ledger of test readings, and its journal of measured exports
LEDGER, JOURNAL = "test_ledger.jsonl", "export_measurements.jsonl"


@dataclass(frozen=True)
class ExportSession:
    """`UserError` from any property whose file is missing or damaged, naming what makes it."""

    run: Path
    config: RunConfig
    quiet: bool = False

    @cached_property
    def supernet(self) -> LoadedSupernet:
        return load_supernet(self.run)

    @cached_property
    def data(self) -> ImageData:
        return load_data(self.config.data, seed=self.config.seed)

    @property
    def space(self) -> SearchSpace:
        return self.supernet.space

    @cached_property
    def latencies(self) -> dict[str, CostTable]:
        """Cost tables of the devices that were measured."""
        tables = run_tables(self.run, [device.name for device in self.config.timed])
        return {name: table.cost(self.space) for name, table in tables.items()}

    @cached_property
    def card(self) -> CardFacts:
        return card_facts(self, licence=self.config.export.licence)

    @property
    def largest(self) -> Architecture:
        return self.space.decode(self.space.largest())[0]

    def specialized(self, architecture: Architecture) -> GraphModule:
        """The subnet with BN statistics of its own, in evaluation mode."""
        return specialize(self.supernet, architecture, self.data, cache=self.run / "calibrated")

    def winner(self, architecture: Architecture) -> tuple[GraphModule, dict[str, Any] | None]:
        """The network to export, fine-tuned if the config says so, and what fine-tuning did."""
        if not self.config.export.finetune_epochs:
            return self.specialized(architecture), None
        tuned, outcome = finetune(self, architecture, FinetuneSettings.of(self.config.export))
        return tuned, asdict(outcome)

    def job(
        self,
        name: str,
        architecture: Architecture,
        network: GraphModule,
        *,
        read_test: bool,
        facts: Mapping[str, Any] | None = None,
    ) -> ExportJob:
        """Everything `export_network` needs, on all devices of the run."""
        shared = {"supernet_sha256": self.supernet.weights_sha256}
        return ExportJob(
            name=name,
            network=network,
            architecture=architecture,
            space=self.space,
            data=self.data,
            ledger=self.run / LEDGER,
            read_test=read_test,
            devices=self.config.timed,
            latencies=self.latencies,
            facts={**shared, **(facts or {})},
            journal=self.run / JOURNAL,
            quantization=self.config.quantization,
            card=self.card,
        )
