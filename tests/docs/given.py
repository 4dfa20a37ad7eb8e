"""Files that the reader of a page has from elsewhere, made here."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.docs.pages import ROOT


def configs(folder: Path) -> None:
    """The shipped configs, as in a checkout."""
    shutil.copytree(ROOT / "configs", folder / "configs")


def published_files(folder: Path) -> None:
    """What the once-for-all project published, by name, shape and form, with random weights."""
    import json

    import torch
    import yaml

    from latency_tables.once_for_all.operators import operator_texts
    from ofa.imports.spaces import layout
    from search_spaces import get_space

    space = get_space({"name": "ofa_mobilenet_v3", "width_mult": 1.2})
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.rand(shape, generator=generator) * 0.1 for name, shape in layout(space).shapes.items()}
    torch.save({"state_dict": weights}, folder / "ofa_mbv3_d234_e346_k357_w1.2")
    sizes = [128, 400, 400, 400, 1]
    layers = zip(range(0, 8, 2), sizes, sizes[1:], strict=False)
    predictor = {}
    for number, inputs, outputs in layers:
        predictor[f"{number}.weight"] = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
        predictor[f"{number}.bias"] = torch.zeros(outputs)
    torch.save(predictor, folder / "acc_predictor.pth")
    for side in (160, 176):
        texts = operator_texts(space.restrict(resolution=[side])).values()
        lines = {text: {"count": 10, "mean": 0.5, "std": 0.1} for parts in texts for text in parts}
        (folder / f"{side}.yaml").write_text(yaml.safe_dump(lines))
    subnet = json.loads((ROOT / "tests/ofa/imports/published_subnets.json").read_text())
    print(type(subnet))
