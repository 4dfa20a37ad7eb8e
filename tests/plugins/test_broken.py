"""Plug-ins that do not work: told where they are asked for, and every other thing goes on."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from latency_tables.runtimes import get_runtime
from latency_tables.shipped import find_table
from ofa.cli import main
from search_spaces import get_space
from search_spaces.common.errors import UserError
from search_spaces.common.plugins import forget_plugins

Install = Callable[[dict[str, dict[str, str]]], Path]

MODULE = """
from pathlib import Path

class Runtime:
    name, precision = "half", "float32"

no_family = {"resolution": [20]}
strange = {"family": "mobilenet_v9"}
fine = {"family": "mobilenet_v3", "resolution": [20], "depth": [1], "stem_channels": 8, "widths": [8], "strides": [2],
        "activations": ["relu"], "squeeze_excite": [False], "expanded_channels": 16, "feature_channels": 16}
table = Path(__file__).with_name("table.json")
no_table = Path(__file__)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A distribution `half-done` with these entry points by group."""

    def install(groups: dict[str, dict[str, str]]) -> Path:
        information = tmp_path / "half_done-0.3.dist-info"
        information.mkdir()
        (tmp_path / "half_done.py").write_text(MODULE)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: half-done\nVersion: 0.3\n")
        lines = [
            f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups.items()
        ]
        (information / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(str(tmp_path))
        forget_plugins()
        return tmp_path

    yield install
    forget_plugins()
    sys.modules.pop("half_done", None)


def answer(*words: str) -> tuple[dict[str, Any], str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([*words, "--json"])
    assert ended.value.code == 0, err.getvalue()
    found: dict[str, Any] = json.loads(out.getvalue())
    return found, err.getvalue()


def test_spaces_are_listed_beside_those_that_do_not_work(install: Install) -> None:
    install(
        {
            "ofa.spaces": {
                "good_space": "half_done:fine",
                "bad_import": "half_done:nothing",
                "no_family": "half_done:no_family",
                "bad_family": "half_done:strange",
                "mobilenet_v3_digits": "half_done:fine",
            }
        }
    )
    found, err = answer("spaces")
    names = {row["name"]: row["plugin"] for row in found["spaces"]}
    assert names["good_space"] == "half-done 0.3" and names["vit_nano"] is None and "mobilenet_v3_digits" not in names
    assert len(found["broken"]) == 4 and all(message in err for message in found["broken"])
    assert get_space({"name": "good_space"}, 10).num_genes > 0
    for name, message in {
        "bad_import": "the search space 'bad_import' of a plug-in cannot be loaded: AttributeError.*half-done 0.3",
        "no_family": "the search space 'no_family' is no mapping with a family",
        "bad_family": "unknown family of search spaces 'mobilenet_v9'. Did you mean 'mobilenet_v3'",
        "mobilenet_v3_digits": "two have the name .*this project itself and half-done 0.3",
    }.items():
        with pytest.raises(UserError, match=message):
            get_space({"name": name})


def test_tables_are_listed_beside_those_that_do_not_work(install: Install) -> None:
    site = install({"ofa.tables": {"my_phone": "half_done:table", "my_watch": "half_done:no_table"}})
    shutil.copy(find_table("samsung_note10"), site / "table.json")
    found, err = answer("tables")
    plugins = {Path(about["table"]).name: about["plugin"] for about in found["tables"]}
    assert plugins["table.json"] == "half-done 0.3" and plugins["samsung_note10.json"] is None
    assert "half_done.py" in err  # no JSON
    assert find_table("my_phone") == site / "table.json"


def test_a_runtime_that_is_half_done_says_what_it_lacks(install: Install) -> None:
    install({"ofa.runtimes": {"half": "half_done:Runtime"}})
    with pytest.raises(UserError, match=r"the runtime 'half' of a plug-in does not follow the protocol.*lacks version"):
        get_runtime("half")
    assert get_runtime("torch").name == "torch"
