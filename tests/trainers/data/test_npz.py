"""numpy files: every layout, and everything that can be wrong with them."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from search_spaces.common.errors import UserError


class Hostile:
    """Unpickling it changes the environment of this process."""

    def __reduce__(self) -> Any:
        return (exec, ("import os; os.environ['OFA_TEST_UNPICKLED'] = '1'",))


RNG = np.random.default_rng(3)
PIXELS = RNG.integers(0, 256, (24, 10, 10, 3), np.uint8)
LABELS = np.arange(24) % 3


def npz(load: Any, path: Path, **settings: Any) -> Any:
    return load("npz", path=str(path), **settings)


def all_images(data: Any, tmp_path: Path) -> torch.Tensor:
    batches = [b for split in ("train", "calibration", "selection") for b in data.batches(split, batch_size=7)]
    batches += data.final_test(resolution=data.image_size, batch_size=7, ledger=tmp_path / "ledger", key="a")
    return torch.cat([x for x, _ in batches])


def test_arrays(load: Any, make_npz: Any, tmp_path: Path) -> None:
    data = npz(load, make_npz(images=PIXELS, classes=np.array(["x", "y", "z"])), mean=[0, 0, 0], std=[1, 1, 1])
    assert data.class_names == ("x", "y", "z")
    got = (all_images(data, tmp_path) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert sorted(map(bytes, got)) == sorted(map(bytes, PIXELS))


@pytest.mark.parametrize("names", ["{split}_images {split}_labels", "x_{split} y_{split}"])
def test_official_splits(load: Any, make_npz: Any, names: str) -> None:
    arrays = {}
    for split in ("train", "test") if names.startswith("x_") else ("train", "val", "test"):
        images, labels = names.format(split=split).split()
        arrays |= {images: PIXELS[..., 0], labels: LABELS[:, None]}
    data = npz(load, make_npz(images=None, labels=None, **arrays))
    assert data.in_channels == 1 and data.size("test") == 24
    assert data.size("selection") == (2 if names.startswith("x_") else 24)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels(load: Any, make_npz: Any, channels: int) -> None:
    for images in (PIXELS, PIXELS[..., :1], PIXELS[..., 0]):
        assert npz(load, make_npz(images=images), channels=channels).in_channels == channels


def encoded(images: Any, format: str) -> tuple[Any, Any]:
    parts = []
    for image in images:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format, **({"lossless": True} if format == "WEBP" else {"quality": 95}))
        parts.append(stream.getvalue())
    return np.frombuffer(b"".join(parts), np.uint8), np.cumsum([0, *map(len, parts)])


@pytest.mark.parametrize("memory", ["memory", "stream"])
def test_encoded_images(load: Any, make_npz: Any, memory: str) -> None:
    blob, offsets = encoded(np.kron(PIXELS, np.ones((1, 2, 2, 1), np.uint8)), "JPEG")
    arrays = {"images": None, "labels": None, "train_jpeg": blob, "train_offsets": offsets, "train_labels": LABELS}
    arrays |= {f"test_{key}": arrays[f"train_{key}"] for key in ("jpeg", "offsets", "labels")}
    data = npz(load, make_npz(**arrays), memory=memory, workers=1)
    assert (data.image_size, data.size("test"), data.streamed) == (20, 24, memory == "stream")
    assert npz(load, make_npz(**arrays), memory=memory, workers=1, image_size=8).image_size == 8
    broken = blob.copy()
    broken[offsets[3] : offsets[3] + 20] = 0
    with pytest.raises(UserError, match=r"train_jpeg\[3\].*corrupt image: not an image"):
        npz(load, make_npz(**arrays | {"train_jpeg": broken}), memory=memory, workers=1)
    with pytest.raises(UserError, match="train_offsets: does not rise"):
        npz(load, make_npz(**arrays | {"train_offsets": offsets + 1}))


def test_sheets(load: Any, make_npz: Any, tmp_path: Path) -> None:
    sheets = PIXELS.reshape(4, 2, 3, 10, 10, 3).transpose(0, 1, 3, 2, 4, 5).reshape(4, 20, 30, 3)
    blob, offsets = encoded(sheets, "WEBP")
    arrays = {"images": None, "labels": None, "train_webp": blob, "train_offsets": offsets, "train_labels": LABELS}
    path = make_npz(**arrays, sheet=np.array([2, 3, 10]))
    data = npz(load, path, mean=[0, 0, 0], std=[1, 1, 1])
    got = (all_images(data, tmp_path) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert sorted(map(bytes, got)) == sorted(map(bytes, PIXELS))
    assert load("cifar10", path=str(path)).split_sha256 == data.split_sha256
    with pytest.raises(UserError, match=r"train_webp\[0\].*cannot be decoded"):
        npz(load, make_npz(**arrays, sheet=np.array([3, 3, 10])))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": PIXELS / 255}, "images: images are uint8, but these are float64"),
        ({"images": PIXELS.astype(np.int64)}, "images are uint8"),
        ({"images": PIXELS[:, :, 0, 0]}, r"images: shape \(24, 10\) is not"),
        ({"images": PIXELS.transpose(0, 3, 1, 2)}, "Channels come last"),
        ({"images": PIXELS[:, :, :7]}, "images are square, but these are 10 x 7 x 3"),
        ({"images": PIXELS[:0], "labels": LABELS[:0]}, "images: holds no images"),
        ({"images": None}, "holds no array 'images'.*It holds: labels"),
        ({"labels": None}, "labels: this array is missing"),
        ({"labels": LABELS[:-1]}, "labels: shape .* does not give one label to each of 24 images"),
        ({"labels": LABELS.astype(float)}, "labels: labels are whole numbers, but these are float64"),
        ({"labels": LABELS - 1}, r"labels: label -1 of image 0 is out of range: labels are 0 and above \(8 are not\)"),
        (
            {"classes": np.array(["x", "y"])},
            r"labels: label 2 of image 2 is out of range: labels are 0 \.\. 1 \(8 are not\)",
        ),
        ({"labels": LABELS * 10**9}, "largest label is 2000000000"),
        ({"labels": LABELS * 2}, "class without an image to train on: '1', '3'"),
        ({"labels": LABELS * 0}, "holds 1 class"),
        ({"classes": np.array(["x", "y", "y"])}, "classes: is one row of different class names"),
        ({"labels": np.array([Hostile()] * 24, dtype=object)}, "holds pickled objects, which are never opened"),
        ({"test_images": PIXELS[:, :8, :8], "test_labels": LABELS}, "test_images: images are 8 x 8 x 3 but 'images'"),
    ],
)
def test_arrays_that_cannot_be_used(load: Any, make_npz: Any, arrays: dict[str, Any], message: str) -> None:
    path = make_npz(**arrays)
    with pytest.raises(UserError, match=message) as error:
        npz(load, path)
    assert "OFA_TEST_UNPICKLED" not in os.environ
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"hello", pickle.dumps(Hostile()), b"PK\x03\x04garbage", b"\x93NUMPY\x01\x00garbage"]
)
def test_files_that_are_no_npz(load: Any, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is not an npz file|cannot be read") as error:
        npz(load, path)
    assert "OFA_TEST_UNPICKLED" not in os.environ
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_truncated_npz(load: Any, make_npz: Any) -> None:
    path = make_npz()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be read"):
        npz(load, path)
    path.unlink()
    with pytest.raises(UserError, match=r"data\.path: no such file or folder"):
        npz(load, path)


def test_a_size_for_decoded_images(load: Any, make_npz: Any) -> None:
    with pytest.raises(UserError, match=r"data\.image_size: applies to encoded images only \(got 16\).*10 px already"):
        npz(load, make_npz(), image_size=16)
