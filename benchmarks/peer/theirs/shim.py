"""What the peer needs to run on current versions, put in at run time. Importing this module does it.

- PyYAML 6 wants a loader: `yaml.load(stream)` becomes the safe one;
- `torch._six` is gone since torch 2.0;
- progress bars are silent;
- published files come from OFA_BENCH_DATA instead of the network.

Hard-coded CUDA is avoided by passing `device="cpu"` where the peer takes it, and by not using what does not.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import types
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import tqdm
import yaml

#: The other project's packages, should they be installed beside the shared torch.
NOT_HERE = ("search_spaces", "latency_tables", "trainers", "predictors")


class _Refusing(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in NOT_HERE:
            raise ImportError(f"{name} has no place in the peer's process")
        return None


def _prepare() -> None:
    sys.meta_path.insert(0, _Refusing())
    yaml.load = functools.partial(yaml.load, Loader=yaml.SafeLoader)
    six = types.ModuleType("torch._six")
    six.string_classes = (str, bytes)  # type: ignore[attr-defined]
    sys.modules.setdefault("torch._six", six)
    tqdm.tqdm.__init__ = functools.partialmethod(tqdm.tqdm.__init__, disable=True)
    import ofa

    assert Path(str(ofa.__file__)).is_relative_to(Path(sys.prefix)), f"`ofa` is not the peer: {ofa.__file__}"


def use_published_files() -> None:
    """Let the tutorial's classes find their tables and predictor in OFA_BENCH_DATA."""
    for name in ("ofa.tutorial.latency_table", "ofa.tutorial.accuracy_predictor"):
        importlib.import_module(name).download_url = _published_file  # type: ignore[attr-defined]


def table_folder() -> Path:
    """The folder of `RESOLUTION_lookup_table.yaml` of the Note10."""
    return Path(os.environ["OFA_BENCH_DATA"]) / "published" / "note10_mobilenet_v3_w1.2"


def _published_file(url: str, *_: Any, **__: Any) -> str:
    name = url.rpartition("/")[2]
    folder = table_folder() if name.endswith(".yaml") else table_folder().parent / "accuracy_predictors"
    assert (folder / name).exists(), f"OFA_BENCH_DATA has no {name} for {url}"
    return str(folder / name)


_prepare()
