"""One clear message for every mistake in a space or an architecture: key, value, and what would be right."""

from __future__ import annotations

import pytest

from search_spaces import Architecture, Choice, Gene, Genome, SearchSpace, get_space
from search_spaces.common.errors import Infeasible, UserError, unknown_name


def message(call, *args, **kwargs) -> str:
    with pytest.raises(UserError) as caught:
        call(*args, **kwargs)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.fixture(scope="module")
def architecture(digits) -> Architecture:
    return digits.decode(digits.largest())[0]


def changed(architecture: Architecture, **groups) -> Architecture:
    return Architecture({**architecture.values, **groups})


# -- architectures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resolution": 21}, ["resolution", "21", "20, 24, 28"]),
        ({"resolution": (28,)}, ["resolution", "one value", "28"]),
        ({"depth": 3}, ["depth", "a list of 3 values", "3"]),
        ({"depth": (3, 3)}, ["depth", "a list of 3 values", "(3, 3)"]),
        ({"depth": (3, 3, 4)}, ["depth.2", "4", "1, 2, 3"]),
        ({"depth": (3, None, 3)}, ["depth.1", "None", "1, 2, 3"]),
        ({"kernel": (3,) * 8 + (4,)}, ["kernel.8", "4", "3, 5, 7"]),
        ({"expand": ("three",) + (3,) * 8}, ["expand.0", "'three'", "3, 4, 6"]),
        ({"width": 3}, ["width", "unknown", "depth, expand, kernel, resolution"]),
        ({"kernal": (3,) * 9}, ["kernal", "Did you mean 'kernel'?"]),
    ],
)
def test_architecture_outside_the_space(digits, architecture, change, words):
    text = message(digits.encode, [architecture, changed(architecture, **change)], file="arch.json")
    assert text.startswith("arch.json: ")
    assert all(word in text for word in words), text
    assert "\n" not in text


def test_architecture_without_a_group(digits, architecture):
    values = {name: value for name, value in architecture.values.items() if name != "expand"}
    assert message(digits.encode, [Architecture(values)]) == "expand: missing from this architecture"


def test_only_entries_that_are_switched_on_are_checked(digits, architecture):
    shallow = changed(architecture, depth=(1, 1, 1), kernel=(7, 99, None) * 3, expand=(6, None, "x") * 3)
    (row,) = digits.encode([shallow])
    assert digits.decode(row)[0].values["kernel"] == (7, None, None) * 3
    assert digits.network(shallow) == digits.network(digits.decode(row)[0])


def test_mix_of_coupled_values(helpers):
    space = helpers.small_space("mobilenet_v3_compound")
    largest = space.decode(space.largest())[0]
    text = message(space.encode, [changed(largest, depth=(4, 4, 2, 4, 4))])
    assert "depth.2, expand.8, expand.9, expand.10, expand.11: [2, 6, 6, 6, 6] is not an option" in text
    assert "[2, 3, 3, None, None], [3, 4, 4, 4, None], [4, 6, 6, 6, 6]" in text
    assert "depth.2: 5 is not an option" in message(space.encode, [changed(largest, depth=(4, 4, 5, 4, 4))])


def test_networks_outside_the_space_are_refused(digits, architecture):
    assert "kernel.0: 9" in message(digits.network, changed(architecture, kernel=(9,) * 9))
    part = digits.restrict(kernel=[3])
    assert "kernel.0: 7 is not an option of this space. Options: 3" in message(part.network, architecture)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([1, 2], ["not an architecture", "[1, 2]", "Expected"]),
        ({}, ["not an architecture"]),
        (None, ["not an architecture"]),
        ({"depth": {"a": 1}}, ["depth", "not a number", "{'a': 1}"]),
        ({"depth": [[1]]}, ["depth", "[1]"]),
        ({"depth": [True]}, ["depth", "True"]),
    ],
)
def test_json_that_is_no_architecture(data, words):
    text = message(Architecture.from_json, data, file="arch.json")
    assert text.startswith("arch.json: ")
    assert all(word in text for word in words), text


def test_options_that_are_the_same_network():
    choices = [Choice("depth"), Choice("kernel", None, "depth", (2,))]
    gene = Gene("pair", ("a", "b"), (("depth", (1, 1)), ("kernel", (3, 5))))
    assert message(Genome, choices, [gene]) == "options 'a' and 'b' of gene 'pair' are the same network"


# -- sub-spaces and sizes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"kernal": [3]}, ["'kernal'", "Did you mean 'kernel'?"]),
        ({"kernel": [9]}, ["kernel", "9", "[3, 5, 7]"]),
        ({"kernel": []}, ["nothing is left", "kernel.0"]),
        ({"depth.1": [7]}, ["depth.1", "7", "[1, 2, 3]"]),
    ],
)
def test_restrictions_that_make_no_sense(digits, groups, words):
    text = message(digits.restrict, groups)
    assert all(word in text for word in words), text


def test_too_many_networks_to_list(digits):
    assert str(digits.size) in message(digits.enumerate, limit=1000)


def test_unknown_metric_and_dtype(digits):
    assert "Did you mean 'macs'?" in message(digits.cost, "mac")
    assert "Did you mean 'int8'?" in message(digits.cost, "flash", "int4")


# -- settings of spaces ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"name": "ofa_mobilnet_v3"},
            ["space.name", "unknown search space 'ofa_mobilnet_v3'", "Did you mean 'ofa_mobilenet_v3'?"],
        ),
        ({}, ["space: needs a name", "mobilenet_v3_digits"]),
        ({"name": 3}, ["needs a name"]),
        ("ofa_mobilenet_v3", ["needs a name"]),
        ({"name": "ofa_mobilenet_v3", "kernels": [3]}, ["space.kernels", "unknown key", "Did you mean 'kernel'?"]),
        ({"name": "ofa_mobilenet_v3", "family": "x"}, ["space.family", "unknown key"]),
        ({"name": "ofa_mobilenet_v3", "kernel": [3, 4]}, ["space.kernel", "must be odd", "[3, 4]"]),
        ({"name": "ofa_mobilenet_v3", "stem_kernel": 4}, ["stem_kernel must be odd"]),
        ({"name": "ofa_mobilenet_v3", "kernel": [7, 5]}, ["space.kernel", "ascending", "[7, 5]"]),
        ({"name": "ofa_mobilenet_v3", "expand": [3, 3]}, ["space.expand", "without repeats"]),
        ({"name": "ofa_mobilenet_v3", "depth": []}, ["space.depth", "one or more"]),
        ({"name": "ofa_mobilenet_v3", "depth": [0, 1]}, ["space.depth.0", "greater than or equal to 1", "0"]),
        ({"name": "ofa_mobilenet_v3", "depth": 3}, ["space.depth", "must be a list", "3"]),
        ({"name": "ofa_mobilenet_v3", "resolution": ["big"]}, ["space.resolution.0", "valid integer", "'big'"]),
        ({"name": "ofa_mobilenet_v3", "resolution": [8]}, ["resolution 8 is too small", "total stride of 32"]),
        ({"name": "ofa_mobilenet_v3", "width_mult": 0}, ["space.width_mult", "greater than 0"]),
        ({"name": "ofa_mobilenet_v3", "width_mult": float("nan")}, ["space.width_mult", "finite number"]),
        ({"name": "ofa_mobilenet_v3", "dropout": 1}, ["space.dropout", "less than 1"]),
        (
            {"name": "ofa_mobilenet_v3", "strides": [2, 2]},
            ["strides needs one entry per stage", "widths has 5, strides 2"],
        ),
        ({"name": "ofa_mobilenet_v3", "activations": ["gelu"] * 5}, ["space.activations.0", "'hard_swish'", "gelu"]),
        ({"name": "ofa_mobilenet_v3", "coupling": "compound", "depth": [2]}, ["pairs depth with expand"]),
    ],
)
def test_settings_that_make_no_space(settings, words):
    text = message(get_space, settings, file="config.yaml")
    assert text.startswith("config.yaml: space")
    assert all(word in text for word in words), text
    assert "\n" not in text


def test_descriptions_that_are_none(digits):
    good = digits.description
    for bad in (
        None,
        [],
        {},
        {**good, "extra": 1},
        {**good, "name": 3},
        {**good, "family": ["mobilenet_v3"]},
        {**good, "settings": [1]},
        {**good, "restriction": {"kernel": [3]}},
        {**good, "restriction": [{"kernel": 3}]},
        {**good, "restriction": [{"kernel": [[3]]}]},
    ):
        text = message(SearchSpace.from_description, bad, file="x.json")
        assert text.startswith("x.json: not the description of a search space")
    assert "positive" in message(SearchSpace.from_description, {**good, "num_classes": 0})
    assert "Did you mean 'mobilenet_v3'?" in message(SearchSpace.from_description, {**good, "family": "mobilenet"})
    assert "unknown key" in message(SearchSpace.from_description, {**good, "settings": {"kernal": [3]}})
    assert "kernel: 9" in message(SearchSpace.from_description, {**good, "restriction": [{"kernel": [9]}]})


# -- the errors themselves ---------------------------------------------------------------------------------------------


def test_text_of_an_error():
    error = UserError("is wrong", file="a.yaml", key="b.c", value=3, hint="Try 4")
    assert str(error) == "a.yaml: b.c: is wrong (got 3). Try 4"
    assert str(UserError("3 is wrong", value=3)) == "3 is wrong"
    assert isinstance(error, ValueError)
    infeasible = Infeasible("nothing fits", details={"binding": "latency"})
    assert (infeasible.exit_code, infeasible.details) == (3, {"binding": "latency"})


def test_unknown_names_list_what_is_known():
    assert str(unknown_name("fruit", "aple", ["pear", "apple"])).endswith("Did you mean 'apple'? Known: apple, pear")
    assert str(unknown_name("fruit", "zzz", [])).endswith("Known: none")
