"""A network of a supernet trained on alone for a while, distilled from the largest subnet. Kept only if that helps it.

The training is the supernet's own (`trainers/training.py`) over a space of one network: it resumes, is deterministic
and runs under torchrun as any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic
from torch.fx import GraphModule

from ofa.export.settings import ExportSettings
from search_spaces import Architecture
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest, read_json, write_json
from search_spaces.common.settings import Settings, apply_overrides, parse_settings
from search_spaces.plain import clone_network
from trainers.accounting import Ledger
from trainers.alone import only, with_phases
from trainers.checkpoints.store import check_tensors, load_supernet, read_tensors, weights_digest, write_tensors
from trainers.command import train_config
from trainers.evaluation.evaluate import evaluate_network, specialize
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainingConfig, training_inputs
from trainers.training import check_same_training

if TYPE_CHECKING:
    from ofa.export.session import ExportSession

SCHEMA = 2
FOLDER, FILE, WEIGHTS = "finetuned", "finetuned.json", "network.safetensors"


class FinetuneSettings(Settings):
    """How a network is trained on: AdamW, a cosine schedule without warm-up. The loss is the mean of label loss and
    soft cross entropy against the largest subnet of the supernet (`distill: none`: the label loss alone).
    """

    epochs: float = pydantic.Field(gt=0)
    lr: float = pydantic.Field(gt=0)
    weight_decay: float = pydantic.Field(ge=0)
    batch_size: int = pydantic.Field(ge=2)
    distill: Literal["largest", "none"] = "largest"

    @classmethod
    def of(cls, settings: ExportSettings, **changes: Any) -> FinetuneSettings:
        """As the `export` section of a config has it, with `changes`."""
        names = ("epochs", "lr", "weight_decay", "batch_size")
        found = {name: getattr(settings, f"finetune_{name}") for name in names} | changes
        return parse_settings(cls, found)


@dataclass(frozen=True)
class Finetuning:
    """Selection accuracies (0..1) of the network as the supernet has it and after fine-tuning; `kept`: which one goes
    on. `macs`: multiply-accumulates of all forward and backward passes, the teacher's included.
    """

    epochs: float
    before: float
    after: float
    kept: bool
    macs: int


def finetune_config(
    session: ExportSession, architecture: Architecture, settings: FinetuneSettings, overrides: Sequence[str] = ()
) -> TrainingConfig:
    """The training of `architecture` alone, from its weights in the supernet. `overrides`: `train.key=value`, last."""
    phase = PhaseSettings(
        name="finetune",
        epochs=settings.epochs,
        sampling="largest",
        distillation="none" if settings.distill == "none" else "teacher",
        distillation_weight=0.5,
        label_weight=0.5,
    )
    config = session.config
    train = with_phases(
        config.train,
        (phase,),
        optimizer={"name": "adamw", "lr": settings.lr, "weight_decay": settings.weight_decay},
        schedule={},
        batch_size=min(settings.batch_size, session.data.num_train),
        micro_batch=None,
        label_smoothing=0.0,
        ema_decay=None,
        max_steps=None,
        init={"run": session.run, "sha256": session.supernet.weights_sha256},
    )
    section = {"train": train.model_dump(mode="json")}
    if wrong := [text for text in overrides if not text.strip().startswith("train.")]:
        raise UserError("fine-tuning takes settings of the train section only", key="--set", value=wrong[0])
    facts = {
        "name": config.name,
        "seed": config.seed,
        "space": only(config.space, session.space, architecture),
        "data": config.data.model_dump(mode="json", exclude_none=True),
    }
    return parse_settings(TrainingConfig, {**facts, **apply_overrides(section, overrides)})


def finetune(
    session: ExportSession, architecture: Architecture, settings: FinetuneSettings
) -> tuple[GraphModule, Finetuning]:
    """The network that goes on, in eval mode with BN statistics of its own, and what fine-tuning did to it.

    Trained into RUN/finetuned/KEY, or, if that holds one with other settings, into a folder of its own beside it. Same
    inputs, same network, computed once.
    """
    config = finetune_config(session, architecture, settings)
    folder = Path(session.run) / FOLDER / architecture.key
    try:
        check_same_training(config, folder)
    except UserError:
        folder = folder.with_name(f"{architecture.key}-{digest(training_inputs(config))[:8]}")
    train_finetuned(config, folder)
    score_finetuned(session, architecture, config, folder)
    return load_finetuned(session, folder)[1:]


def train_finetuned(config: TrainingConfig, folder: Path) -> None:
    """Train, or go on training. Raises `UserError` if `folder` holds a fine-tuning with other settings."""
    try:
        check_same_training(config, folder)
    except UserError as error:
        hint = "Choose another folder with -o, or take these settings"
        raise UserError(error.message, file=error.file, key=error.key, value=error.value, hint=hint) from None
    train_config(config, config.model_dump(mode="json", exclude_none=True), folder)


def score_finetuned(
    session: ExportSession, architecture: Architecture, config: TrainingConfig, folder: Path
) -> dict[str, Any]:
    """Write and return finetuned.json, beside it the weights of the fine-tuned network; at once if they are there."""
    trained = load_supernet(folder)
    if (folder / FILE).exists():
        known = _read_outcome(folder)
        if known["trained_sha256"] == trained.weights_sha256:
            return known
    assert config.train.phases is not None
    phase = config.train.phases[0]
    old, new = session.specialized(architecture), specialize(trained, architecture, session.data)
    before, after = (_accuracy(session, network, architecture) for network in (old, new))
    steps = int(trained.info["step"])
    outcome = Finetuning(
        epochs=phase.epochs,
        before=before,
        after=after,
        kept=after >= before,
        macs=Ledger.from_json(trained.info.get("cost")).macs.total,
    )
    facts = {
        "schema": SCHEMA,
        "key": architecture.key,
        "architecture": architecture.to_json(),
        "supernet_sha256": session.supernet.weights_sha256,
        "trained_sha256": trained.weights_sha256,
        "network_sha256": weights_digest(new.state_dict()),
        "distilled": phase.distillation == "teacher",
        "steps": steps,
        **asdict(outcome),
    }
    write_tensors(folder / WEIGHTS, new.state_dict())
    write_json(folder / FILE, facts)  # last: declares the weights whole
    return facts


def load_finetuned(session: ExportSession, folder: Path) -> tuple[Architecture, GraphModule, Finetuning]:
    """What a fine-tuning left in `folder`. The network is the supernet's own if fine-tuning did not help it.

    Raises `UserError` for a folder without one, damaged, or of another supernet than the session's.
    """
    stored = _read_outcome(folder)
    if stored["supernet_sha256"] != session.supernet.weights_sha256:
        raise UserError(
            "was fine-tuned from another supernet than this run's", file=folder / FILE, key="supernet_sha256"
        )
    architecture = Architecture.from_json(stored["architecture"], file=folder / FILE)
    session.space.encode([architecture], file=folder / FILE)
    outcome = Finetuning(**{key: stored[key] for key in Finetuning.__dataclass_fields__})
    network = session.specialized(architecture)
    if not outcome.kept:
        return architecture, network, outcome
    tuned = clone_network(network)
    tensors = read_tensors(folder / WEIGHTS, "fine-tuned network")
    check_tensors(tensors, tuned.state_dict(), file=folder / WEIGHTS)
    if weights_digest(tensors) != stored["network_sha256"]:
        raise UserError(
            "are not the weights that finetuned.json was written for",
            file=folder / WEIGHTS,
            hint="Delete finetuned.json and fine-tune again: the training itself is kept",
        )
    tuned.load_state_dict(tensors)
    return architecture, tuned.eval(), outcome


def _read_outcome(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    if not path.exists():
        raise UserError("no fine-tuned network", file=path, hint="Make it with: ofa finetune RUN ARCH")
    stored = read_json(path, "fine-tuning outcome")
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
        raise UserError(f"not a fine-tuning outcome of schema {SCHEMA}", file=path, hint="Delete it to score again")
    needed = ("architecture", "supernet_sha256", "trained_sha256", "network_sha256", *Finetuning.__dataclass_fields__)
    if missing := [key for key in needed if key not in stored]:
        raise UserError("this key is missing", file=path, key=missing[0], hint="Delete the file to score again")
    return stored


def _accuracy(session: ExportSession, network: GraphModule, architecture: Architecture) -> float:
    batch_size = session.config.export.batch_size
    batches = session.data.batches("selection", resolution=architecture.resolution, batch_size=batch_size)
    return evaluate_network(network, batches).accuracy
