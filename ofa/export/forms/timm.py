"""`timm/`: the network as a file of plain PyTorch, for those who read, change or train it with no part of this project.

`model.py` is written for this network alone (`ofa.export.torch_code`): classes of its blocks, with sizes as numbers,
and `Network` with what timm asks of a model. `model.safetensors` has its weights, under the names of its modules;
`config.json` is what timm's `local-dir:` and hub names read. Importing `model.py` makes it one of timm's models where
that is installed (timm 1.0, https://huggingface.co/docs/timm).

Loading such a folder executes its `model.py`: do that with folders that you trust. Here it is done to compare what was
just written, and only where both files are those that `config.json` was written with.
"""

from __future__ import annotations

import hashlib
import importlib.util
import keyword
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from ofa.export.architecture_file import FILE as ARCHITECTURE
from ofa.export.architecture_file import read_architecture_file
from ofa.export.forms.base import Predict, Source
from ofa.export.forms.torch_call import torch_call
from ofa.export.torch_code.file import Description, model_file
from search_spaces.common.errors import UserError, in_file
from search_spaces.common.files import atomic_directory, file_digest, read_json, write_bytes, write_json, write_text

CODE, WEIGHTS, CONFIG = "model.py", "model.safetensors", "config.json"

_USAGE = """\
import runpy

import numpy as np
import torch

network = runpy.run_path("timm/model.py")["create_model"]().eval()


@torch.inference_mode()
def logits(image):
    return network(torch.from_numpy(image))[0].numpy()
"""


class TimmForm:
    name = "timm"
    file = "timm"
    exact = True
    requires = ("torch", "safetensors")
    usage = _USAGE

    def write(self, source: Source, folder: Path) -> None:
        with in_file(f"{self.file}/{CODE}"):
            description = _description(source, folder)
            code = model_file(source.network, description)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in source.network.state_dict().items()}
        with atomic_directory(folder / self.file) as place:
            write_text(place / CODE, code)
            write_bytes(place / WEIGHTS, save(tensors, metadata={"format": "pt"}))
            write_json(place / CONFIG, _config(place, description, source.network))

    def load(self, folder: Path) -> Predict:
        """Executes `model.py`, as where timm is not installed."""
        self.digest(folder)
        network: nn.Module = _module(folder / self.file / CODE).create_model().eval()

        def predict(images: Tensor) -> Tensor:
            result: Tensor = network(images.float().cpu())
            return result

        return predict

    def prepare(self, folder: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
        """PyTorch, eager. The threads are torch's, set around all calls: see `latency_tables.timing.quiet_process`."""
        return torch_call(self.load(folder), input_shape)

    def digest(self, folder: Path) -> str:
        place = folder / self.file
        said = read_json(place / CONFIG, "config of a timm model")
        digests = said.get("sha256", {})
        for name in (CODE, WEIGHTS):
            if not (place / name).is_file() or file_digest(place / name) != digests.get(name):
                raise UserError("is not what was written", file=place / name, hint="Export again with the form 'timm'")
        return file_digest(place / CONFIG)

    def num_bytes(self, folder: Path) -> int:
        return sum((folder / self.file / name).stat().st_size for name in (CODE, WEIGHTS, CONFIG))


def _description(source: Source, folder: Path) -> Description:
    """From `architecture.json` where it is there already; without, images come as the network takes them."""
    channels = source.input_shape[0]
    if not (folder / ARCHITECTURE).exists():
        title = "A network found by neural architecture search."
        return Description("ofa_network", title, source.input_shape, (0.0,) * channels, (1.0,) * channels)
    said = read_architecture_file(folder / ARCHITECTURE)
    return Description(
        name=_identifier(f"ofa_{said.space.name}_{said.architecture.key}"),
        title=f"Network {said.architecture.key} of the search space {said.space.name}.",
        input_size=source.input_shape,
        mean=said.preprocessing.mean,
        std=said.preprocessing.std,
        label_names=said.class_names,
    )


def _identifier(name: str) -> str:
    name = re.sub(r"\W", "_", name)
    return f"{name}_" if keyword.iskeyword(name) else name


def _config(place: Path, description: Description, network: nn.Module) -> dict[str, Any]:
    """What timm writes of a model for its hub, and the digests of both files beside it."""
    module = _module(place / CODE)
    made = module.Network()
    own, given = made.state_dict(), network.state_dict()
    assert {name: t.shape for name, t in own.items()} == {name: t.shape for name, t in given.items()}
    kept = {name: value for name, value in module.CONFIG.items() if name not in ("architecture", "file")}
    return {
        "architecture": description.name,
        "num_classes": made.num_classes,
        "num_features": made.num_features,
        "pretrained_cfg": kept,
        "label_names": list(description.label_names),
        "sha256": {name: file_digest(place / name) for name in (CODE, WEIGHTS)},
    }


def _module(path: Path) -> ModuleType:
    """The code in `path`, executed as where timm is not installed: timm's registry is not touched."""
    name = f"ofa_exported_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _without("timm.models"):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Importing `package` fails inside, as if it were not installed; no bytecode is written beside what is imported."""
    missing = object()
    before: Any = sys.modules.get(package, missing)
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes
        if before is missing:
            del sys.modules[package]
        else:
            sys.modules[package] = before
