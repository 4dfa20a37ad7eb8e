"""`ofa rank`: what the rankings of a run are worth, from fresh networks, networks trained alone, and the predictor."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ofa.console import note
from ofa.pipeline import lock_run
from ofa.rank.alone import AloneTraining, alone_folder, standalone_accuracies
from ofa.rank.answers import Answer, AnswerBook, answer
from ofa.rank.fresh import MIN_NETWORKS, fresh_networks
from ofa.rank.rank_file import FILE, FOLDER, SCHEMA
from ofa.rank.sensitivity import NUM_NETWORKS, gene_steps, means, refitted
from ofa.search.costs import cost_of
from predictors.base import BoundPredictor, Prediction, Predictor, load_predictor
from predictors.features import depth_cost
from predictors.rankings import Bootstrap, between_seeds, binomial_noise, image_noise, noise_ceiling, seed_noise
from search_spaces.common.errors import UserError, in_file
from search_spaces.common.files import write_json
from search_spaces.common.progress import track

if TYPE_CHECKING:
    from ofa.config import RunConfig
    from predictors.record_file import Records
    from search_spaces import Architecture, SearchSpace
    from search_spaces.costs import CostTable

Floats = npt.NDArray[np.float64]

#: Draws that a noise ceiling is simulated with.
_DRAWS = 300


@dataclass(frozen=True)
class Fresh:
    """Networks that no predictor was fitted to, as they are and as the supernet has them."""

    population: npt.NDArray[np.int64]  # (num, num_genes)
    architectures: list[Architecture]
    accuracies: Floats  # (num,) on the selection split, in 0..1
    correct: npt.NDArray[np.bool_]  # (num, num_images)


def rank_run(
    run: Path, config: RunConfig, *, num: int, standalone: int = 0, num_seeds: int = 2, quiet: bool = False
) -> dict[str, Any]:
    """Judge the rankings of a run by `num` fresh networks and the first `standalone` of them trained alone; write and
    return `rank.json`.

    Evaluations and trainings that are on file are used again. Raises `UserError` for fewer than `MIN_NETWORKS`.
    """
    from predictors.records import SubnetEvaluator, record_identity
    from trainers.data import keep_loaded

    run = Path(run)
    _check(config, num, standalone, num_seeds)
    predictor = load_predictor(run / "predictor")
    with lock_run(run / FOLDER), keep_loaded():
        evaluator = SubnetEvaluator(run, config)
        space, weights = evaluator.supernet.space, evaluator.supernet.weights_sha256
        with in_file(run / "predictor"):
            predict = predictor.bind(space)
        records = evaluator.book.reload()
        rows = fresh_networks(space, records, num, seed=config.seed, sampling=config.records.sampling)
        identity = record_identity(weights, evaluator.data.split_sha256)
        batch_size = config.records.batch_size
        evaluate = partial(answer, evaluator.supernet, data=evaluator.data, batch_size=batch_size)
        book = AnswerBook(run / FOLDER / "answers.jsonl", evaluate, identity=identity)
        fresh = _evaluated(space, rows, evaluator.book, book, quiet=quiet)
        bootstrap = Bootstrap(config.predictor.level, config.predictor.bootstrap, config.seed)
        prediction = predict(fresh.population)
        trained = None
        if standalone:
            trained = _standalone(run, config, space, fresh, prediction, standalone, num_seeds, bootstrap, quiet=quiet)
    facts = {
        "schema": SCHEMA,
        "fingerprint": space.fingerprint,
        **identity,
        "seed": config.seed,
        "level": bootstrap.level,
        "predictor": {
            "model": predictor.name,
            "inputs": predictor.inputs,
            "published": predictor.published is not None,
        },
        "predicted": _predicted(space, fresh, prediction, bootstrap),
        "standalone": trained,
        "sensitivity": _sensitivity(run, config, space, predictor, predict, records),
    }
    write_json(run / FILE, facts)
    return facts


def _check(config: RunConfig, num: int, standalone: int, num_seeds: int) -> None:
    """What can be told before anything is loaded."""
    if num < MIN_NETWORKS:
        raise UserError(f"a ranking is judged by at least {MIN_NETWORKS} networks", key="-n", value=num)
    if standalone and not MIN_NETWORKS <= standalone <= num:
        rule = f"must be 0 (none) or from {MIN_NETWORKS} to the {num} networks of -n, of which they are the first"
        raise UserError(rule, key="--standalone", value=standalone)
    if num_seeds < 1:
        raise UserError("a network is trained with at least one seed", key="--seeds", value=num_seeds)
    if "rank" in config.predictor.origins:
        raise UserError(
            "the networks that a ranking is judged by must not be fitted",
            key="predictor.origins",
            value=list(config.predictor.origins),
            hint="Leave out rank, and fit again with: ofa fit RUN",
        )


def _evaluated(
    space: SearchSpace, rows: npt.NDArray[np.int64], records: Any, answers: AnswerBook, *, quiet: bool
) -> Fresh:
    """The networks evaluated on the selection split; what is missing from either file is evaluated now."""
    architectures = space.decode(rows)
    accuracies = []
    found: list[Answer] = []
    for architecture in track(architectures, "evaluating fresh networks", len(architectures), quiet=quiet):
        found.append(answers(architecture))
        accuracies.append(records.accuracy(architecture, answers, origin="rank"))
    return Fresh(rows, architectures, np.array(accuracies), np.stack([one.correct for one in found]))


def _rankers(space: SearchSpace, population: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """The trivial ways to rank: who costs more is better."""
    tables = (space.cost("macs"), space.cost("params"), depth_cost(space))
    return {table.metric: table.evaluate(population) for table in tables}


def _predicted(space: SearchSpace, fresh: Fresh, prediction: Prediction, bootstrap: Bootstrap) -> dict[str, Any]:
    """The predictor against recalibrated subnets it never saw."""
    accuracies, num_images = fresh.accuracies, fresh.correct.shape[1]
    trivial = _rankers(space, fresh.population)
    scores = {
        name: asdict(bootstrap.agreement(values, accuracies))
        for name, values in {"predictor": prediction.mean, **trivial}.items()
    }
    noises = {
        "same_images": image_noise(fresh.correct, num_draws=_DRAWS, seed=bootstrap.seed),
        "own_images": binomial_noise(accuracies, num_images, num_draws=_DRAWS, seed=bootstrap.seed),
    }
    return {
        "num": len(accuracies),
        "num_images": num_images,
        "scores": scores,
        "ceiling": {
            name: asdict(noise_ceiling(accuracies, noise, level=bootstrap.level, grid=num_images))
            for name, noise in noises.items()
        },
        "rmse": float(np.sqrt(np.mean((prediction.mean - accuracies) ** 2))),
        "coverage": _coverage(prediction, accuracies),
        "networks": [
            {
                "key": architecture.key,
                "accuracy": float(accuracies[i]),
                "predicted": prediction.facts(i),
                **{name: int(values[i]) for name, values in trivial.items()},
                "architecture": architecture.to_json(),
            }
            for i, architecture in enumerate(fresh.architectures)
        ],
    }


def _coverage(prediction: Prediction, accuracies: Floats) -> float | None:
    if prediction.lower is None or prediction.upper is None:
        return None
    return float(np.mean((prediction.lower <= accuracies) & (accuracies <= prediction.upper)))


def _standalone(
    run: Path,
    config: RunConfig,
    space: SearchSpace,
    fresh: Fresh,
    prediction: Prediction,
    num: int,
    num_seeds: int,
    bootstrap: Bootstrap,
    *,
    quiet: bool,
) -> dict[str, Any]:
    """The supernet's subnets, and whatever else ranks networks, against the same networks trained alone."""
    seeds = list(range(config.seed, config.seed + num_seeds))
    architectures = fresh.architectures[:num]
    train, folder = AloneTraining(config, space), run / FOLDER
    for seed, architecture in itertools.product(seeds, architectures):  # all before any is trained for hours
        train.check(architecture, seed, alone_folder(folder, architecture, seed))

    def tell(text: str) -> None:
        if not quiet:
            note(f"[{config.name}] {text}")

    accuracies = standalone_accuracies(architectures, seeds, train, folder=folder, tell=tell)
    rankers = {"supernet": fresh.accuracies, "predictor": prediction.mean, **_rankers(space, fresh.population)}
    return standalone_facts({name: values[:num] for name, values in rankers.items()}, accuracies, bootstrap) | {
        "seeds": seeds,
        "epochs": config.train.total_epochs,
        "networks": [
            {"key": one.key, "alone": accuracies[:, i].tolist(), "supernet": float(fresh.accuracies[i])}
            for i, one in enumerate(architectures)
        ],
    }


def standalone_facts(rankers: Mapping[str, Floats], accuracies: Floats, bootstrap: Bootstrap) -> dict[str, Any]:
    """Scores of `rankers` (num,) against `accuracies` (num_seeds, num): their mean over the seeds is the truth."""
    truth = accuracies.mean(axis=0)
    seeds, ceiling = between_seeds(accuracies, bootstrap), None
    if len(accuracies) > 1:
        noise = seed_noise(accuracies, num_draws=_DRAWS, seed=bootstrap.seed)
        ceiling = asdict(noise_ceiling(truth, noise, level=bootstrap.level))
    return {
        "num": len(truth),
        "scores": {name: asdict(bootstrap.agreement(values, truth)) for name, values in rankers.items()},
        "between_seeds": None if seeds is None else asdict(seeds),
        "ceiling": ceiling,
    }


def _sensitivity(
    run: Path, config: RunConfig, space: SearchSpace, predictor: Predictor, predict: BoundPredictor, records: Records
) -> dict[str, Any]:
    costs = _costs(run, config, space)
    fitted = records.of(config.predictor.origins)
    others = refitted(predictor, space, fitted, seed=config.seed)
    steps, kinds = gene_steps(space, means(predict), others, costs, level=config.predictor.level, seed=config.seed)
    return {
        "costs": list(costs),
        "num_networks": NUM_NETWORKS,
        "num_refits": len(others),
        "kinds": [{**asdict(step), "beyond_noise": step.gain.tells} for step in kinds],
        "steps": [{**asdict(step), "beyond_noise": step.gain.tells} for step in steps],
    }


def _costs(run: Path, config: RunConfig, space: SearchSpace) -> dict[str, CostTable]:
    """What a step is paid in: time (on boards, instructions) on the devices that have a table, that of the search
    first; and MACs.
    """
    from latency_tables.cortex_m.board_table import BoardTable
    from latency_tables.table import Table, load_any_table

    names = sorted((device.name for device in config.devices), key=lambda name: name != config.search.device)
    tables: dict[str, Table] = {}
    for name in names:
        if (path := run / "tables" / f"{name}.json").exists():
            table = load_any_table(path)
            tables[name] = table.tables(device=name)[0] if isinstance(table, BoardTable) else table
    return {**{cost_of(name, table): table.cost(space) for name, table in tables.items()}, "macs": space.cost("macs")}
