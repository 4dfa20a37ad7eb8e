"""What a run's search puts into TensorBoard, read back as TensorBoard reads it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ofa.search.loop import search_evaluating
from ofa.tensorboard import pareto, records
from ofa.tensorboard.pareto import draw_tradeoff, write_pictures
from ofa.tensorboard.records import gene_values, write_records
from ofa.tensorboard.scatter import BLUE, SIZE, VERMILION, Series, draw_scatter
from ofa.tensorboard.show import show_round, show_search
from predictors.record_file import Records, load_records
from search_spaces import SearchSpace, get_space
from search_spaces.common.files import read_lines
from tests.ofa.search.test_loop import SPACE, config
from tests.ofa.search.test_loop import run as run


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    events.Reload()
    return events


def session(folder: Path) -> tuple[str, dict[str, float | str]]:
    """Name and hyperparameters as the plug-in understands them."""
    from tensorboard.plugins.hparams import metadata

    content = read(folder).SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    info = metadata.parse_session_start_info_plugin_data(content)
    kind = {name: value.WhichOneof("kind") for name, value in info.hparams.items()}
    return info.group_name, {name: getattr(info.hparams[name], kind[name]) for name in kind}


def some_records(space: SearchSpace, num: int, *, searched: int = 0) -> Records:
    population = space.sample(num, np.random.default_rng(0))
    keys = tuple(architecture.key for architecture in space.decode(population))
    accuracies = np.linspace(0.5, 0.9, num)
    return Records(population, accuracies, accuracies, keys, ("sampled",) * (num - searched) + ("search",) * searched)


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return get_space(SPACE, 10, 1)


def test_a_search_is_shown_as_it_goes_and_once_it_is_done(run: Path, space: SearchSpace) -> None:
    facts = search_evaluating(run, config(), num=5, on_round=show_round, quiet=True)
    show_search(run, config(), facts)
    known = load_records(run / "records.jsonl", space=space)
    shown = read(run / pareto.FOLDER)
    assert shown.Tags()["images"] == ["pareto/macs"]
    steps = [event.step for event in shown.Images("pareto/macs")]
    assert steps[0] == 16 and steps[-1] == len(known), "from what was sampled to the winners"
    assert len(steps) >= 3 and steps == sorted(set(steps)), "every round of four, and no step twice"
    for event in shown.Images("pareto/macs"):
        picture = Image.open(io.BytesIO(event.encoded_image_string))
        assert picture.size == (event.width, event.height) == SIZE

    first, last = (shown.Images("pareto/macs")[i].encoded_image_string for i in (0, -1))
    assert first != last
    folder = run / records.FOLDER
    assert {path.name for path in folder.iterdir() if path.is_dir()} == set(known.keys)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.record")}
    show_search(run, config(), facts)
    again = read(run / pareto.FOLDER)
    assert [event.step for event in again.Images("pareto/macs")] == steps, "the same search again adds nothing"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.record")} == before


def test_a_run_shows_what_it_limits_and_all_it_evaluated(finished: Path) -> None:
    evaluated = {line["key"] for line in read_lines(finished / "records.jsonl", "records")}
    assert {path.name for path in (finished / records.FOLDER).iterdir() if path.is_dir()} == evaluated
    shown = read(finished / pareto.FOLDER)
    assert set(shown.Tags()["images"]) == {f"pareto/{cost}" for cost in ("macs", "latency@here", "peak_memory")}
    assert [event.step for event in shown.Images("pareto/macs")] == [len(evaluated)]


def test_equal_records_make_equal_files(space: SearchSpace, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_records(tmp_path / folder, space, some_records(space, 3), {"macs": space.cost("macs")}, most=3)
    files = [sorted(path for path in (tmp_path / folder).rglob("*") if path.is_file()) for folder in ("a", "b")]
    assert len(files[0]) == 4 and [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_a_record_is_its_genes_and_what_came_of_them(space: SearchSpace, tmp_path: Path) -> None:
    known = some_records(space, 5)
    macs = space.cost("macs")
    assert write_records(tmp_path, space, known, {"macs": macs}, most=10) == 5
    for i, key in enumerate(known.keys):
        name, values = session(tmp_path / key)
        assert name == key and values == gene_values(space, known.population[i : i + 1])[0]
        told = read(tmp_path / key)
        assert told.Scalars("record/accuracy")[0].value == pytest.approx(known.accuracies[i])
        assert told.Scalars("record/macs")[0].value == pytest.approx(macs.evaluate(known.population[i : i + 1])[0])


def test_genes_that_are_switched_off_still_have_a_value(space: SearchSpace) -> None:
    (smallest, largest) = gene_values(space, np.stack([space.smallest(), space.largest()]))
    choosing = {gene.name for gene in space.genes if len(gene.options) > 1}
    assert smallest.keys() == largest.keys() == choosing
    off = [name for name in smallest if smallest[name] == 0.0]
    assert off and all(largest[name] != 0.0 for name in off)


def test_columns_of_the_plugin_cover_every_value(space: SearchSpace, tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    known = some_records(space, 20)
    write_records(tmp_path, space, known, {"latency@a": space.cost("macs"), "macs": space.cost("macs")}, most=20)
    content = read(tmp_path).SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    experiment = metadata.parse_experiment_plugin_data(content)
    domains = {info.name: {v.number_value for v in info.domain_discrete.values} for info in experiment.hparam_infos}
    for values in gene_values(space, known.population):
        assert all(value in domains[name] for name, value in values.items())
    names = [info.name.tag for info in experiment.metric_infos]
    assert names == ["record/accuracy", "record/latency@a", "record/macs"], "TensorBoard shows the first of them"


def test_of_many_records_those_of_the_search_are_shown(space: SearchSpace, tmp_path: Path) -> None:
    known = some_records(space, 12, searched=3)
    write_records(tmp_path, space, known.take(np.arange(6)), {}, most=6)
    assert write_records(tmp_path, space, known, {}, most=6) == 6
    there = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert len(there) == 6 and set(known.keys[-3:]) <= there


def pixels(png: bytes, colour: str) -> int:
    """How many pixels have about this colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    found = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return int((np.abs(found - wanted).max(axis=-1) < 24).sum())


def test_winners_are_drawn_where_they_were_measured(space: SearchSpace) -> None:
    known, macs = some_records(space, 8), space.cost("macs")
    winner = {"measured": {}, "predicted_costs": {"macs": 3e5}, "selection_accuracy": 0.7}
    without = draw_tradeoff(known, macs, "macs")
    with_one = draw_tradeoff(known, macs, "macs", [{"name": "small", "winner": winner}])
    assert pixels(without, VERMILION) == 0 < pixels(with_one, VERMILION)
    elsewhere = {**winner, "measured": {"macs": {"median_ms": 6e5}}}
    assert draw_tradeoff(known, macs, "macs", [{"name": "small", "winner": elsewhere}]) != with_one


@pytest.mark.parametrize("points", [[(1.0, 2.0)], [(0.0, 0.0)], [(1e-9, 5.0), (1e9, 5.0)], []])
def test_any_points_can_be_drawn(points: list[tuple[float, float]]) -> None:
    many = [Series(f"a budget with a long name, number {i}", points, BLUE, "cross") for i in range(12)]
    png = draw_scatter(title="t", x_label="x", series=[*many, Series("s", points, BLUE, "steps")])
    assert Image.open(io.BytesIO(png)).size == SIZE
    assert (pixels(png, BLUE) > 0) == bool(points)


def test_a_run_without_records_shows_none(space: SearchSpace, tmp_path: Path) -> None:
    write_pictures(tmp_path, some_records(space, 0), {"macs": space.cost("macs")}, ["macs"])
    assert write_records(tmp_path, space, some_records(space, 0), {}, most=5) == 0
    assert list(tmp_path.iterdir()) == []
