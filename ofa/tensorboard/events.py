"""TensorBoard's event files made at once from what is known, rather than grown by a writer and its thread."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.common.errors import UserError

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

#: TensorBoard takes any file for events whose name holds this word, and reads those of a folder in order of their names
NAME = "events.out.tfevents"


def write_events(path: Path, summaries: Iterable[Summary], *, step: int = 0, now: float | None = None) -> None:
    """Put an event file with `summaries`, all of one step, in the place of `path`. `now`: seconds since 1970.

    Whole or not at all, but not forced to the disk: hundreds of these are made at once, from what is stored already.
    Raises `UserError` where it cannot be written.
    """
    temporary = path.with_name(f".{os.getpid()}.tmp")  # without NAME: not read while it is made
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(event_file(summaries, step=step, now=time.time() if now is None else now))
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", file=path) from error


def holds(path: Path, summaries: Sequence[Summary]) -> bool:
    """Whether an event file is there and says this, whenever it was written."""
    content = path.read_bytes() if path.exists() else b""
    return all(summary.SerializeToString() in content for summary in summaries)


def event_file(summaries: Iterable[Summary], *, step: int, now: float) -> bytes:
    """The content of an event file: TFRecords of `Event` messages, the first of which tells the version."""
    from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
    from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    for summary in summaries:
        writer.write(Event(wall_time=now, step=step, summary=summary).SerializeToString())
    return buffer.getvalue()


def scalars(values: Mapping[str, float]) -> Summary:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])


def image(tag: str, png: bytes, size: tuple[int, int]) -> Summary:
    """`size`: width and height in pixels."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    encoded = Summary.Image(width=size[0], height=size[1], colorspace=3, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=tag, image=encoded)])
