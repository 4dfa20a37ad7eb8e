"""Importing once-for-all's YAML tables: what the numbers become, and every way a file can be wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from latency_tables.once_for_all.convert import Converted, convert
from latency_tables.once_for_all.operators import operator_texts, parse_operator
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError

Write = Callable[..., dict[int, Path]]

SIDES = [128, 160]


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    return get_space({"name": "ofa_mobilenet_v3", "width_mult": 0.75}, num_classes=10).restrict(resolution=SIDES)


@pytest.fixture
def files(write_lookup: Write, space: SearchSpace, tmp_path: Path) -> dict[int, Path]:
    return write_lookup(tmp_path, space)


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    data = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    edit(data)
    path.write_text(yaml.dump(data, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))


def scale(factor: float) -> Callable[[dict[str, Any]], None]:
    def edit(data: dict[str, Any]) -> None:
        for line in data.values():
            line["mean"], line["std"] = factor * line["mean"], factor * line["std"]

    return edit


def imported(files: dict[int, Path], **options: Any) -> Converted:
    return convert(list(files.values()), device="phone", **options)


def refusal(files: dict[int, Path], **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        imported(files, **options)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    return str(caught.value)


def test_space_classes_and_width_are_read_from_the_operators(files: dict[int, Path], space: SearchSpace) -> None:
    found = imported(files)
    assert found.space.fingerprint == space.fingerprint and found.table.space.fingerprint == space.fingerprint
    assert found.space.settings["width_mult"] == 0.75 and found.space.num_classes == 10
    assert found.table.measured_space().description == found.space.description
    assert found.table.resolutions == SIDES and found.unused == {}
    assert found.table.source.where == found.table.licence == "not stated"
    assert set(found.table.source.files) == {"128_table.yaml", "160_table.yaml"}


def test_the_resolution_is_not_taken_from_the_file_name(files: dict[int, Path], space: SearchSpace) -> None:
    swapped = {128: files[128].rename(files[128].with_name("a.yaml")), 160: files[128]}
    files[160].rename(swapped[160])
    again = imported(swapped)
    assert again.table.resolutions == SIDES
    assert again.table.entries[128] != again.table.entries[160]
    assert "conv-3-16-160-3-2-hard_swish" in again.table.entries[160]


def test_order_of_files_does_not_matter(files: dict[int, Path]) -> None:
    backwards = dict(reversed(files.items()))
    assert imported(backwards).table.entries == imported(files).table.entries
    assert list(imported(backwards).table.entries) == SIDES


def test_several_resolutions_may_share_a_file(files: dict[int, Path], space: SearchSpace) -> None:
    both = yaml.safe_load(files[128].read_text()) | yaml.safe_load(files[160].read_text())
    files[128].write_text(yaml.safe_dump(both))
    found = imported({128: files[128]})
    assert found.table.resolutions == SIDES and found.unused == {}
    assert found.table.cost(space).minimum()[0] > 0


def test_parts_of_an_operator_add_up(files: dict[int, Path], space: SearchSpace) -> None:
    lines = yaml.safe_load(files[160].read_text())
    pool, conv = (
        next(line for text, line in lines.items() if text.startswith(f"{k}-")) for k in ("AvgPool2D", "Conv_2")
    )
    entry = imported(files).table.entries[160]["poolconv-720-960-5-hard_swish"]
    assert entry.mean_ms == pytest.approx(pool["mean"] + conv["mean"], abs=1e-15)
    assert entry.std_ms == pytest.approx(math.sqrt(pool["std"] ** 2 + conv["std"] ** 2), abs=1e-15)
    assert entry.count == min(pool["count"], conv["count"])


def test_single_operators_are_taken_as_they_are(files: dict[int, Path], space: SearchSpace) -> None:
    lines, entries = yaml.safe_load(files[160].read_text()), imported(files).table.entries[160]
    texts = operator_texts(space.restrict(resolution=[160]))
    assert set(entries) == set(texts)
    for key, parts in texts.items():
        if len(parts) == 1:
            line = lines[parts[0]]
            assert (entries[key].mean_ms, entries[key].std_ms) == (line["mean"], line["std"])
            assert entries[key].count == line["count"]


@pytest.mark.parametrize("width", [0.35, 1.0, 1.2, 1.001])
@pytest.mark.parametrize("name", ["ofa_mobilenet_v3", "ofa_proxyless_nas"])
def test_width_multipliers_are_found(write_lookup: Write, tmp_path: Path, name: str, width: float) -> None:
    space = get_space({"name": name, "width_mult": width}, num_classes=1000).restrict(resolution=[224])
    found = imported(write_lookup(tmp_path, space))
    assert found.space.name == name
    shapes = [(op.in_channels, op.out_channels) for op in found.space.operators().values()]
    assert shapes == [(op.in_channels, op.out_channels) for op in space.operators().values()]
    if width != 1.001:  # which has the channels of 1
        assert found.space.fingerprint == space.fingerprint


def test_a_space_of_ones_own(write_lookup: Write, tmp_path: Path) -> None:
    settings = {"name": "mobilenet_v3_28", "kernel": [3, 5]}
    space = get_space(settings, num_classes=10, in_channels=1)
    found = imported(write_lookup(tmp_path, space), settings=settings)
    assert found.space.fingerprint == space.fingerprint and found.space.in_channels == 1
    assert found.table.resolutions == [20, 24, 28]


def test_other_units_are_converted(files: dict[int, Path]) -> None:
    entries = imported(files).table.entries
    for path in files.values():
        change(path, scale(1e3))
    converted = imported(files, unit="us").table
    assert converted.unit == "ms"
    for side, operators in converted.entries.items():
        for key, entry in operators.items():
            assert entry.mean_ms == pytest.approx(entries[side][key].mean_ms)
            assert entry.std_ms == pytest.approx(entries[side][key].std_ms)
    for path in files.values():
        change(path, lambda data: data.update(unit="us"))
    assert imported(files).table.entries == converted.entries


@pytest.mark.parametrize("factor", [1e3, 1e6, 1e-4])
def test_values_that_cannot_be_ms_are_refused(files: dict[int, Path], factor: float) -> None:
    for path in files.values():
        change(path, scale(factor))
    message = refusal(files)
    assert "cannot be milliseconds" in message and "--unit us" in message and str(files[128]) in message
    assert imported(files, unit="ms").table.unit == "ms"  # who says so is believed


def test_one_file_in_another_unit_is_told(files: dict[int, Path]) -> None:
    change(files[160], scale(1e3))
    message = refusal(files, unit="ms")
    assert "another unit" in message and str(files[160]) in message and str(files[128]) in message


def test_the_files_word_on_its_unit(files: dict[int, Path]) -> None:
    change(files[160], lambda data: data.update(unit="us"))
    message = refusal(files, unit="ms")
    assert "the file says that its unit is us" in message and str(files[160]) in message
    change(files[160], lambda data: data.update(unit="cycles"))
    assert f"{files[160]}: unit: unknown unit 'cycles'" in refusal(files)
    assert "--unit: unknown unit 'min'" in refusal(files, unit="min")


def test_lines_of_no_operator_are_told(files: dict[int, Path]) -> None:
    line = {"count": 1, "mean": 1.0, "std": 0.0}
    extra = ["Softmax-input:1x1x10-output:10", "expanded_conv-input:9x9x9-output:9x9x9-expand:9-kernel:3-stride:1-"]
    extra[1] += "idskip:1-se:0-hs:0"
    change(files[160], lambda data: data.update(dict.fromkeys(extra, line)))
    found = imported(files)
    assert {path: sorted(lines) for path, lines in found.unused.items()} == {str(files[160]): extra}


def test_a_missing_operator_is_named_with_its_file(files: dict[int, Path]) -> None:
    lost = "expanded_conv-input:10x10x64-output:10x10x88-expand:256-kernel:5-stride:1-idskip:0-se:1-hs:1"
    change(files[160], lambda data: data.pop(lost))
    message = refusal(files)
    assert message.startswith(f"{files[160]}: 1 of ") and lost in message and "at resolution 160" in message
    assert "width_mult 0.75" in message


@pytest.mark.parametrize("kind", ["Conv-", "Conv_1-", "Conv_2-", "Logits-", "AvgPool2D-", "expanded_conv-"])
def test_a_missing_kind_of_operator_is_named(files: dict[int, Path], kind: str) -> None:
    def drop(data: dict[str, Any]) -> None:
        for text in [text for text in data if text.startswith(kind)]:
            del data[text]

    change(files[160], drop)
    message = refusal(files)
    assert str(files[160]) in message and kind in message


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("mean", -0.5, "mean: must be greater than 0 (got -0.5)"),
        ("mean", 0, "mean: must be greater than 0"),
        ("mean", float("nan"), "mean: must be a finite number (got nan)"),
        ("mean", float("inf"), "mean: must be a finite number (got inf)"),
        ("mean", "nan", "mean: must be a finite number"),
        ("mean", "fast", "mean: must be a valid number (got 'fast')"),
        ("mean", True, "mean: must be a valid number (got True)"),
        ("mean", None, "mean: must be a valid number"),
        ("mean", [1.0], "mean: must be a valid number (got [1.0])"),
        ("std", -1.0, "std: must be greater than or equal to 0 (got -1.0)"),
        ("count", 0, "count: must be greater than or equal to 1 (got 0)"),
        ("count", 1.5, "count: must be a valid integer (got 1.5)"),
        ("median", 1.0, "median: unknown key"),
    ],
)
def test_values_that_are_no_latencies(files: dict[int, Path], field: str, value: object, told: str) -> None:
    text = "Logits-input:1x1x960-output:10"
    change(files[160], lambda data: data[text].update({field: value}))
    assert refusal(files).startswith(f"{files[160]}: {text}.{told}")


def test_numbers_that_yaml_reads_as_text(files: dict[int, Path]) -> None:
    text = "Logits-input:1x1x960-output:10"
    files[160].write_text(
        yaml.safe_dump({k: v for k, v in yaml.safe_load(files[160].read_text()).items() if k != text})
        + f"{text}: {{count: 7, mean: 5e-1, std: 1e-3}}\n"
    )
    entry = imported(files).table.entries[160]["classifier-960-10-1"]
    assert (entry.mean_ms, entry.std_ms, entry.count) == (0.5, 0.001, 7)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is empty"),
        ("a: [", "not valid YAML"),
        ("- 1\n", "holds a list, not a mapping of operators"),
        ("space: {name: x}\n", "not a latency table as once-for-all writes them"),
        ("3: 4\n", "not a latency table as once-for-all writes them"),
        ("a: !!python/object/apply:os.system ['touch owned']\n", "not valid YAML"),
        ("Conv-input:160x160x3-output:80x80x16: 0.5\n", "must be a mapping (got 0.5)"),
        ("Conv-input:160x160x3-output:80x80x16: {mean: 0.5, std: 0}\n", ".count: this key is required"),
        ("Conv-input:160x160x3-output:80x80x16: {count: 1, mean: 0.5, std: 0}\n", "none of its lines is a block"),
        (2 * "Conv-input:160x160x3-output:80x80x16: {count: 1, mean: 0.5, std: 0}\n", "is written twice"),
    ],
)
def test_not_such_a_file(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(content)
    message = refusal({160: path})
    assert str(path) in message and told in message
    assert list(tmp_path.iterdir()) == [path]


def test_no_file_or_a_folder(tmp_path: Path) -> None:
    assert "no such latency table" in refusal({160: tmp_path / "none.yaml"})
    assert "cannot be read: Is a directory" in refusal({160: tmp_path})


def test_two_files_of_one_resolution(files: dict[int, Path], tmp_path: Path) -> None:
    again = tmp_path / "again.yaml"
    again.write_text(files[160].read_text())
    message = refusal({**files, 1: again})
    assert str(again) in message and "holds the resolution 160" in message and str(files[160]) in message


def test_a_resolution_that_the_space_has_not(write_lookup: Write, space: SearchSpace, tmp_path: Path) -> None:
    odd = get_space({"name": "ofa_mobilenet_v3", "resolution": [150]})
    message = refusal(write_lookup(tmp_path, odd))
    assert "holds the resolution 150, which is not one of 'ofa_mobilenet_v3'" in message and "128, 132" in message


def test_channels_that_fit_no_width(files: dict[int, Path], space: SearchSpace) -> None:
    for path in files.values():
        path.write_text(path.read_text().replace("x720", "x728"))
    message = refusal(files)
    assert "fit no width multiplier of 'ofa_mobilenet_v3'" in message and "Conv_1 120 to 728" in message


def test_a_width_that_the_channels_do_not_fit(files: dict[int, Path]) -> None:
    assert imported(files, width_mult=0.75).space.settings["width_mult"] == 0.75
    message = refusal(files, width_mult=1.0)
    assert "--width-mult" in message and "(got 1.0)" in message and "They are those of 0.75" in message


def test_files_of_two_widths_or_numbers_of_classes(write_lookup: Write, files: dict[int, Path], tmp_path: Path) -> None:
    wide = get_space({"name": "ofa_mobilenet_v3", "width_mult": 1.2}, num_classes=10).restrict(resolution=[224])
    other = get_space({"name": "ofa_mobilenet_v3", "width_mult": 0.75}, num_classes=1000).restrict(resolution=[224])
    for space, told in ((wide, "Conv has 3 and 24 channels here, 3 and 16 there"), (other, "Logits has 960 and 1000")):
        message = refusal(files | write_lookup(tmp_path, space))
        assert told in message and str(files[128]) in message and "224_table.yaml" in message


def test_two_networks_in_one_file(write_lookup: Write, files: dict[int, Path], tmp_path: Path) -> None:
    wide = get_space({"name": "ofa_mobilenet_v3", "width_mult": 1.2}, num_classes=10).restrict(resolution=[160])
    other = write_lookup(tmp_path / "..", wide)[160]
    change(files[128], lambda data: data.update(yaml.safe_load(other.read_text())))
    assert "holds several networks' Conv: from 3 to 16 and 3 to 24 channels" in refusal(files)


def test_families_are_not_mixed(write_lookup: Write, files: dict[int, Path], tmp_path: Path) -> None:
    proxyless = get_space({"name": "ofa_proxyless_nas"}, num_classes=10).restrict(resolution=[224])
    (path,) = write_lookup(tmp_path, proxyless).values()
    message = refusal({**files, 224: path})
    assert "holds operators of the family 'proxyless_nas'" in message and "'mobilenet_v3'" in message
    assert "of the family 'proxyless_nas', but the space 'ofa_mobilenet_v3'" in refusal(
        {224: path}, settings={"name": "ofa_mobilenet_v3"}
    )
    change(path, lambda data: data.update(yaml.safe_load(files[128].read_text())))
    assert "mixes operators of MobileNetV3" in refusal({224: path})


def test_families_without_such_tables_are_told(files: dict[int, Path]) -> None:
    message = refusal(files, settings={"name": "ofa_resnet50"})
    assert "of the family 'mobilenet_v3', but the space 'ofa_resnet50' is of 'resnet'" in message


def test_names_of_devices_and_spaces(files: dict[int, Path]) -> None:
    assert "Did you mean 'ofa_mobilenet_v3'" in refusal(files, settings={"name": "ofa_mobilenet_v2"})
    with pytest.raises(UserError, match="a device's name"):
        convert(list(files.values()), device="my phone")


def test_files_of_equal_names_are_told_apart(write_lookup: Write, space: SearchSpace, tmp_path: Path) -> None:
    moved = {}
    for side, path in write_lookup(tmp_path, space).items():
        (tmp_path / str(side)).mkdir()
        moved[side] = path.rename(tmp_path / str(side) / "table.yaml")
    assert set(imported(moved).table.source.files) == {"128/table.yaml", "160/table.yaml"}


@pytest.mark.parametrize(
    "text",
    [
        "Conv-input:160x150x3-output:80x80x16",
        "Conv-input:160x160x3-output:80x80x16-expand:16-kernel:3-stride:1-idskip:1",
        "expanded_conv-input:80x80x16-output:80x80x16",
        "expanded_conv-input:80x80x16-output:80x80x16-expand:16-kernel:3-stride:1-idskip:1-se:0",
        "Conv_3-input:1x1x16-output:1x1x16",
    ],
)
def test_strings_of_no_operator(text: str) -> None:
    assert parse_operator(text) is None
