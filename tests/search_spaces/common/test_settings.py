"""Config files: every mistake is one message with file, key, value and the nearest key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import pytest

from search_spaces.common.errors import UserError
from search_spaces.common.settings import Settings, apply_overrides, load_yaml, parse_settings


class Optimizer(Settings):
    learning_rate: Annotated[float, pydantic.Field(gt=0)] = 0.1
    momentum: float = 0.9


class Phase(Settings):
    epochs: int
    optimizer: Optimizer = Optimizer()
    betas: tuple[float, float] = (0.9, 0.999)


class Crop(Settings):
    kind: Literal["crop"]
    padding: int = 0


class Flip(Settings):
    kind: Literal["flip"]
    probability: float = 0.5


class Config(Settings):
    name: str = "run"
    phases: tuple[Phase, ...] = ()
    devices: dict[str, Optimizer] = pydantic.Field(default_factory=dict)
    grid: tuple[dict[str, tuple[Phase, ...]], ...] = ()
    either: Crop | Flip | None = None
    tagged: Annotated[Crop | Flip, pydantic.Field(discriminator="kind")] | None = None
    pair: tuple[Crop, Flip] | None = None
    teacher: Annotated[Optimizer | None, pydantic.Field(description="x")] = None

    @pydantic.field_validator("name")
    @classmethod
    def _short(cls, name: str) -> str:
        if len(name) > 9:
            raise ValueError("must be at most 9 letters.")
        return name


def refused(data: object, **kwargs: str) -> str:
    with pytest.raises(UserError) as caught:
        parse_settings(Config, data, file="c.yaml", **kwargs)
    text = str(caught.value)
    assert text.startswith("c.yaml: ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("data", "key", "near"),
    [
        ({"nam": "x"}, "nam", "name"),
        ({"phases": [{"epochs": 1}, {"epochs": 1, "epoch": 2}]}, "phases.1.epoch", "epochs"),
        ({"phases": [{"epochs": 1, "optimizer": {"momentun": 1}}]}, "phases.0.optimizer.momentun", "momentum"),
        ({"devices": {"phone": {"learning_rat": 1}}}, "devices.phone.learning_rat", "learning_rate"),
        ({"devices": {"momentum": {"momentums": 1}}}, "devices.momentum.momentums", "momentum"),
        ({"grid": [{"a": [{"epochs": 1, "optimiser": {}}]}]}, "grid.0.a.0.optimiser", "optimizer"),
        ({"teacher": {"momentumm": 1}}, "teacher.momentumm", "momentum"),
        ({"pair": [{"kind": "crop"}, {"kind": "flip", "probabilty": 1}]}, "pair.1.probabilty", "probability"),
        ({"tagged": {"kind": "flip", "probabilty": 1}}, "tagged.probabilty", "probability"),
        ({"either": {"kind": "crop", "paddin": 1}}, "either.paddin", "padding"),
    ],
)
def test_unknown_key_suggests_the_nearest_of_its_own_section(data, key, near):
    text = refused(data)
    assert f"c.yaml: {key}: unknown key" in text
    assert f"Did you mean {near!r}?" in text


def test_unknown_key_lists_the_keys_of_its_section_only():
    assert refused({"devices": {"phone": {"zzz": 1}}}).endswith("Known keys here: learning_rate, momentum")
    assert refused({"phases": [{"epochs": 1, "zzz": 1}]}).endswith("Known keys here: betas, epochs, optimizer")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"phases": [{"epochs": "many"}]}, ["phases.0.epochs", "valid integer", "'many'"]),
        ({"phases": [{"epochs": 1.5}]}, ["phases.0.epochs", "integer", "1.5"]),
        ({"phases": [{}]}, ["phases.0.epochs", "required"]),
        ({"phases": {"epochs": 1}}, ["phases: must be a list (got {"]),
        ({"phases": [{"epochs": 1, "betas": [0.9]}]}, ["phases.0.betas.1", "required"]),
        ({"phases": [{"epochs": 1, "optimizer": {"learning_rate": -1}}]}, ["learning_rate", "greater than 0", "-1"]),
        ({"phases": [{"epochs": 1, "optimizer": {"momentum": float("nan")}}]}, ["momentum", "finite"]),
        ({"name": "a" * 10}, ["name: must be at most 9 letters (got 'aaaaaaaaaa')"]),
        ({"name": 3}, ["name", "valid string", "3"]),
        ({3: "x"}, ["3", "string"]),
        (["x"], ["c.yaml", "['x']"]),
        ({"name": 3, "phases": 4, "devices": 5}, ["name", "2 more problems in this file"]),
    ],
)
def test_wrong_types_and_values(data, words):
    text = refused(data)
    assert all(word in text for word in words), text


def test_prefix_is_part_of_the_key():
    assert refused({"nam": 1}, prefix="train").startswith("c.yaml: train.nam: ")


def test_settings_are_frozen_and_numbers_may_be_text():
    config = parse_settings(Config, {"teacher": {"learning_rate": "1e-3"}})  # YAML's reading of 1e-3
    assert config.teacher == Optimizer(learning_rate=0.001)
    with pytest.raises(pydantic.ValidationError):
        config.name = "other"


# -- YAML --------------------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", ["not valid YAML", "'a' is written twice", "line 3"]),
        ("a:\n  - {x: 1, x: 2}", ["'x' is written twice"]),
        ("a: [1", ["not valid YAML", "line 1"]),
        ("", ["is empty"]),
        ("# nothing", ["is empty"]),
        ("- 1\n- 2", ["holds a list, not a mapping"]),
        ("just words", ["holds a str"]),
        ("[1, 2]: 3", ["a key must be one value"]),
        ("a: 2024-13-45", ["not valid YAML", "month"]),
        ("a: " + "[" * 3000, ["not valid YAML"]),
        ("a: !!python/object/apply:os.getcwd []", ["not valid YAML", "could not determine a constructor"]),
    ],
)
def test_files_that_are_no_config(tmp_path, text, words):
    path = write(tmp_path / "c.yaml", text)
    with pytest.raises(UserError) as caught:
        load_yaml(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_yaml_never_runs_code(tmp_path):
    path = write(tmp_path / "c.yaml", f"a: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']")
    with pytest.raises(UserError):
        load_yaml(path)
    assert not (tmp_path / "made").exists()


def test_merged_keys_may_be_put_over(tmp_path):
    path = write(tmp_path / "c.yaml", "base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\nsame: {<<: *base}")
    assert load_yaml(path) == {"base": {"a": 1, "b": 2}, "other": {"a": 1, "b": 3}, "same": {"a": 1, "b": 2}}


def test_unreadable_files(tmp_path):
    with pytest.raises(UserError, match="no such config file"):
        load_yaml(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        load_yaml(tmp_path)
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        load_yaml(tmp_path / "c.yaml")
    if os.geteuid():
        (tmp_path / "d.yaml").touch(mode=0)
        with pytest.raises(UserError, match="cannot be read"):
            load_yaml(tmp_path / "d.yaml")


# -- overrides ---------------------------------------------------------------------------------------------------------


def test_overrides():
    data = {"train": {"epochs": 1, "phases": [{"lr": 1}, {"lr": 2}]}, "empty": None}
    before = repr(data)
    overrides = [
        "train.epochs=3",
        "train.phases.1.lr=0.5",
        "train.phases.0={lr: 9, x: [1, 2]}",
        "train.phases.0.x.1=7",
        "new.section.key=text=with=signs",
        "empty.key=null",
        "name='3'",
    ]
    assert apply_overrides(data, overrides) == {
        "train": {"epochs": 3, "phases": [{"lr": 9, "x": [1, 7]}, {"lr": 0.5}]},
        "empty": {"key": None},
        "new": {"section": {"key": "text=with=signs"}},
        "name": "3",
    }
    assert repr(data) == before


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("epochs", ["'epochs' is not of the form section.key=value"]),
        ("=3", ["'=3' is not of the form"]),
        ("a.b=[1", ["the value of 'a.b=[1' is not YAML"]),
        ("a.b=2024-13-45", ["is not YAML"]),
        ("list.2=1", ["'list.2'", "2 entries", "'2'"]),
        ("list.-1=1", ["'list.-1'", "2 entries"]),
        ("list.²=1", ["2 entries"]),
        ("list.x.y=1", ["'list.x'", "2 entries"]),
        ("value.below=1", ["'value' is a value, so it has no key 'below'"]),
        ("value.below.more=1", ["'value.below' goes below a plain value"]),
    ],
)
def test_overrides_that_fit_nothing(override, words):
    with pytest.raises(UserError) as caught:
        apply_overrides({"list": [1, 2], "value": 3}, [override])
    message = str(caught.value)
    assert message.startswith("--set: ")
    assert all(word in message for word in words), message


def test_misspelt_override_is_caught_by_the_model():
    data = apply_overrides({"phases": [{"epochs": 1}]}, ["phases.0.optimizer.momentu=0.5"])
    assert "Did you mean 'momentum'?" in refused(data)
