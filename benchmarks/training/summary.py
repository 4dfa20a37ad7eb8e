"""All that the experiment says, as JSON: recipes beside each other, and subnets beside networks trained alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.training.curves import area, difference, mean_over_seeds, trapezoid_weights
from benchmarks.training.rankings import ceiling, mean_tau
from benchmarks.training.results import COSTS, Trained


def summarise(
    recipes: Sequence[Trained],
    alone: Trained | None,
    finetuned: Sequence[Trained],
    *,
    reference: str,
    seen: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Accuracies are in 0..1, MACs those of the training steps; `seen`: epochs that the largest network was trained."""
    by_label = {trained.label: trained for trained in recipes}
    fine = {trained.label: trained for trained in finetuned}
    entries = []
    for trained in recipes:
        entry = _recipe(trained, by_label.get(reference)) | {"seen_by_largest": (seen or {}).get(trained.label)}
        if alone is not None and set(alone.keys) <= set(trained.keys):
            entry |= _beside_alone(trained, alone, fine.get(trained.label))
        entries.append(entry)
    entries.sort(key=lambda entry: -entry["area"]["value"])
    return {"reference": reference, "recipes": entries, "alone": None if alone is None else _alone(alone)}


def _recipe(trained: Trained, reference: Trained | None) -> dict[str, Any]:
    macs = trained.sizes["macs"]
    smallest, largest = int(np.argmin(macs)), int(np.argmax(macs))
    areas = [area(macs, row) for row in trained.accuracies]
    entry: dict[str, Any] = {
        "label": trained.label,
        "epochs": trained.epochs,
        "seeds": list(trained.seeds),
        "area": asdict(mean_over_seeds(areas)),
        "areas": areas,
        "smallest": float(trained.accuracies[:, smallest].mean()),
        "largest": float(trained.accuracies[:, largest].mean()),
        "mean": float(trained.accuracies.mean()),
        "macs": trained.macs,
        **{name: trained.cost(name) for name in COSTS},
        "cpu_hours": trained.cost("cpu_seconds") / 3600,
    }
    if reference is not None and reference is not trained and reference.keys == trained.keys:
        weights = trapezoid_weights(macs)
        entry["area_minus_reference"] = asdict(difference(trained.accuracies, reference.accuracies, weights))
    return entry


def _beside_alone(trained: Trained, alone: Trained, finetuned: Trained | None) -> dict[str, Any]:
    subnets, truth = trained.of(alone.keys), alone.accuracies.mean(axis=0)
    entry: dict[str, Any] = {
        "minus_alone": asdict(difference(subnets, alone.accuracies)),
        "tau": asdict(mean_tau(subnets, truth)),
        "break_even_devices": _break_even(trained.macs, alone.macs),
    }
    if finetuned is not None and set(alone.keys) <= set(finetuned.keys):
        entry |= {
            "finetuned_minus_alone": asdict(difference(finetuned.of(alone.keys), alone.accuracies)),
            "finetuned_tau": asdict(mean_tau(finetuned.of(alone.keys), truth)),
            "finetuned_epochs": finetuned.epochs,
            "finetuned_break_even_devices": _break_even(trained.macs, alone.macs - finetuned.macs),
        }
    return entry


def _alone(alone: Trained) -> dict[str, Any]:
    truth = alone.accuracies.mean(axis=0)
    found = ceiling(alone.accuracies)
    return {
        "num": len(alone.keys),
        "epochs": alone.epochs,
        "seeds": list(alone.seeds),
        "mean": float(truth.mean()),
        "macs_each": alone.macs,
        "cpu_hours_each": alone.cost("cpu_seconds") / 3600,
        "tau_of_baselines": {name: asdict(mean_tau(values, truth)) for name, values in alone.sizes.items()},
        "tau_of_two_seeds": None if found is None else asdict(found),
        "networks": [
            {"key": key, "macs": float(macs), "accuracies": alone.accuracies[:, number].tolist()}
            for number, (key, macs) in enumerate(zip(alone.keys, alone.sizes["macs"], strict=True))
        ],
    }


def _break_even(supernet_macs: float, saved_per_network: float) -> float | None:
    """From how many networks on a supernet is cheaper; None: never."""
    return supernet_macs / saved_per_network if saved_per_network > 0 else None
