"""Registries and progress bars."""

from __future__ import annotations

import pytest

from search_spaces.common.errors import UserError
from search_spaces.common.progress import progress_bar, track
from search_spaces.common.registry import Registry


@pytest.fixture
def fruit() -> Registry[int]:
    registry: Registry[int] = Registry("fruit")
    registry.register("pear")(1)
    registry.register("apple")(2)
    return registry


def test_entries_by_name(fruit):
    assert (fruit.get("pear"), fruit.get("apple")) == (1, 2)
    assert fruit.names() == ["pear", "apple"]
    assert "pear" in fruit
    assert "plum" not in fruit


def test_unknown_names_suggest_the_nearest(fruit):
    with pytest.raises(UserError) as caught:
        fruit.get("aple", file="c.yaml", key="fruit.name")
    assert str(caught.value) == ("c.yaml: fruit.name: unknown fruit 'aple'. Did you mean 'apple'? Known: apple, pear")


def test_a_name_is_given_once(fruit):
    with pytest.raises(UserError, match="'pear' is registered already"):
        fruit.register("pear")(3)
    fruit.register("pear", replace=True)(3)  # in a notebook, a cell is run again
    assert fruit.get("pear") == 3


def test_register_returns_what_it_files(fruit):
    @fruit.register("plum")
    def plum() -> None: ...

    assert fruit.get("plum") is plum


def test_progress_is_silent_off_a_terminal(capfd):
    assert list(track(range(3), "counting", 3)) == [0, 1, 2]
    with progress_bar("working", 2, done=1) as advance:
        advance()
        advance(1, note="x")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("message", "value", "shown"),
    [
        ("image 12 is bad", 2, True),
        ("run_2 is bad", 2, True),
        ("2 is bad", 2, False),
        ("1.25 is bad", 1, True),
        ("'-5ms' is bad", "-5ms", False),
        ("must be positive", -1, True),
    ],
)
def test_the_value_is_shown_unless_the_message_has_it(message: str, value: object, shown: bool) -> None:
    assert (f"(got {value!r})" in str(UserError(message, file="config_2.yaml", value=value))) == shown
