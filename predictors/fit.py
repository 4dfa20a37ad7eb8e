"""Fit accuracy models to records: cross-validation picks one, held-out records grade it, all records refit it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from predictors.base import FittedModel, Floats, Prediction, Predictor
from predictors.features import Encoder
from predictors.grades import FoldScore, Grade, Grader, baselines
from predictors.models import MODELS
from predictors.record_file import Records, load_records
from predictors.settings import PredictorSettings
from predictors.statistics import conformal_scale, kendall_tau
from predictors.storage import read_predictor, write_predictor
from predictors.targets import TARGETS
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest, read_json
from search_spaces.common.progress import progress_bar

Indices = npt.NDArray[np.int64]

#: Fewer records than this cannot be split for picking, grading and intervals.
MIN_RECORDS = 10
_ALGORITHM = 1  # part of the digest of the inputs: raise it when fitting changes


class FitConfig(Protocol):
    """The parts of a run's config that fitting reads."""

    @property
    def seed(self) -> int: ...
    @property
    def predictor(self) -> PredictorSettings: ...


def fit_predictor(run: Path, config: FitConfig, *, quiet: bool = False) -> Predictor:
    """Fit and grade the predictor of a run from its records into `run/predictor/`; at once if nothing changed."""
    run = Path(run)
    info = read_json(run / "supernet.json", "supernet description")
    if not isinstance(info, dict) or not isinstance(info.get("weights_sha256"), str) or "space" not in info:
        raise UserError("not a supernet description", file=run / "supernet.json")
    space = SearchSpace.from_description(info["space"], file=run / "supernet.json")
    records = load_records(run / "records.jsonl", space=space, weights_sha256=info["weights_sha256"])
    inputs = inputs_digest(records, space, config.predictor, seed=config.seed)
    folder = run / "predictor"
    if (folder / "predictor.json").exists():
        known = read_predictor(folder)  # written whole, so a damaged one was tampered with: refused, not replaced
        if known.published is not None:
            raise UserError("holds a published predictor", file=folder, hint="Delete this folder to fit one to records")
        if known.inputs == inputs:
            return known
    predictor = fit_records(space, records, config.predictor, seed=config.seed, quiet=quiet, file=run / "records.jsonl")
    write_predictor(predictor, folder)
    return read_predictor(folder)


def inputs_digest(records: Records, space: SearchSpace, settings: PredictorSettings, *, seed: int) -> str:
    """Equal exactly when fitting would give the same predictor."""
    used = records.of(settings.origins)
    return digest([_ALGORITHM, used.digest, space.fingerprint, settings.model_dump(mode="json"), seed])


def fit_records(
    space: SearchSpace,
    records: Records,
    settings: PredictorSettings,
    *,
    seed: int = 0,
    quiet: bool = False,
    file: Path | None = None,
) -> Predictor:
    """Pick, grade and fit. `UserError` with fewer than `MIN_RECORDS` records."""
    used = records.of(settings.origins)
    if len(used) < MIN_RECORDS:
        raise UserError(
            f"fitting needs at least {MIN_RECORDS} records, there are {len(used)}",
            file=file,
            hint="Evaluate more with `ofa records RUN -n 100`",
        )
    if len(set(used.group_names)) == 1:
        used = replace(used, groups=None)  # there is nothing to split but the group
    job = _Job.of(space, used, settings, seed)
    train, heldout = split_heldout(used.group_names, settings.holdout, seed=seed)
    num_fits = len(settings.candidates) * settings.folds + 2
    with progress_bar("fitting predictors", num_fits, quiet=quiet) as advance:
        outside = {name: job.out_of_fold(name, train, advance) for name in settings.candidates}
        scores = {name: job.fold_score(prediction, train) for name, prediction in outside.items()}
        name = max(scores, key=lambda candidate: (scores[candidate].tau, -scores[candidate].rmse))

        graded = job.fit(name, train)
        advance()
        held = graded.predict(job.encodings[heldout])
        scale = job.scale(outside[name], train)
        grader = Grader(used.accuracies[heldout], settings.level, settings.bootstrap, seed)
        calibrated = held.calibrated(scale, TARGETS[settings.target].to_accuracy)
        known = used.population[train], used.accuracies[train]
        grade = Grade(
            num_records=len(used),
            num_heldout=len(heldout),
            level=settings.level,
            predictor=grader.score(calibrated.mean),
            coverage=grader.coverage(calibrated),
            baselines=baselines(space, known, used.population[heldout], grader),
            cross_validation=scores,
        )
        model = job.fit(name, np.arange(len(used)))
        advance()
    unseen = _joined(outside[name], held)  # every record predicted by a model that did not see it
    return Predictor(
        name=name,
        model=model,
        target=settings.target,
        interval_scale=job.scale(unseen, np.concatenate([train, heldout])),
        level=settings.level,
        space_description=space.description,
        space_fingerprint=space.fingerprint,
        grade=grade,
        inputs=inputs_digest(records, space, settings, seed=seed),
    )


def split_heldout(groups: tuple[str, ...], share: float, *, seed: int) -> tuple[Indices, Indices]:
    """Positions (train, held out). Who is held out goes by a hash of the name, which new records hardly move.

    Records of one group stay together: a network whose first layers were seen in training is no fair question.
    """
    wanted = min(max(2, round(share * len(groups))), len(groups) - 4)
    members: dict[str, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    held: list[int] = []
    for group in sorted(members, key=lambda name: digest([seed, name])):
        if len(held) < wanted and len(held) + len(members[group]) <= len(groups) - 4:
            held += members[group]
    heldout = np.array(sorted(held), dtype=np.int64)
    return np.setdiff1d(np.arange(len(groups)), heldout), heldout


@dataclass(frozen=True)
class _Job:
    """The records of one fit as the models see them."""

    encodings: Floats  # (num, num_features)
    targets: Floats  # (num,)
    accuracies: Floats  # (num,)
    groups: Indices  # (num,) records of one number are never on both sides of a split
    settings: PredictorSettings
    seed: int

    @classmethod
    def of(cls, space: SearchSpace, records: Records, settings: PredictorSettings, seed: int) -> _Job:
        targets = TARGETS[settings.target].from_accuracy(records.accuracies)
        names = {name: number for number, name in enumerate(dict.fromkeys(records.group_names))}
        groups = np.array([names[name] for name in records.group_names], dtype=np.int64)
        return cls(Encoder(space)(records.population), targets, records.accuracies, groups, settings, seed)

    def fit(self, name: str, rows: Indices) -> FittedModel:
        return MODELS.get(name).fit(self.encodings[rows], self.targets[rows], self.groups[rows], seed=self.seed)

    def out_of_fold(self, name: str, rows: Indices, advance: Callable[..., None]) -> Prediction:
        """Predictions of the targets of `rows`, each by a model that did not see it."""
        _, group = np.unique(self.groups[rows], return_inverse=True)
        if group.max() == 0:  # the others are held out: as above
            group = np.arange(len(rows))
        order = np.random.default_rng([self.seed, len(rows)]).permutation(group.max() + 1)
        fold_of = order[group] % self.settings.folds
        ends = np.empty((3, len(rows)))
        for fold in range(self.settings.folds):
            inside = fold_of == fold
            if inside.any():
                part = self.fit(name, rows[~inside]).predict(self.encodings[rows[inside]])
                ends[:, inside] = part.mean, *part.ends
            advance(1, note=name)
        return Prediction(*ends)

    def fold_score(self, prediction: Prediction, rows: Indices) -> FoldScore:
        errors = TARGETS[self.settings.target].to_accuracy(prediction.mean) - self.accuracies[rows]
        tau = kendall_tau(prediction.mean, self.targets[rows])(np.ones((1, len(rows))))
        return FoldScore(tau=float(tau[0]), rmse=float(np.sqrt(np.mean(errors**2))))

    def scale(self, prediction: Prediction, rows: Indices) -> float:
        """What the half-widths of out-of-fold predictions must be multiplied by to cover the truth."""
        lower, upper = prediction.ends
        half = (upper - lower) / 2
        return conformal_scale(prediction.mean - self.targets[rows], half, level=self.settings.level)


def _joined(first: Prediction, second: Prediction) -> Prediction:
    return Prediction(
        np.concatenate([first.mean, second.mean]),
        *(np.concatenate(pair) for pair in zip(first.ends, second.ends, strict=True)),
    )
