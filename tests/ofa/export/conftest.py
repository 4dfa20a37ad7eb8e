"""A tiny space, a supernet with fresh weights and BN statistics of its own, and images by formula."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.fx import GraphModule

from latency_tables.settings import DeviceSettings
from ofa.export.export import ExportJob, export_network
from ofa.export.settings import ExportSettings
from ofa.export.time_forms import HERE
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.supernet import Supernet, build_supernet
from trainers.data import ImageData, load_data
from trainers.evaluation.evaluate import specialize
from trainers.settings.data import DataSettings

torch.set_num_threads(1)

DEVICE = DeviceSettings(
    name="here", runtime="onnxruntime", rounds=2, min_rounds=2, sample_ms=0.1, warmup=1, max_other_load=None, pin=False
)


@pytest.fixture(scope="session")
def data() -> ImageData:
    settings = DataSettings.model_validate(
        {
            "name": "synthetic",
            "num_classes": 4,
            "num_images": 480,
            "image_size": 24,
            "split": {"calibration": 64, "selection": 96, "test": 80},
        }
    )
    return load_data(settings, seed=0)


@pytest.fixture(scope="session")
def space(data: ImageData) -> SearchSpace:
    settings = {"name": "mobilenet_v3_digits", "resolution": [20, 24], "depth": [1, 2]}
    return get_space(settings, num_classes=data.num_classes, in_channels=data.in_channels)


@pytest.fixture(scope="session")
def supernet(space: SearchSpace) -> Supernet:
    return build_supernet(space, seed=0).eval()


@pytest.fixture(scope="session")
def architecture(space: SearchSpace) -> Architecture:
    """The smallest one: fewest nodes to convert."""
    return space.decode(space.smallest())[0]


@pytest.fixture(scope="session")
def network(supernet: Supernet, architecture: Architecture, data: ImageData) -> GraphModule:
    return specialize(supernet, architecture, data)


@pytest.fixture
def job(
    network: GraphModule, architecture: Architecture, space: SearchSpace, data: ImageData, tmp_path: Path
) -> ExportJob:
    return ExportJob(
        name="small",
        network=network,
        architecture=architecture,
        space=space,
        data=data,
        ledger=tmp_path / "test_ledger.jsonl",
        read_test=True,
    )


@pytest.fixture(scope="session")
def exported(
    tmp_path_factory: pytest.TempPathFactory,
    network: GraphModule,
    architecture: Architecture,
    space: SearchSpace,
    data: ImageData,
) -> tuple[ExportJob, Path, dict]:
    """One export in all forms, measured; shared, because converting takes seconds. Tests only read it."""
    folder = tmp_path_factory.mktemp("run")
    table = space.cost_of(lambda operator: 1e-6 * float(operator.macs()), constant=0.01)
    job = ExportJob(
        name="small",
        network=network,
        architecture=architecture,
        space=space,
        data=data,
        ledger=folder / "test_ledger.jsonl",
        read_test=True,
        devices=(DEVICE,),
        latencies={"here": table},
        journal=folder / "measurements.jsonl",
    )
    with pytest.MonkeyPatch.context() as patch:  # tests run beside each other: no quiet machine is waited for
        patch.setattr("ofa.export.export.HERE", HERE.model_copy(update={"max_other_load": None, "rounds": 2}))
        report = export_network(job, out=folder / "small", settings=ExportSettings(), quiet=True)
    return job, folder / "small", report
