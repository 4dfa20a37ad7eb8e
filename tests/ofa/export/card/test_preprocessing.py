"""The preprocessing of a card, in numpy and pillow, beside the data module's own, on real pictures."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ofa.export.architecture_file import Preprocessing
from ofa.export.card import DataFacts
from ofa.export.card.preprocessing import code, imports, words
from ofa.export.export import ExportJob
from trainers.data.augment import normalise
from trainers.data.decode import Decoder
from trainers.data.resize import resize_batch

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def photographs() -> dict[str, bytes]:
    """Two photographs of 640 x 427, and one of them as other cameras and programs would leave it."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "images"
    china, flower = ((folder / name).read_bytes() for name in ("china.jpg", "flower.jpg"))
    picture = Image.open(io.BytesIO(china))
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "china": china,
        "flower": flower,
        "turned": _saved(picture, "JPEG", exif=exif, quality=90),
        "palette": _saved(picture.quantize(64), "PNG"),
        "transparent": _saved(picture.convert("RGBA"), "PNG"),
        "small": _saved(picture.resize((90, 60)), "PNG"),
    }


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def prepared(described: Preprocessing, data: DataFacts, picture: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray:
    """`image` of the card's code."""
    monkeypatch.setattr(sys, "argv", ["classify.py", str(picture)])
    names: dict[str, NDArray] = {}
    exec("\n".join([*imports(data), code(described, data)]), names)
    return names["image"]


@pytest.mark.parametrize(
    ("stored", "side", "fraction", "channels"),
    [(224, 160, 0.875, 3), (224, 224, 1.0, 3), (64, 48, 1.0, 3), (100, 128, 0.9, 3), (128, 96, 1.0, 1)],
)
def test_photographs_are_prepared_as_for_training(
    stored: int,
    side: int,
    fraction: float,
    channels: int,
    photographs: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mean, std = MEAN[:channels], STD[:channels]
    described, data = Preprocessing(side, channels, mean, std), DataFacts("any", (), stored, fraction)
    for name, content in photographs.items():
        (tmp_path / name).write_bytes(content)
        found = prepared(described, data, tmp_path / name, monkeypatch)
        pixels = Decoder(stored, channels, fraction).centre(io.BytesIO(content)).transpose(2, 0, 1)
        mean_C11, std_C11 = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
        expected = resize_batch(normalise(torch.from_numpy(pixels.copy())[None], mean=mean_C11, std=std_C11), side)
        assert found.dtype == np.float32 and found.shape == (1, channels, side, side)
        assert np.abs(found - expected.numpy()).max() < 2e-5, name


def test_logits_of_a_picture_are_those_of_the_data_set(
    digit_job: ExportJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digits stored at 28 px, a network at 20 px."""
    data, side = digit_job.data, digit_job.architecture.resolution
    described = Preprocessing(side, 1, data.mean, data.std)
    stored = next(iter(data.batches("selection", batch_size=100)))[0]
    wanted = next(iter(data.batches("selection", resolution=side, batch_size=100)))[0]
    pixels = ((stored * data.std[0] + data.mean[0]) * 255).round().to(torch.uint8)
    found = []
    for one in pixels:
        Image.fromarray(one[0].numpy()).save(tmp_path / "digit.png")
        found.append(prepared(described, DataFacts.of(data), tmp_path / "digit.png", monkeypatch)[0])
    with torch.inference_mode():
        logits, expected = digit_job.network(torch.from_numpy(np.stack(found))), digit_job.network(wanted)
    assert (logits - expected).abs().max() < 1e-4
    assert torch.equal(logits.argmax(1), expected.argmax(1))


def test_the_words_name_every_number() -> None:
    text = words(Preprocessing(160, 3, MEAN, STD), DataFacts("any", (), 224, 0.875))
    assert all(str(number) in text for number in (*MEAN, *STD, 160, 224, 0.875))
    assert "red, green, blue" in text and "(1, 3, 160, 160)" in text
    grey = words(Preprocessing(28, 1, (0.13,), (0.3,)), DataFacts("any", (), 28))
    assert "grey" in grey and "BGR" not in grey and "again" not in grey  # nothing to resize twice
