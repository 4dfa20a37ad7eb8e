"""Supernets, evaluation and export with loaders of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import ofa
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.supernet import Supernet
from trainers.data import ImageData, load_data
from trainers.evaluation.evaluate import evaluate_architecture
from trainers.settings.data import DataSettings

Batches = list[tuple[torch.Tensor, torch.Tensor]]


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    settings = {"resolution": [12, 16], "kernel": [3, 5], "depth": [1, 2], "widths": [8, 16], "strides": [2, 1]}
    more = {"activations": ["relu", "relu"], "squeeze_excite": [False, True], "feature_channels": 32, "dropout": 0}
    return ofa.space("mobilenet_v3_digits", num_classes=3, in_channels=1, **settings, **more)


@pytest.fixture(scope="module")
def supernet(space: SearchSpace) -> Supernet:
    return ofa.supernet(space, seed=1)


@pytest.fixture(scope="module")
def data() -> ImageData:
    split = {"calibration": 60, "selection": 90, "test": 30}
    settings = {"name": "synthetic", "num_classes": 3, "num_images": 300, "image_size": 16, "channels": 1}
    return load_data(DataSettings.model_validate({**settings, "split": split}), seed=0)


@pytest.fixture(scope="module")
def selection(data: ImageData) -> Batches:
    return list(data.batches("selection", batch_size=40))


@pytest.fixture(scope="module")
def calibration(data: ImageData) -> Batches:
    return list(data.batches("calibration", batch_size=25))


def test_ones_own_loaders_give_what_the_data_module_gives(
    space: SearchSpace, supernet: Supernet, data: ImageData, calibration: Batches, selection: Batches
) -> None:
    """At every resolution: loaders give one size. In batches of any size, from a generator too."""
    for architecture in space.decode(space.sample(3, np.random.default_rng(0))):
        expected = evaluate_architecture(supernet, architecture, data).accuracy
        assert ofa.evaluate(supernet, architecture, calibration=calibration, selection=selection) == expected
        images_alone = (images for images, _ in calibration)
        assert ofa.evaluate(supernet, architecture, calibration=images_alone, selection=iter(selection)) == expected


def test_a_specialised_network_is_plain_and_of_its_own_statistics(
    space: SearchSpace, supernet: Supernet, calibration: Batches
) -> None:
    (largest,) = space.decode(space.largest())
    network = ofa.specialize(supernet, largest, calibration=calibration)
    assert all(type(module).__module__.startswith("torch.") for module in network.modules() if module is not network)
    images = ofa.resize(torch.cat([x for x, _ in calibration]), largest.resolution)
    with torch.no_grad():
        together = network.train()(images)  # statistics of the whole split as one batch
    network = ofa.specialize(supernet, largest, calibration=calibration)
    assert torch.allclose(network(images), together, atol=1e-4)


def test_steps_train_the_same_networks_everywhere(space: SearchSpace) -> None:
    step = ofa.sample(space, step=7, num_random=3, seed=2)
    assert step == ofa.sample(space, step=7, num_random=3, seed=2) != ofa.sample(space, step=8, num_random=3, seed=2)
    largest, smallest = space.decode(space.largest())[0], space.decode(space.smallest())[0]
    assert step[:2] == (largest, smallest) and len(step) == 5
    assert ofa.sample(space, step=0, rule="largest") == (largest,)
    assert len(ofa.sample(space, step=0, rule="random")) == 2


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((torch.zeros(4, 3, 16, 16), torch.zeros(4, dtype=torch.int64)), r"float ones of \(batch, 1, side, side\)"),
        ((torch.zeros(4, 1, 16, 12), torch.zeros(4, dtype=torch.int64)), "Crop to squares"),
        ((torch.zeros(4, 1, 16, 16, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)), "torch.uint8"),
        ((torch.zeros(4, 1, 16, 16), torch.zeros(3, dtype=torch.int64)), "labels of shape"),
        ((torch.zeros(4, 1, 16, 16), torch.full((4,), 3)), "labels from 3 to 3 for 3 classes"),
        (torch.zeros(4, 1, 16, 16), "selection: needs pairs of images and labels"),
    ],
)
def test_batches_that_are_none_are_told(
    space: SearchSpace, supernet: Supernet, calibration: Batches, batch: object, message: str
) -> None:
    (smallest,) = space.decode(space.smallest())
    with pytest.raises(UserError, match=message):
        ofa.evaluate(supernet, smallest, calibration=calibration, selection=[batch])  # type: ignore[list-item]


def test_empty_loaders_are_told(space: SearchSpace, supernet: Supernet, calibration: Batches) -> None:
    (smallest,) = space.decode(space.smallest())
    for empty in ({"calibration": []}, {"selection": []}):
        loaders = {"calibration": calibration, "selection": calibration} | empty
        with pytest.raises(UserError, match=f"{next(iter(empty))}: holds no images"):
            ofa.evaluate(supernet, smallest, **loaders)


def test_an_export_is_whole_or_not_there(
    space: SearchSpace, supernet: Supernet, calibration: Batches, selection: Batches, tmp_path: Path
) -> None:
    largest, smallest = space.decode(space.largest())[0], space.decode(space.smallest())[0]
    network = ofa.specialize(supernet, largest, calibration=calibration)
    about = {"space": space, "architecture": largest, "images": selection, "mean": [0.5], "std": [0.2]}
    with pytest.raises(UserError, match=r"model.safetensors"):  # another network than the architecture says
        ofa.export(network, tmp_path / "out", **{**about, "architecture": smallest})
    with pytest.raises(UserError, match=r"forms: unknown export form 'onx'. Did you mean 'onnx'"):
        ofa.export(network, tmp_path / "out", **about, forms=["onx"])
    with pytest.raises(UserError, match="mean: needs one number for each of 1 channels"):
        ofa.export(network, tmp_path / "out", **{**about, "mean": [0.5, 0.5, 0.5]})
    with pytest.raises(UserError, match="class_names: needs one name for each of 3 classes"):
        ofa.export(network, tmp_path / "out", **about, class_names=["a"])
    with pytest.raises(UserError, match="calibrat"):
        ofa.export(network, tmp_path / "out", **about, forms=["safetensors", "mcu"])
    assert not list(tmp_path.iterdir())

    written = ofa.export(network, tmp_path / "out", **about, forms=["safetensors"], class_names=["a", "b", "c"])
    assert written.differences["safetensors"].max_abs <= 1e-4 and written.differences["safetensors"].num_images == 90
    images = torch.cat([x for x, _ in selection])
    assert torch.equal(ofa.load(written.folder)(images), network(images))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds other files than an export"):
        ofa.export(network, tmp_path / "other", **about)


def test_tables_by_name_and_settings(space: SearchSpace, tmp_path: Path) -> None:
    assert ofa.load_table("samsung_note10").metric == "latency"
    with pytest.raises(UserError, match=r"device: unknown device 'onnxruntim'. Did you mean 'onnxruntime'"):
        ofa.measure(space, "onnxruntim")
    with pytest.raises(UserError, match=r"onnxruntime.*thread.*Did you mean"):
        ofa.measure(space, "onnxruntime", thread=1)
    with pytest.raises(UserError, match="cortex-m4: unknown setting of a device that is not timed 'threads'"):
        ofa.measure(space, "cortex-m4", threads=1)
