"""The page, its JSON and the terminal's table say the same, say it all, and need nothing else."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from latency_tables.identity import SpaceIdentity
from latency_tables.listed import CheckedNetwork, ListedTable, WholeNetworks
from latency_tables.published import PublishedTable
from ofa import text
from ofa.report.report import write_report
from ofa.report.script import plotly
from ofa.report.terminal import print_report
from search_spaces.common.errors import UserError

_VOID = {"meta", "br", "hr", "input", "link", "col"}


class Page(HTMLParser):
    """Checks nesting, and collects tags, attributes and texts."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(content.replace(plotly(), ""))  # 4.8 MB that Plotly answers for
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert len(found) == len(attrs), f"<{tag}> says an attribute twice"
        self.tags.append((tag, found))
        self.ids += [found["id"]] if found.get("id") else []
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self.open[-1:] != ["style"]:
            self.text += data

    def facts(self) -> list[dict[str, Any]]:
        """Of all charts that carry their own numbers."""
        return [json.loads(script) for script in self.scripts if script.startswith('{"kind":')]

    @property
    def data(self) -> dict[str, Any]:
        (found,) = [script for script in self.scripts if script.startswith('{"run":')]
        return json.loads(found)


@pytest.fixture(scope="module")
def written(finished_run, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Page]:
    run = finished_run.copy(tmp_path_factory.mktemp("report") / "run")
    report = write_report(run.folder)
    assert json.loads((run.folder / "report.json").read_text()) == report
    content = (run.folder / "report.html").read_text()
    return report, content, Page(content)


def test_nothing_is_loaded_from_elsewhere(written: tuple[dict[str, Any], str, Page]) -> None:
    _, content, page = written
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "data", "srcset", "poster", "xlink:href"):
            assert name not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert "http" not in (attributes.get("style") or "")
    assert {"link", "iframe", "object", "img", "base", "form"}.isdisjoint(tag for tag, _ in page.tags)
    style = re.search(r"<style>(.*?)</style>", content, re.DOTALL)
    assert style and "@import" not in style[1] and not re.search(r"url\((?!#)", style[1])
    assert content.count(plotly()) == 1 and not re.search(r"https?://", content.replace(plotly(), ""))
    (policy,) = [found["content"] or "" for tag, found in page.tags if found.get("http-equiv")]
    assert policy.startswith("default-src 'none';") and "unsafe-eval" not in policy and "http" not in policy


def test_ids_are_unique_and_references_lead_somewhere(written: tuple[dict[str, Any], str, Page]) -> None:
    _, content, page = written
    assert len(page.ids) == len(set(page.ids))
    wanted = set(re.findall(r"url\(#([\w-]+)\)", content))
    for _, attributes in page.tags:
        for name in ("aria-labelledby", "aria-controls", "for", "list"):
            wanted.update((attributes.get(name) or "").split())
    assert wanted <= set(page.ids)


def test_what_users_write_is_escaped(written: tuple[dict[str, Any], str, Page]) -> None:
    report, content, page = written
    assert report["name"] in page.text and "Invented <CPU>" in page.text
    assert "<img" not in content.replace(plotly(), "") and "onerror=alert(1)>" not in content.replace("&gt;", "")
    assert content.count("</script") == sum(tag == "script" for tag, _ in page.tags)


def test_every_record_and_winner_is_shown(written: tuple[dict[str, Any], str, Page]) -> None:
    report, _, page = written
    assert len(report["records"]) == 40
    networks = page.data["networks"]
    place = {key: number for number, key in enumerate(networks["keys"])}
    for record in report["records"]:
        assert record["key"] in page.text
        assert networks["measured"]["mean"][place[record["key"]]] == pytest.approx(record["accuracy"], abs=1e-6)
    for number, winner in enumerate(report["winners"]):
        known = page.data["winners"][number]
        assert (known["name"], networks["keys"][known["network"]]) == (winner["budget"], winner["key"])
        for shown in (
            text.cost(winner["limits"]["latency@here"], "latency@here"),
            text.milliseconds(text.remeasured(winner, "latency@here")),
            text.milliseconds(text.exported_cost(winner, "latency@here")),
            text.share(winner["selection_accuracy"]),
            text.share(text.tested_accuracy(winner)),
        ):
            assert shown in page.text
        for layer in winner["layers"]:
            assert layer["slot"] in page.text and text.share(layer["latency"]["here"]["share"], 1) in page.text
    front = page.data["fronts"]["latency@here"]
    assert [networks["keys"][point["network"]] for point in front] == [
        point["key"] for point in report["fronts"]["latency@here"]
    ]
    assert len(front) > 2
    (certificate,) = [facts for facts in page.facts() if facts["title"].startswith("Latency on here")]
    assert certificate["band"] == 0.1
    assert len(certificate["points"]) == report["devices"]["here"]["heldout"]["num"] == 24
    assert all("off by" in tip for _, _, tip, _, _ in certificate["points"])


def test_what_the_search_tried_stands_in_the_order_it_was_tried(run) -> None:
    arrived = [json.loads(line)["key"] for line in (run.folder / "records.jsonl").read_text().splitlines()]
    write_report(run.folder)
    page = Page((run.folder / "report.html").read_text())
    (history,) = [facts for facts in page.facts() if facts["kind"] == "progress"]
    assert [tip for _, _, tip in history["points"]][: len(arrived)] == [f"network {key}" for key in arrived]


def test_grades_curves_splits_and_the_command(written: tuple[dict[str, Any], str, Page]) -> None:
    report, _, page = written
    grade = report["predictor"]["grade"]
    for score in (grade["predictor"], *grade["baselines"].values()):
        assert text.estimate(score["tau"]) in page.text
    assert report["training"]["accuracy"]["largest"][-1] == pytest.approx([300, 0.9])
    assert "largest ends at 90" in page.text.replace("89.99", "90")
    for split in report["data"]["splits"]:
        assert split["sha256"][:16] in page.text
    assert report["reproduce"]["command"] in page.text and "bootstrap" in page.text
    assert "opened 2 times for 2 networks" in page.text


@pytest.mark.parametrize(
    ("metric", "unit", "value", "told"),
    [("energy", "mJ", 0.25, " mJ to "), ("instructions", "instructions", 40_000.0, " kinstructions to ")],
)
def test_given_numbers_are_never_milliseconds(run, metric: str, unit: str, value: float, told: str) -> None:
    network = run.space.decode(run.space.largest())[0]
    predicted = value * len(run.space.network(network))
    checked = {"architecture": network.to_json(), "predicted": predicted, "observed": predicted / 1.02}
    table = ListedTable(
        metric=metric,
        unit=unit,
        device="board",
        note="taken from a <power> meter",
        licence="CC0",
        source={"title": "Invented", "where": "a test", "files": {}},
        provenance={"meter": "INA226"},
        space=SpaceIdentity.of(run.space),
        entries=dict.fromkeys(run.space.operators(), value),
        checked=WholeNetworks.of([CheckedNetwork.model_validate(checked)]),
    )
    table.save(run.folder / "tables" / "here.json")
    device = write_report(run.folder)["devices"]["here"]
    assert (device["metric"], device["unit"], device["range_ms"]) == (metric, unit, None)
    assert device["range"][1] == pytest.approx(predicted) and device["published"]["provenance"] == {"meter": "INA226"}
    page = Page((run.folder / "report.html").read_text())
    section = page.text[page.text.index("Can the tables be trusted?") :]
    section = section[: section.index("Can the accuracy predictor")]
    assert "at most 2.00 % on 1 whole networks: taken from a <power> meter" in section
    assert told in section and " ms" not in section and "INA226" in section
    assert metric in page.text and not any(cost["metric"] == "latency" for cost in page.data["costs"])


def test_a_published_table_has_no_error_figure(run) -> None:
    entry = {"mean_ms": 0.01, "std_ms": 0.0, "count": 1}
    entries = {
        side: dict.fromkeys(run.space.restrict(resolution=[side]).operators(), entry)
        for side in run.space.genome.option_values("resolution").tolist()
    }
    source = {"title": "Invented <b>", "where": "nowhere", "files": {}}
    facts = {"device": "phone", "licence": "CC0-1.0", "source": source, "space": SpaceIdentity.of(run.space)}
    PublishedTable.model_validate({**facts, "entries": entries}).save(run.folder / "tables" / "here.json")
    device = write_report(run.folder)["devices"]["here"]
    assert device["published"]["note"] == "published, not measured here" and "heldout" not in device
    page = Page((run.folder / "report.html").read_text())
    assert "not known: published, not measured here" in page.text and "Invented <b>" in page.text
    assert "mean absolute error" not in page.text and "took no part in making the table" not in page.text


def test_an_exported_file_over_its_budget_is_marked(run) -> None:
    path = run.folder / "specialized" / "small" / "report.json"
    facts = json.loads(path.read_text())
    facts["latency"]["here"]["measured"]["median_ms"] *= 3
    path.write_text(json.dumps(facts))
    report = write_report(run.folder)
    assert "✗ over budget" in (run.folder / "report.html").read_text()
    console = Console(file=io.StringIO(), width=220)
    print_report(report, console=console)
    assert "over" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_terminal_says_the_same(written: tuple[dict[str, Any], str, Page]) -> None:
    report, _, _ = written
    console = Console(file=io.StringIO(), width=80)
    print_report(report, console=console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for winner in report["winners"]:
        assert winner["budget"] in shown and text.share(text.tested_accuracy(winner)).replace(" ", "") in shown
        measured = text.remeasured(winner, "latency@here")
        assert measured is not None and f"{measured:.3g} ms" in shown
    assert "98.76%" in shown and "…" not in shown and "missing" not in shown


@pytest.mark.parametrize(
    ("gone", "command"),
    [
        ("search.json", "ofa search"),
        ("predictor", "ofa fit"),
        ("records.jsonl", "ofa records"),
        ("tables/here.json", "ofa run"),
        ("supernet.json", "ofa train"),
        ("specialized/small", "ofa run"),
    ],
)
def test_an_unfinished_run_says_what_is_missing(run, gone: str, command: str) -> None:
    import shutil

    path = run.folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if gone == "supernet.json":
        (run.folder / "search.json").unlink()
    report = write_report(run.folder)
    assert any(item["command"].startswith(command) for item in report["missing"])
    page = Page((run.folder / "report.html").read_text())
    for item in report["missing"]:
        assert item["part"] in page.text and item["command"] in page.text


def test_a_run_that_only_has_a_config(run, tmp_path: Path) -> None:
    folder = tmp_path / "fresh"
    folder.mkdir()
    (folder / "config.yaml").write_text((run.folder / "config.yaml").read_text())
    report = write_report(folder)
    assert report["winners"] == [] and "No winner yet" in Page((folder / "report.html").read_text()).text


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("search.json", '{"schema": 99, "budgets": []}', "ofa search"),
        ("search.json", "not json", "search.json"),
        ("specialized/small/report.json", '{"schema": 99}', "schema"),
        ("tables/here.json", '{"schema": 99}', "schema"),
        ("training.jsonl", "7\n", "line 1"),
        ("supernet.json", '{"space": {}}', "supernet.json"),
    ],
)
def test_damaged_files_are_named(run, file: str, content: str, message: str) -> None:
    (run.folder / file).write_text(content)
    with pytest.raises(UserError, match=re.escape(message)):
        write_report(run.folder)
    assert not (run.folder / "report.html").exists()


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        write_report(tmp_path)
