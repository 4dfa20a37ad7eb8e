"""Reading the files of a run for its report. What is not there yet is noted, with the command that makes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latency_tables.cortex_m.board_table import BoardTable
from latency_tables.table import Table, load_any_table
from ofa.export.export import REPORT
from ofa.export.export import SCHEMA as EXPORT_SCHEMA
from ofa.export.reference import FILE as REFERENCE
from ofa.export.reference import SCHEMA as REFERENCE_SCHEMA
from ofa.export.search_file import FILE as SEARCH
from ofa.export.search_file import read_search
from ofa.export.session import LEDGER
from ofa.export.winners import FOLDER
from ofa.rank.rank_file import FILE as RANKING
from ofa.rank.rank_file import read_ranking
from predictors.base import Predictor, load_predictor
from predictors.record_file import Records, load_records
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json, read_lines
from search_spaces.common.settings import load_yaml


@dataclass(frozen=True)
class Missing:
    """A part of the report that cannot be shown yet."""

    part: str
    file: str
    command: str


@dataclass
class Sources:
    """Everything a run folder holds; None or empty where there is nothing yet (then `missing` says so)."""

    run: Path
    config: dict[str, Any]
    supernet: dict[str, Any] | None = None
    space: SearchSpace | None = None
    tables: dict[str, Table] = field(default_factory=dict)
    boards: dict[str, BoardTable] = field(default_factory=dict)
    records: Records | None = None
    predictor: Predictor | None = None
    search: dict[str, Any] | None = None
    exports: dict[str, dict[str, Any]] = field(default_factory=dict)
    reference: dict[str, Any] | None = None
    ranking: dict[str, Any] | None = None
    training: list[dict[str, Any]] = field(default_factory=list)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)


def read_sources(run: Path) -> Sources:
    """Read a run folder, finished or not. Raises `UserError` for a folder that is no run, and for any file that is
    there but damaged, of another schema or of another supernet.
    """
    run = Path(run)
    config_file = run / "config.yaml"
    if not config_file.exists():
        raise UserError("not a run folder: no config.yaml", file=run, hint="Make one with: ofa run CONFIG")
    found = Sources(run=run, config=load_yaml(config_file))
    found.training = _lines(run / "training.jsonl", "training log")
    found.ledger = _lines(run / LEDGER, "test ledger")
    _read_supernet(found)
    _read_tables(found)
    if found.space is not None and found.supernet is not None:
        _read_records(found, found.space, found.supernet["weights_sha256"])
    if not (run / "predictor" / "predictor.json").exists():
        _note(found, "the accuracy predictor", "predictor/predictor.json", f"ofa fit {run}")
    else:
        found.predictor = load_predictor(run / "predictor")
    _read_ranking(found)
    _read_search(found)
    return found


def _read_supernet(found: Sources) -> None:
    path = found.run / "supernet.json"
    if not path.exists():
        _note(found, "the trained supernet", path.name, f"ofa train {found.run / 'config.yaml'} --run {found.run}")
        return
    info = read_json(path, "supernet description")
    for key, kind in (("space", dict), ("weights_sha256", str), ("data", dict)):
        if not isinstance(info, dict) or not isinstance(info.get(key), kind):
            raise UserError("missing from this supernet description, or of the wrong type", file=path, key=key)
    found.supernet, found.space = info, SearchSpace.from_description(info["space"], file=path)


def _read_tables(found: Sources) -> None:
    for device in found.config.get("devices") or []:
        name = str(device.get("name")) if isinstance(device, dict) else str(device)
        path = found.run / "tables" / f"{name}.json"
        if path.exists():
            table = load_any_table(path)
            if isinstance(table, BoardTable):
                found.boards[name] = table
            else:
                found.tables[name] = table
        else:
            command = f"ofa run {found.run / 'config.yaml'}"
            _note(found, f"the latency table of {name}", f"tables/{name}.json", command)


def _read_records(found: Sources, space: SearchSpace, weights_sha256: str) -> None:
    path = found.run / "records.jsonl"
    records = None
    if path.exists():
        records = load_records(path, space=space, weights_sha256=weights_sha256, by_arrival=True)
    if records is None or not len(records):
        _note(found, "accuracy records", path.name, f"ofa records {found.run}")
    else:
        found.records = records


def _read_ranking(found: Sources) -> None:
    """The ranking report, which a run need not have; one of another predictor or supernet says nothing here."""
    if not (found.run / RANKING).exists() or found.predictor is None or found.supernet is None:
        return
    ranking = read_ranking(found.run)
    of_these = (found.supernet["weights_sha256"], found.predictor.inputs)
    if (ranking["weights_sha256"], ranking["predictor"].get("inputs")) == of_these:
        found.ranking = ranking
    else:
        _note(found, "the ranking report of this predictor", RANKING, f"ofa rank {found.run}")


def _read_search(found: Sources) -> None:
    if not (found.run / SEARCH).exists():
        _note(found, "winners", SEARCH, f"ofa search {found.run}")
        return
    found.search = read_search(found.run)
    command = f"ofa run {found.run / 'config.yaml'}"
    for budget in found.search["budgets"]:
        name = budget["name"]
        path = found.run / FOLDER / name / REPORT
        if path.exists():
            report = _of_schema(path, "export report", EXPORT_SCHEMA, command)
            if report.get("key") == budget["winner"]["key"]:
                found.exports[name] = report
                continue
        _note(found, f"the export of {name}", f"{FOLDER}/{name}/{REPORT}", command)
    if (found.run / REFERENCE).exists():
        found.reference = _of_schema(found.run / REFERENCE, "reference", REFERENCE_SCHEMA, command)


def _of_schema(path: Path, what: str, schema: int, command: str) -> dict[str, Any]:
    data = read_json(path, what)
    if not isinstance(data, dict) or data.get("schema") != schema:
        raise UserError(f"not a {what} of schema {schema}", file=path, hint=f"Make it again with: {command}")
    return data


def _lines(path: Path, what: str) -> list[dict[str, Any]]:
    lines = read_lines(path, what)
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, dict):
            raise UserError(f"line {number} is not an entry of a {what}", file=path)
    return lines


def _note(found: Sources, part: str, file: str, command: str) -> None:
    found.missing.append(Missing(part, file, command))
