"""An ensemble of small multi-layer perceptrons, trained all at once; it predicts with numpy alone.

Members differ by their start and by the records they see (bagging); their disagreement widens the interval
(Lakshminarayanan et al., "Simple and scalable predictive uncertainty estimation using deep ensembles", 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from predictors.arrays import take
from predictors.base import Floats, Prediction

if TYPE_CHECKING:
    from predictors.features import Blocks

_MEMBERS, _HIDDEN, _STEPS = 8, 32, 200
_LEARNING_RATE, _WEIGHT_DECAY = 0.02, 0.05


@dataclass(frozen=True)
class MLPEnsemble:
    """Two hidden layers of SiLU units on standardised inputs and targets, plus a linear path beside them.

    Shapes, with M members, F features and H units: first (M, F, H), second (M, H, H), last (M, H), linear (M, F).
    """

    parameters: dict[str, Floats]
    centre: Floats  # (F,)
    scale: Floats  # (F,)
    target: Floats  # (3,): mean and standard deviation of the targets, residual error in units of the latter

    @classmethod
    def fit(
        cls,
        encodings: Floats,
        targets: Floats,
        groups: npt.NDArray[np.int64],
        *,
        seed: int,
        blocks: Blocks | None = None,
    ) -> MLPEnsemble:
        centre, scale = encodings.mean(axis=0), np.maximum(encodings.std(axis=0), 0.05)
        mean, deviation = float(targets.mean()), max(float(targets.std()), 1e-9)
        inputs, wanted = (encodings - centre) / scale, (targets - mean) / deviation
        rng = np.random.default_rng([seed, len(targets)])
        shares = _bags(groups, rng)
        with _one_thread():
            parameters = _train(inputs, wanted, shares, rng)
        outputs = _forward(parameters, inputs)
        unseen = shares == 0  # an out-of-bag residual is an honest one
        error = float(np.sqrt(np.mean((outputs - wanted)[unseen] ** 2))) if unseen.any() else 1.0
        return cls(parameters, centre, scale, np.array([mean, deviation, max(error, 1e-9)]))

    def predict(self, encodings: Floats) -> Prediction:
        outputs = _forward(self.parameters, (encodings - self.centre) / self.scale)
        center, deviation, error = self.target
        mean = center + deviation * outputs.mean(axis=0)
        half = deviation * np.sqrt(error**2 + outputs.var(axis=0))
        return Prediction(mean=mean, lower=mean - half, upper=mean + half)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {**self.parameters, "centre": self.centre, "scale": self.scale, "target": self.target}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], *, num_features: int) -> MLPEnsemble:
        members = arrays["last"].shape[0] if "last" in arrays and arrays["last"].ndim == 2 else 0
        hidden = arrays["last"].shape[1] if members else 0
        shapes = _shapes(members, num_features, hidden)
        extra = {"centre": (num_features,), "scale": (num_features,), "target": (3,)}
        checked = take(arrays, {**shapes, **extra})
        if (checked["scale"] <= 0).any():
            raise ValueError("array 'scale' holds a number that is not positive")
        return cls({name: checked[name] for name in shapes}, checked["centre"], checked["scale"], checked["target"])


def _shapes(members: int, features: int, hidden: int) -> dict[str, tuple[int, ...]]:
    return {
        "first": (members, features, hidden),
        "first_bias": (members, 1, hidden),
        "second": (members, hidden, hidden),
        "second_bias": (members, 1, hidden),
        "last": (members, hidden),
        "linear": (members, features),
        "bias": (members,),
    }


def _bags(groups: npt.NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """Weights (M, num): every member leaves out about a fifth of the groups."""
    unique, inverse = np.unique(groups, return_inverse=True)
    kept = (rng.random((_MEMBERS, len(unique))) > 0.2).astype(np.float64)
    kept[kept.sum(axis=1) == 0] = 1.0
    return np.asarray(kept[:, inverse])


@contextmanager
def _one_thread() -> Iterator[None]:
    """So small a network is trained fastest by one thread, and then its weights do not depend on their number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train(inputs: Floats, wanted: Floats, shares: Floats, rng: np.random.Generator) -> dict[str, Floats]:
    """Full-batch AdamW with a cosine learning rate."""
    import torch
    from torch.nn import functional

    features = inputs.shape[1]
    parameters = {}
    for name, shape in _shapes(_MEMBERS, features, _HIDDEN).items():
        fan_in = {"first": features, "second": _HIDDEN, "last": _HIDDEN}.get(name)
        values = rng.standard_normal(shape) / np.sqrt(fan_in) if fan_in else np.zeros(shape)
        parameters[name] = torch.tensor(values, requires_grad=True)
    decayed = [parameters[name] for name in ("first", "second", "last", "linear")]
    free = [parameters[name] for name in ("first_bias", "second_bias", "bias")]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": _WEIGHT_DECAY}, {"params": free, "weight_decay": 0.0}], lr=_LEARNING_RATE
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    x_NF, y_N, share_MN = torch.from_numpy(inputs), torch.from_numpy(wanted), torch.from_numpy(shares)
    share_MN = share_MN / share_MN.sum(dim=1, keepdim=True)
    for _ in range(_STEPS):
        hidden = functional.silu(x_NF @ parameters["first"] + parameters["first_bias"])
        hidden = functional.silu(hidden @ parameters["second"] + parameters["second_bias"])
        linear_MN = parameters["linear"] @ x_NF.T
        outputs_MN = (hidden @ parameters["last"][:, :, None])[:, :, 0] + linear_MN + parameters["bias"][:, None]
        loss = (share_MN * (outputs_MN - y_N) ** 2).sum()  # members are independent: one sum trains each by itself
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return {name: parameter.detach().numpy().copy() for name, parameter in parameters.items()}


def _forward(parameters: Mapping[str, Floats], inputs: Floats) -> Floats:
    """(num, F) standardised inputs -> (M, num) standardised outputs."""
    members = []
    for m in range(len(parameters["bias"])):
        hidden = _silu(inputs @ parameters["first"][m] + parameters["first_bias"][m])
        hidden = _silu(hidden @ parameters["second"][m] + parameters["second_bias"][m])
        members.append(hidden @ parameters["last"][m] + inputs @ parameters["linear"][m] + parameters["bias"][m])
    return np.stack(members)


def _silu(x: Floats) -> Floats:
    return x / (1.0 + np.exp(-np.clip(x, -60.0, 60.0)))
