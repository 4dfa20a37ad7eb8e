"""The commands of the documentation, page by page, in the order in which they stand there.

The slow tests are the guides as a reader walks them. The quick one is the first guide with settings that make it short.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest
import yaml

from ofa.cli import main
from tests.docs.given import SMALL_DEVICE, SMALL_REST, SMALL_SPACE, SMALL_SPLIT, SMALL_TRAIN, write_blots
from tests.docs.pages import ROOT, blocks, commands
from tests.docs.walks import WALKS, reason_not_run, substituted, walk


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in WALKS if WALKS[page].after is None])
def test_the_commands_of_a_page_do_what_they_say(page: str, tmp_path: Path) -> None:
    prepare = WALKS[page].given
    if prepare is not None:
        prepare(tmp_path)
    assert walk(page, tmp_path)
    for then in (other for other in WALKS if WALKS[other].after == page):
        assert walk(then, tmp_path)


#: what the quick walk leaves to the slow one: thousands of images, and what evaluates or trains networks anew
LONGER = ("python ", "ofa rank", "ofa finetune", "--finetuned", "--evaluate", "ofa export", "ofa report")


@pytest.mark.slow
def test_the_first_guide_in_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the folder of images to the exported network and another search, in this process, all sizes small."""
    monkeypatch.chdir(tmp_path)
    write_blots(Path("digits"), num=60)
    page = "docs/guides/my_data.md"
    for block in blocks(ROOT / page):
        if block.language == "yaml" and block.title is not None:
            Path(block.title).write_text(_small(block.text))
        for command in commands(block):
            if reason_not_run(page, block, command.text) is None and not any(word in command.text for word in LONGER):
                _here(command.text)
    run = Path("runs/my_digits")
    budgets = json.loads((run / "search.json").read_text())["budgets"]
    assert {budget["name"] for budget in budgets} >= {"fast", "accurate"}
    assert (run / "report.html").exists() and (run / "specialized" / "fast" / "model.onnx").exists()


def _small(text: str) -> str:
    config = yaml.safe_load(text)
    for section, values in {"space": SMALL_SPACE, "train": SMALL_TRAIN, **SMALL_REST}.items():
        config[section] = {**config.get(section, {}), **values}
    config["data"] |= {"split": SMALL_SPLIT}
    config["export"] = {"forms": ["safetensors", "onnx"], "num_images": 64}
    # a first look at times is enough, and no limit hangs on them: nothing is measured again
    quick = {**SMALL_DEVICE, "rounds": 2, "min_rounds": 2, "instances": 1, "sample_ms": 0.1, "warmup": 1, "pin": False}
    config["devices"] = [{**device, **quick} for device in config["devices"]]
    config["records"], config["train"]["epochs"] = {"num": 14}, 1
    config["search"] = {"budgets": {"fast": {"macs": "40%", "latency": "1s"}, "accurate": {"latency": "1s"}}}
    config["search"]["candidates"] = 2
    return yaml.safe_dump(config)


def _here(line: str) -> None:
    program, *words = line.split()
    assert program == "ofa", line
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        try:
            main(words)
        except SystemExit as ended:
            assert not ended.code, f"{line}\n{told.getvalue()}"


def test_placeholders_are_whole_words() -> None:
    words = {"RUN": "runs/a", "runs/NAME": "runs/b", "S": "s.yaml"}
    assert substituted("ofa rank RUN --space S -o runs/NAME/RUNS.json", words) == (
        "ofa rank runs/a --space s.yaml -o runs/b/RUNS.json"
    )


def test_a_failing_command_names_its_page_and_line(tmp_path: Path) -> None:
    from tests.docs.walks import shell

    assert shell("echo out; exit 3", tmp_path, exit_code=3) == "out\n"
    with pytest.raises(AssertionError, match=r"page.md:7: exit 2\nexit code 2"):
        shell("exit 2", tmp_path, where="page.md:7")
