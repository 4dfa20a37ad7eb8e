"""Boards: those that come with the project, and files of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from latency_tables.cortex_m.boards import get_board, list_boards
from search_spaces.common.errors import UserError

FILE = """
name: mine
title: of my own
core: cortex-m4
clock_mhz: 80
sram: {origin: 0x20000000, size: 64KiB}
flash: {origin: 0x08000000, size: 262144}
source: the label on it
"""


@pytest.mark.parametrize("name", list_boards())
def test_a_board_is_what_its_file_name_says(name: str) -> None:
    board = get_board(name)
    assert board.name == name and board.stack < board.sram.size < board.flash.size


def test_sizes_take_units(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(FILE)
    board = get_board(str(tmp_path / "mine.yaml"))
    assert (board.sram.size, board.flash.size, board.processor.dsp) == (65536, 262144, True)


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        (FILE.replace("cortex-m4", "cortex-m9"), "core"),
        (FILE.replace("64KiB", "64"), "sram.size"),
        (FILE.replace("64KiB", "64 apples"), "sram.size"),
        (FILE.replace("0x20000000", "0x08000100"), "sram.origin"),
        (FILE + "colour: red\n", "colour"),
        (FILE.replace("clock_mhz: 80\n", ""), "clock_mhz"),
    ],
)
def test_a_wrong_file_is_refused_with_its_key(tmp_path: Path, wrong: str, key: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(wrong)
    with pytest.raises(UserError) as error:
        get_board(str(path))
    assert key in str(error.value) and "mine.yaml" in str(error.value)


def test_an_unknown_board_is_told_the_known_ones() -> None:
    with pytest.raises(UserError, match="stm32f746"):
        get_board("stm32f74")
