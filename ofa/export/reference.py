"""The largest subnet scored like a winner: what all the specialised networks give up accuracy against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from ofa.export.layers import exact_costs
from ofa.export.session import LEDGER, ExportSession
from search_spaces.common.files import write_json
from trainers.checkpoints.store import weights_digest
from trainers.data.test_ledger import score_once
from trainers.evaluation.evaluate import evaluate_network

SCHEMA = 1
FILE = "reference.json"


def score_largest(session: ExportSession) -> dict[str, Any]:
    """Write and return `reference.json`: selection and test accuracy, costs and predicted latencies of the largest
    subnet. The test split is read once, as for every network.
    """
    architecture, data, batch_size = session.largest, session.data, session.config.export.batch_size
    network, side = session.specialized(architecture), architecture.resolution

    def score(batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        return {name: float(value) for name, value in asdict(evaluate_network(network, batches)).items()}

    selection = score(data.batches("selection", resolution=side, batch_size=batch_size))
    key = f"{architecture.key}-{weights_digest(network.state_dict())[:16]}"
    ledger = Path(session.run) / LEDGER
    test = score_once(data, key=key, ledger=ledger, resolution=side, batch_size=batch_size, score=score)
    row = session.space.encode([architecture])
    facts = {
        "schema": SCHEMA,
        "supernet_sha256": session.supernet.weights_sha256,
        "key": architecture.key,
        "architecture": architecture.to_json(),
        "accuracy": {
            split: {**found, "num_images": int(found["num_images"])}
            for split, found in (("selection", selection), ("test", test))
        },
        "costs": exact_costs(session.space, architecture),
        "latency": {device: float(table.evaluate(row)[0]) for device, table in session.latencies.items()},
    }
    write_json(Path(session.run) / FILE, facts)
    return facts
