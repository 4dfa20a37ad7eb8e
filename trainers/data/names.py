"""What a person calls the images of a data set, looked up only when somebody has to be told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from search_spaces.common.errors import UserError
from trainers.data.sources import SOURCES
from trainers.settings.data import DataSettings


def image_names(settings: DataSettings, indices: Iterable[int], *, base: Path | None = None) -> list[str]:
    """Paths, or numbers in a file, of images of the whole data set; "image N" if it cannot be read any more.

    The data set is opened anew, so that no run carries a million names about for the day something goes wrong.
    """
    path = None if settings.path is None else (base or Path()) / settings.path.expanduser()
    try:
        store = SOURCES.get(settings.name, key="data.name")(settings, path).store
        return [store.name(int(index)) for index in indices]
    except (UserError, LookupError):
        return [f"image {int(index)}" for index in indices]
