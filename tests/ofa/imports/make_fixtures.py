"""Writes golden_logits.json and published_subnets.json beside this file, by the published package's own code.

OFA_PEER_PYTHON=/path/to/venv/bin/python OFA_BENCH_DATA=/path/to/data python tests/ofa/imports/make_fixtures.py
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from conftest import NETWORKS, WORKER, random_subnets, to_published

from ofa.imports.names import PUBLISHED
from ofa.imports.subnet import read_subnet
from search_spaces import get_space

HERE = Path(__file__).parent
RESOLUTION, BATCH, NUM_SUBNETS, NUM_LOGITS, NUM_CLASSES = 96, 4, 4, 8, 10


def golden_logits(folder: Path) -> dict[str, Any]:
    jobs, networks = [], {}
    for number, (title, (family, width)) in enumerate(NETWORKS.items()):
        space = get_space({"name": PUBLISHED[family], "width_mult": width, "resolution": [RESOLUTION]}, NUM_CLASSES)
        found = random_subnets(space, NUM_SUBNETS, seed=number)
        networks[title] = [to_published(space, architecture) for architecture in found]
        job = {"network": family, "width_mult": width, "num_classes": NUM_CLASSES, "batch": BATCH}
        job |= {"subnets": networks[title], "modes": ["eval", "train"], "logits": str(folder / f"{number}.npz")}
        jobs.append(job)
    run_peer(folder, jobs)
    result: dict[str, Any] = {}
    for job, (title, subnets) in zip(jobs, networks.items(), strict=True):
        found = np.load(job["logits"])
        result[title] = [
            {
                "subnet": subnet,
                **{mode: first(found[f"{mode}_{i}"]) for mode in ("eval", "train")},
            }
            for i, subnet in enumerate(subnets)
        ]
    return {
        "what": "The first logits of a batch in the networks of the published package (PyPI ofa 0.1.0), whose weights "
        "and images peer_worker.py decides by their names; written by make_fixtures.py",
        "batch": BATCH,
        "num_classes": NUM_CLASSES,
        "networks": result,
    }


def published_subnets(folder: Path, data: Path) -> dict[str, Any]:
    nets = sorted((data / "published" / "subnets").iterdir())
    sizes = [json.loads((net / "run.config").read_text())["image_size"] for net in nets]
    pairs = [[str(net / "net.config"), size] for net, size in zip(nets, sizes, strict=True)]
    run_peer(folder, [{"count": pairs, "counts": str(folder / "counts.json")}])
    counts = json.loads((folder / "counts.json").read_text())
    rows = []
    for net, count in zip(nets, counts, strict=True):
        subnet = read_subnet(net / "net.config", run_config=net / "run.config")
        rows.append(
            {
                "name": net.name,
                "space": subnet.space.name,
                "width_mult": subnet.space.settings["width_mult"],
                **count,
                "architecture": subnet.architecture.to_json(),
            }
        )
    return {
        "what": "Architectures of published specialised networks as this project reads them, with the parameters and "
        "MACs that the published package (PyPI ofa 0.1.0) counts in the network it builds from the same net.config at "
        "the image size of its run.config; written by make_fixtures.py",
        "subnets": rows,
    }


def first(logits: np.ndarray) -> list[float]:
    return [float(f"{value:.7g}") for value in logits.ravel()[:NUM_LOGITS]]


def run_peer(folder: Path, jobs: list[dict[str, Any]]) -> None:
    (folder / "job.json").write_text(json.dumps(jobs))
    subprocess.run([os.environ["OFA_PEER_PYTHON"], str(WORKER), str(folder / "job.json")], cwd=folder, check=True)


def write(name: str, content: dict[str, Any]) -> None:
    """JSON with one row a line."""
    (key,) = (key for key in content if isinstance(content[key], dict | list))
    head = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in content.items() if k != key]
    rows = content[key]
    if isinstance(rows, list):
        body = "[\n  " + ",\n  ".join(map(json.dumps, rows)) + "\n ]"
    else:
        lines = [f"{json.dumps(k)}: [\n   " + ",\n   ".join(map(json.dumps, v)) + "\n  ]" for k, v in rows.items()]
        body = "{\n  " + ",\n  ".join(lines) + "\n }"
    (HERE / name).write_text("{\n " + ",\n ".join([*head, f"{json.dumps(key)}: {body}"]) + "\n}\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        write("golden_logits.json", golden_logits(Path(scratch)))
        write("published_subnets.json", published_subnets(Path(scratch), Path(os.environ["OFA_BENCH_DATA"])))
