"""The programs that a card shows, taken from the card and run: what an app team does first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from torch import nn

from benchmarks.fresh_environments import MOST_LOST, check_forms, read_programs, sample
from ofa.export.architecture_file import Preprocessing
from ofa.export.card import CardFacts, DataFacts
from ofa.export.card.programs import program
from ofa.export.export import ExportJob
from ofa.export.forms.registry import FORMS, get_form
from ofa.export.settings import ExportSettings
from search_spaces.common.errors import UserError
from tests.ofa.export.card.exports import export_with_card
from trainers.data import ImageData

#: converted already by the shared export; the others take long to convert
QUICK = ExportSettings().forms


def classify(code: str, picture: Path, *, folder: Path) -> str:
    """What the program says of a picture, run inside `folder`."""
    checkout = str(Path(__file__).parents[4])
    done = subprocess.run(
        [sys.executable, "-c", code, str(picture)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": checkout},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FORMS.names()]
)
def test_the_program_of_a_form_tells_a_real_digit(
    name: str, digit_job: ExportJob, digit_export: tuple, card_facts: CardFacts, tmp_path: Path
) -> None:
    try:
        form = get_form(name)
    except UserError as error:
        pytest.skip(str(error))
    if form.usage is None:
        pytest.skip(f"{name} has instructions of its own instead of a program")
    folder = digit_export[0]
    if name not in QUICK:
        folder = export_with_card(digit_job, (name,), card_facts, tmp_path / "export")[0]
    given = sample(digit_job.network, digit_job.data, resolution=digit_job.architecture.resolution)
    assert given.class_name == str(given.label) and (given.logits.argmax(1) == given.labels).mean() > 0.35
    picture = tmp_path / "digit.png"
    Image.fromarray(given.picture).save(picture)
    code = read_programs((folder / "README.md").read_text(encoding="utf-8"))[name]
    assert classify(code, picture, folder=folder) == given.class_name


def test_every_form_with_a_program_is_on_the_card(digit_export: tuple) -> None:
    programs = read_programs((digit_export[0] / "README.md").read_text(encoding="utf-8"))
    assert list(programs) == [name for name in digit_export[1]["forms"] if get_form(name).usage]
    for code in programs.values():
        assert len(code.splitlines()) <= 40 and code.count("import json") == 1


def test_imports_that_a_form_begins_with_come_first_and_once() -> None:
    usage = "from pathlib import Path\nimport numpy as np\nimport runtime\n\nmodel = runtime.load('f')\nimport late\n"
    described = Preprocessing(resolution=8, in_channels=1, mean=(0.5,), std=(0.25,))
    code = program(usage, described, DataFacts("any", (), image_size=8))
    assert code.startswith(
        "import json\nimport sys\nfrom pathlib import Path\n\nimport numpy as np\nimport runtime\n"
        "from PIL import Image, ImageOps\n\nmodel = runtime.load('f')\nimport late\n\npicture ="
    )


@pytest.mark.slow
def test_a_fresh_environment_runs_the_onnx_file(
    digit_job: ExportJob, digit_export: tuple, digits: ImageData, tmp_path: Path
) -> None:
    given = sample(digit_job.network, digits, resolution=digit_job.architecture.resolution)
    (found,) = check_forms(digit_export[0], ["onnx"], given, most_lost=MOST_LOST, work=tmp_path)
    assert found.problem is None and found.max_abs <= 1e-4 and found.environment.num_packages >= 3
    assert not list(tmp_path.glob("environment-*"))
    biased = nn.Sequential(digit_job.network, _Shift())
    wrong = sample(biased, digits, resolution=digit_job.architecture.resolution)
    (tmp_path / "again").mkdir()
    (found,) = check_forms(digit_export[0], ["onnx"], wrong, most_lost=MOST_LOST, work=tmp_path / "again")
    assert found.problem == "differs by more than 0.0001"


class _Shift(nn.Module):
    def forward(self, x):  # type: ignore[no-untyped-def]
        return x + 2e-4
