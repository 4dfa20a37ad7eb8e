"""Fit accuracy models to records: cross-validation picks one, held-out records grade it, all records refit it.

The choice is nested: the records that grade the model take no part in choosing it. The interval of the model that is
handed out comes from a cross-validation of its own, over all records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from predictors.base import Floats, Predictor
from predictors.fit_job import Job
from predictors.grades import Grade, Grader, baselines
from predictors.record_file import Records, load_records
from predictors.settings import PredictorSettings
from predictors.storage import OutdatedPredictor, read_predictor, write_predictor
from predictors.targets import TARGETS
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest, read_json
from search_spaces.common.progress import progress_bar

Indices = npt.NDArray[np.int64]

#: Fewer records than this cannot be split for picking, grading and intervals.
MIN_RECORDS = 10
_ALGORITHM = 2  # part of the digest of the inputs: raise it when fitting changes


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
    known = _known(folder)
    if known is not None:
        if known.published is not None:
            raise UserError("holds a published predictor", file=folder, hint="Delete this folder to fit one to records")
        if known.inputs == inputs:
            return known
    predictor = fit_records(space, records, config.predictor, seed=config.seed, quiet=quiet, file=run / "records.jsonl")
    write_predictor(predictor, folder)
    return read_predictor(folder)


def _known(folder: Path) -> Predictor | None:
    """The predictor that is there. Written whole, so a damaged one was tampered with: refused, not replaced."""
    if not (folder / "predictor.json").exists():
        return None
    try:
        return read_predictor(folder)
    except OutdatedPredictor:
        return None


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
    used = used.take(np.argsort(used.keys))  # the order of the records is of no matter
    job = Job.of(space, used, settings, seed)
    train, heldout = split_heldout(used.group_names, settings.holdout, seed=seed)
    every = np.arange(len(used))
    names = settings.candidates
    num_fits = (len(names) + 1) * settings.folds + 2
    with progress_bar("fitting predictors", num_fits, quiet=quiet) as advance:
        outside = {name: job.out_of_fold(name, train, advance) for name in names}
        scores = {name: job.fold_score(prediction, train) for name, prediction in outside.items()}
        name = preferred({name: outside[name].mean for name in names}, job.targets[train])

        graded = job.fit(name, train)
        advance()
        scale = job.scale(outside[name], train)
        grader = Grader(used.accuracies[heldout], settings.level, settings.bootstrap, seed)
        calibrated = graded.predict(job.encodings[heldout]).calibrated(scale, TARGETS[settings.target].to_accuracy)
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
        model = job.fit(name, every)
        advance()
        scale = job.scale(job.out_of_fold(name, every, advance), every)  # no record is predicted by a model that saw it
    return Predictor(
        name=name,
        model=model,
        target=settings.target,
        interval_scale=scale,
        level=settings.level,
        space_description=space.description,
        space_fingerprint=space.fingerprint,
        grade=grade,
        inputs=inputs_digest(records, space, settings, seed=seed),
    )


def preferred(predicted: Mapping[str, Floats], true: Floats) -> str:
    """The first candidate, unless another ranks better by more than chance: then, of those, the best.

    Compared is Kendall's tau of `predicted` (num,) and `true` (num,) on the same records. The standard error of the
    difference of two such statistics is that of the mean of what every record adds to it (Sen, 1960: the jackknife of a
    U-statistic); an advantage below one of them is no evidence, and of few records it rarely is.
    """
    first, *others = predicted
    agreement = {name: _agreements(values, true) for name, values in predicted.items()}
    best, most = first, 0.0
    for name in others:
        gain = agreement[name] - agreement[first]
        error = 2.0 * float(gain.std(ddof=1)) / np.sqrt(len(gain))
        if gain.mean() > max(error, most):
            best, most = name, float(gain.mean())
    return best


def _agreements(predicted: Floats, true: Floats) -> Floats:
    """For every record the share of others that stand on the same side of it in both, less those that do not."""
    sides = np.sign(predicted[:, None] - predicted) * np.sign(true[:, None] - true)
    return np.asarray(sides.sum(axis=1) / (len(true) - 1))


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
