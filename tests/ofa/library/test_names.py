"""`import ofa`: every name is there, light at the door, whatever else was imported before."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ofa

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ofa.__all__)
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(ofa, name)
    assert callable(found) and inspect.getdoc(found)
    assert name in dir(ofa)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        _ = ofa.serach


@pytest.mark.parametrize("name", ["search", "export"])
def test_packages_of_a_verbs_name_are_called_and_imported_from(name: str) -> None:
    package = getattr(ofa, name)
    assert package is sys.modules[f"ofa.{name}"]
    assert {"search": "evaluate", "export": "forms"}[name] in inspect.signature(package).parameters
    with pytest.raises(TypeError):
        package()


def test_importing_ofa_and_looking_up_a_space_takes_no_torch() -> None:
    code = (
        "import ofa, sys; s = ofa.space('mobilenet_v3_digits'); ofa.search; ofa.export; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
