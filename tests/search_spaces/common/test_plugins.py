"""What installed packages add to a registry: known by name, imported when asked for, and broken ones told apart."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search_spaces.common.errors import UserError
from search_spaces.common.plugins import forget_plugins
from search_spaces.common.registry import Registry

Install = Callable[..., None]

CODE = """
class Good:
    weight = 3
    def peel(self): ...
class Hollow: ...
class Raising:
    def __init__(self): raise RuntimeError("no juice")
class Needing:
    def __init__(self): import package_that_is_nowhere
number = 7
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A distribution as pip leaves it: a module, and metadata that lists its entry points."""

    def install(distribution: str, points: dict[str, str], code: str = CODE) -> None:
        site = tmp_path / distribution
        information = site / f"{distribution.replace('-', '_')}-1.2.dist-info"
        information.mkdir(parents=True)
        (site / f"{distribution.replace('-', '_')}_code.py").write_text(code)
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (information / "entry_points.txt").write_text(f"[ofa.fruit]\n{lines}")
        monkeypatch.syspath_prepend(str(site))
        forget_plugins()

    yield install
    forget_plugins()
    for name in [name for name in sys.modules if name.endswith("_code")]:
        del sys.modules[name]


@pytest.fixture
def fruit() -> Registry[Callable[[], object]]:
    registry: Registry[Callable[[], object]] = Registry("fruit", entry_points="ofa.fruit", makes=("weight", "peel"))
    registry.register("pear")(lambda: "ours")
    return registry


def told(fruit: Registry[Callable[[], object]], name: str) -> str:
    with pytest.raises(UserError) as caught:
        fruit.get(name, file="c.yaml", key="fruit")()
    return str(caught.value)


def test_names_are_known_without_importing_anything(install: Install, fruit: Registry[Callable[[], object]]) -> None:
    install("good-fruit", {"kiwi": "good_fruit_code:Good", "fig": "good_fruit_code:Nothing"})
    assert fruit.names() == ["pear", "fig", "kiwi"]
    assert "kiwi" in fruit and "plum" not in fruit
    assert [plugin.distribution for plugin in fruit.plugins()] == ["good-fruit 1.2"] * 2
    assert "From plug-ins: fig of good-fruit 1.2, kiwi of good-fruit 1.2" in told(fruit, "kwi")
    assert "good_fruit_code" not in sys.modules
    made = fruit.get("kiwi")()
    assert type(made).__name__ == "Good" and "good_fruit_code" in sys.modules
    assert fruit.get("kiwi") is fruit.get("kiwi")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("bad_fruit_code:Nothing", "cannot be loaded: AttributeError"),
        ("module_that_is_nowhere:Good", "cannot be loaded: ModuleNotFoundError: No module named"),
        ("bad_fruit_code:number", "does not follow the protocol: int cannot be called"),
        ("bad_fruit_code:Hollow", "does not follow the protocol: Hollow lacks weight, peel"),
        ("bad_fruit_code:Raising", "cannot be made: RuntimeError: no juice"),
    ],
)
def test_a_broken_one_is_told_and_hurts_nobody_else(
    install: Install, fruit: Registry[Callable[[], object]], value: str, reason: str
) -> None:
    install("bad-fruit", {"kiwi": value})
    message = told(fruit, "kiwi")
    assert f"the fruit 'kiwi' of a plug-in {reason}" in message
    assert f"bad-fruit 1.2 (entry point kiwi = {value} in ofa.fruit)" in message
    assert fruit.get("pear")() == "ours"


def test_code_that_fails_when_imported_is_told(install: Install, fruit: Registry[Callable[[], object]]) -> None:
    install("bad-fruit", {"kiwi": "bad_fruit_code:Good"}, code="1 / 0")
    assert "c.yaml: fruit: the fruit 'kiwi' of a plug-in cannot be loaded: ZeroDivisionError" in told(fruit, "kiwi")


def test_a_package_that_is_missing_is_left_to_who_asked(
    install: Install, fruit: Registry[Callable[[], object]]
) -> None:
    install("bad-fruit", {"kiwi": "bad_fruit_code:Needing"})
    with pytest.raises(ModuleNotFoundError, match="package_that_is_nowhere"):
        fruit.get("kiwi")()


def test_a_name_that_is_taken_is_refused_whoever_is_meant(
    install: Install, fruit: Registry[Callable[[], object]]
) -> None:
    install("good-fruit", {"pear": "good_fruit_code:Good", "kiwi": "good_fruit_code:Good"})
    install("more-fruit", {"kiwi": "more_fruit_code:Good", "lime": "more_fruit_code:Good"})
    message = told(fruit, "pear")
    assert "two have the name of the fruit 'pear': this project itself and good-fruit 1.2" in message
    message = told(fruit, "kiwi")
    assert "good-fruit 1.2" in message and "more-fruit 1.2" in message and "Uninstall one" in message
    assert type(fruit.get("lime")()).__name__ == "Good"
    assert fruit.names() == ["pear", "kiwi", "lime"]


def test_a_registry_without_entry_points_has_no_plugins(install: Install) -> None:
    install("good-fruit", {"kiwi": "good_fruit_code:Good"})
    plain: Registry[int] = Registry("fruit")
    assert plain.names() == [] and plain.plugins() == ()
