"""From a picture to the network's input, in words and in numpy and pillow alone.

It repeats what the data module does (`trainers/data`: `decode`, `resize`, `augment.normalise`), in its order: pictures
were stored at one side, and each network resizes from there to its own resolution. Pillow's resampling of floats is
that of torch's antialiased `interpolate`, but for the rounding of floats.
"""

from __future__ import annotations

from collections.abc import Iterable

from ofa.export.architecture_file import Preprocessing
from ofa.export.card.facts import DataFacts
from ofa.export.card.markdown import bullets


def imports(data: DataFacts) -> list[str]:
    """Statements that `code` takes."""
    needed = ["import sys", "import numpy as np", "from PIL import Image, ImageOps"]
    return needed if data.crop_fraction is None else ["import math", *needed]


def code(preprocessing: Preprocessing, data: DataFacts) -> str:
    """Python that makes `image`, float32 (1, C, R, R), of the picture whose path is the first argument."""
    stored, side, channels = data.image_size, preprocessing.resolution, preprocessing.in_channels
    crop = "" if data.crop_fraction in (None, 1) else f"{data.crop_fraction!r} * "
    lines = ["picture = Image.open(sys.argv[1])"]
    if data.crop_fraction is not None:
        lines += [
            f"side = {crop}min(picture.size)",
            f"picture.draft(None, tuple(math.ceil({stored} * length / side) for length in picture.size))",
        ]
    lines += [
        f'picture = ImageOps.exif_transpose(picture).convert("{"L" if channels == 1 else "RGB"}")',
        f"side = {crop}min(picture.size)",
        "left, top = (picture.width - side) / 2, (picture.height - side) / 2",
        "box = (left, top, left + side, top + side)",
        f"picture = picture.resize(({stored}, {stored}), Image.Resampling.BILINEAR, box=box)",
        f"channels = np.asarray(picture, np.float32).reshape({stored}, {stored}, {channels}).transpose(2, 0, 1)",
    ]
    if side != stored:
        resize = f"Image.fromarray(channel).resize(({side}, {side}), Image.Resampling.BILINEAR)"
        lines.append(f"channels = [{resize} for channel in channels]")
    lines += [
        f"mean, std = np.array({_column(preprocessing.mean)}), np.array({_column(preprocessing.std)})",
        "image = ((np.stack(channels) / 255 - mean) / std).astype(np.float32)[None]",
    ]
    return "\n".join(lines)


def words(preprocessing: Preprocessing, data: DataFacts) -> str:
    """The same, step by step, for a program in any language."""
    stored, side = data.image_size, preprocessing.resolution
    grey = preprocessing.in_channels == 1
    colours = (
        "Convert to one grey channel: 0.299 R + 0.587 G + 0.114 B, rounded to 8 bits."
        if grey
        else "Convert to three channels in the order red, green, blue (not BGR), 8 bits each; leave out transparency."
    )
    part = "" if data.crop_fraction in (None, 1) else f"{data.crop_fraction:g} of "
    steps = [
        "Turn the picture upright, as its EXIF orientation says.",
        colours,
        f"Crop the central square whose side is {part}the picture's shorter side. Nothing is stretched.",
        f"Resize it to {stored} × {stored}, bilinear **with antialiasing** (the kernel grows with the reduction, as in "
        "Pillow's `BILINEAR` and torchvision's `antialias=True`; OpenCV's `INTER_LINEAR` does not), "
        "and round to 8 bits.",
    ]
    if side != stored:
        steps.append(
            f"Resize that to {side} × {side} in floating point, bilinear with antialiasing again. The network was "
            f"trained on images that went through {stored} × {stored}: going to {side} in one step gives other pixels."
        )
    steps += [
        "Divide by 255: pixels lie in 0..1.",
        f"Subtract the mean {_values(preprocessing.mean)} and divide by the standard deviation "
        f"{_values(preprocessing.std)}{'' if grey else ', each of its channel (red, green, blue)'}.",
        f"Lay out as float32 of shape (1, {preprocessing.in_channels}, {side}, {side}): image, channel, row, column "
        "(NCHW). Forms that want another layout or 8-bit integers convert inside `logits` of their program below.",
    ]
    return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))


def notes(data: DataFacts) -> str:
    """What can make small differences."""
    side = data.image_size
    origin = (
        f"The data set holds images of {side} × {side}: the steps up to there bring other pictures to that. "
        "Take them as close to how those images look as you can."
        if data.crop_fraction is None
        else "JPEGs were decoded at the smallest of the scales 1/8, 1/4, 1/2 and 1 that gives the square at least "
        f"{side} pixels a side, which decoders offer for speed (Pillow's `draft`). Decoded whole, pixels of large ones "
        "differ by one or two of 255 on average, and by more at edges. 16-bit pictures were divided by 257; the "
        "programs below do not know them."
    )
    return bullets(
        [
            origin,
            "A picture that has the wanted side already is left as it is by a resizing step.",
            "The output is one logit a class, in the order of `class_names` in `architecture.json`; a softmax makes "
            "them shares that add up to 1. These are no calibrated probabilities.",
        ]
    )


def _column(values: Iterable[float]) -> str:
    """A literal of shape (C, 1, 1)."""
    return f"[{', '.join(f'[[{value!r}]]' for value in values)}]"


def _values(values: Iterable[float]) -> str:
    return ", ".join(repr(value) for value in values)
