"""Folders of images: layouts, decoding, and everything that can be wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from search_spaces.common.errors import UserError
from trainers.data import reading
from trainers.data.decode import Decoder

MEMORY = pytest.mark.parametrize("memory", ["memory", "stream"])


def folder(load: Any, path: Path, **settings: Any) -> Any:
    return load("image_folder", path=str(path), **{"image_size": 8, "workers": 1, **settings})


def test_class_folders_are_divided_at_random(load: Any, make_folder: Any) -> None:
    root = make_folder({"dog": 10, "cat": 20})
    data = folder(load, root)
    assert data.class_names == ("cat", "dog") and data.num_classes == 2
    assert [data.class_counts(split) for split in ("calibration", "selection", "test")] == [(2, 1), (2, 1), (4, 2)]
    assert (data.in_channels, data.image_size, data.skipped, data.streamed) == (3, 8, (), False)
    assert data.licence is None and data.crop_fraction == 1.0
    assert folder(load, root, crop_fraction=0.875).crop_fraction == 0.875
    x, labels = next(data.batches("selection", resolution=12, batch_size=9))
    assert x.shape == (3, 3, 12, 12) and x.dtype == torch.float32 and labels.tolist() == [0, 0, 1]


def test_official_folders(load: Any, make_folder: Any) -> None:
    for part, count in (("train", 12), ("val", 4), ("test", 3)):
        make_folder({"a": count, "b": count}, f"root/{part}")
    root = make_folder({}, "root")
    data = folder(load, root)
    assert (data.size("selection"), data.size("test"), data.num_train + data.size("calibration")) == (8, 6, 24)


def test_validation_without_test_is_the_test_split(load: Any, make_folder: Any) -> None:
    make_folder({"a": 12, "b": 12}, "root/train")
    make_folder({"a": 5, "b": 5}, "root/val")
    data = folder(load, make_folder({}, "root"))
    assert (data.size("test"), data.size("selection"), data.num_train) == (10, 2, 20)


def test_paths_start_at_the_base(load: Any, make_folder: Any, tmp_path: Path) -> None:
    make_folder({"a": 5, "b": 5}, "pictures")
    assert folder(load, Path("pictures"), base=tmp_path).num_train == 6


def test_normalised_training_pixels(load: Any, make_folder: Any) -> None:
    data = folder(load, make_folder({"a": 10, "b": 10}))
    x = torch.cat([x for x, _ in data.batches("train", batch_size=5)])
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(x.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4)


@MEMORY
def test_corrupt_images_are_named_and_counted(load: Any, make_folder: Any, memory: str) -> None:
    root = make_folder({"a": 10, "b": 10})
    corrupt(root)
    with pytest.raises(UserError) as error:
        folder(load, root, memory=memory)
    text = str(error.value)
    assert text.startswith(str(root / "a" / "001.jpg")) and "the first of 3" in text and "on_corrupt: skip" in text
    assert str(root / "b" / "000.png") in text and str(root / "b" / "002.png") in text and "\n" not in text


@MEMORY
def test_corrupt_images_are_skipped_if_allowed(load: Any, make_folder: Any, memory: str) -> None:
    root = make_folder({"a": 10, "b": 10})
    corrupt(root)
    data = folder(load, root, memory=memory, on_corrupt="skip")
    assert data.skipped == tuple(str(root / name) for name in ("a/001.jpg", "b/000.png", "b/002.png"))
    assert sum(data.size(split) for split in ("train", "calibration", "selection", "test")) == 17
    assert data.description()["num_skipped"] == 3
    assert sum(len(x) for x, _ in data.batches("train", batch_size=4)) == data.num_train


def corrupt(root: Path) -> None:
    """A JPEG cut short, a PNG with a damaged middle, and a text file."""
    whole = (root / "a" / "001.jpg").read_bytes()
    (root / "a" / "001.jpg").write_bytes(whole[: len(whole) - 200])
    damaged = bytearray((root / "b" / "000.png").read_bytes())
    damaged[300:340] = b"\x00" * 40
    (root / "b" / "000.png").write_bytes(damaged)
    (root / "b" / "002.png").write_text("<html>404</html>")


def test_a_class_whose_images_are_all_corrupt(load: Any, make_folder: Any) -> None:
    root = make_folder({"a": 10, "b": 1})
    (root / "b" / "000.png").write_bytes(b"")
    with pytest.raises(UserError, match="class 'b' has no image to train on"):
        folder(load, root, on_corrupt="skip")


def test_an_image_that_breaks_while_streaming(load: Any, make_folder: Any) -> None:
    root = make_folder({"a": 10, "b": 10})
    data = folder(load, root, memory="stream", workers=2)
    for file in root.rglob("*.jpg"):
        file.write_bytes(b"gone")
    with pytest.raises(UserError, match="corrupt image: not an image") as error:
        list(data.batches("train", batch_size=8))
    assert ".jpg" in str(error.value) and "Traceback" not in str(error.value)


def test_the_check_is_remembered_until_a_file_changes(
    load: Any, make_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"a": 10, "b": 10})
    calls = []
    check = Decoder.check
    monkeypatch.setattr(Decoder, "check", lambda self, stream: (calls.append(1), check(self, stream))[1])
    folder(load, root, memory="stream")
    assert len(calls) == 20
    folder(load, root, memory="stream")
    assert len(calls) == 20
    (root / "a" / "000.png").write_bytes((root / "a" / "000.png").read_bytes()[:-30])
    with pytest.raises(UserError, match=r"000\.png"):
        folder(load, root, memory="stream")
    for cached in reading._cache_folder().glob("*.json"):
        cached.write_text("{}")
    with pytest.raises(UserError, match=r"000\.png"):
        folder(load, root, memory="stream")


def test_large_data_are_streamed(load: Any) -> None:
    small = load(num_images=400, num_classes=2, image_size=64, memory_limit_mib=5)
    large = load(num_images=400, num_classes=2, image_size=64, memory_limit_mib=4)
    assert (small.streamed, large.streamed) == (False, True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "no such file or folder"),
        (lambda root: root.write_text(""), "is a file"),
        (lambda root: root.mkdir(), "this data folder is empty"),
        (lambda root: (root / ".hidden").mkdir(parents=True), "this data folder is empty"),
        (lambda root: picture(root / "0.png"), "not in class folders"),
        (lambda root: (picture(root / "a" / "0.png"), (root / "b").mkdir()), "class 'b' has no image"),
        (lambda root: (picture(root / "a" / "0.png"), picture(root / "a" / "1.png")), "holds 1 class"),
        (
            lambda root: [picture(root / name) for name in ("train/a/0.png", "train/b/0.png", "test/c/0.png")],
            "no class of this name is in the train folder",
        ),
        (lambda root: [picture(root / name) for name in ("train/a/0.png", "test/a/0.png")], "holds 1 class"),
    ],
)
def test_folders_that_cannot_be_used(load: Any, tmp_path: Path, make: Any, message: str) -> None:
    root = tmp_path / "pictures"
    make(root)
    with pytest.raises(UserError, match=message) as error:
        folder(load, root)
    text = str(error.value)
    assert str(root) in text and "data.path" in text and "\n" not in text and error.value.exit_code == 2


def test_an_unreadable_folder(load: Any, make_folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    root = make_folder({"a": 3, "b": 3})
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="cannot be read: Permission denied") as error:
        folder(load, root)
    assert str(root / "b") in str(error.value)


def test_no_path(load: Any) -> None:
    with pytest.raises(UserError, match=r"data\.path: this key is required"):
        load("image_folder")


def picture(path: Path, image: Image.Image | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or Image.new("RGB", (9, 9), "red")).save(path)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_format_becomes_grey_or_colour(tmp_path: Path, mode: str, channels: int) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((9, 9), 200 * 257, np.uint16))
    else:
        image = Image.new("L", (9, 9), 200).convert(mode)
    file = picture(tmp_path / ("x.tif" if mode == "CMYK" else "x.png"), image)
    with open(file, "rb") as stream:
        pixels = Decoder(8, channels).centre(stream)
    assert pixels.shape == (8, 8, channels) and pixels.dtype == np.uint8
    if mode != "1":
        assert np.abs(pixels.astype(int) - 200).max() <= 2


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 16), "black")
    image.paste((255, 255, 255), (0, 0, 16, 16))  # left half white; orientation 6 turns the left side up
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.jpg", exif=exif, quality=95)
    with open(tmp_path / "x.jpg", "rb") as stream:
        pixels = Decoder(8, 1).centre(stream)
    assert pixels[:3].min() > 200 and pixels[5:].max() < 50


def test_centre_crop_keeps_the_middle(tmp_path: Path) -> None:
    image = np.zeros((40, 60), np.uint8)
    image[10:30, 20:40] = 255  # exactly the central half of the short side
    file = picture(tmp_path / "x.png", Image.fromarray(image))
    with open(file, "rb") as stream:
        assert (Decoder(10, 1, 0.5).centre(stream)[1:-1, 1:-1] == 255).all()
    with open(file, "rb") as stream:
        whole = Decoder(20, 1).centre(stream)[..., 0]
    assert (whole[6:14, 6:14] == 255).all() and (whole[:4] == 0).all() and (whole[:, :4] == 0).all()


def test_random_crops_stay_inside_and_vary(load: Any, make_folder: Any) -> None:
    data = folder(load, make_folder({"a": 10, "b": 10}), memory="stream", augment={"random_resized_crop": {}})
    first, other = (data.train_step(step=0, seed=seed, batch_size=12)[0] for seed in (0, 1))
    assert first.shape == (12, 3, 8, 8) and not torch.equal(first, other)
    assert torch.isfinite(first).all()
