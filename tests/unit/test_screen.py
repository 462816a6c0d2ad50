"""Screen: lines that fit the terminal, with colours by their marks; and how wide letters are."""

from __future__ import annotations

import click
import pytest

from session_repair.cli.screen import columns_of, fitted, on_screen
from session_repair.reporting.formatting import LINE

COMMAND = "./spark-submit.sh fix --apply --config night.toml"


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", 0),
        ("→ áo", 4),
        ("a\u0301o", 2),  # an accent of its own
        ("✅ ok", 5),
        ("⚠️  2", 5),
        ("🔟 1️⃣", 5),
        ("東京", 4),
    ],
)
def test_a_letter_is_as_wide_as_a_terminal_shows_it(text: str, columns: int) -> None:
    assert columns_of(text) == columns


@pytest.mark.parametrize(
    ("line", "width", "pieces"),
    [
        ("short", 5, ["short"]),
        ("  one two three", 12, ["  one two", "     three"]),
        ("  ✅ one two", 11, ["  ✅ one", "     two"]),
        ("東京東京", 5, ["東京", "東京"]),
        ("two-part-word", 8, ["two-part", "   -word"]),
        (LINE, 40, ["=" * 40]),
        (f"⚠️  Do it: {COMMAND}", 59, ["⚠️  Do it:", f"   {COMMAND}"]),
        (f"⚠️  Do it: {COMMAND}", 20, ["⚠️  Do it:", f"   {COMMAND}"]),  # it is to be copied
        (f"  {COMMAND}", 20, [f"  {COMMAND}"]),
    ],
)
def test_a_line_that_is_too_long_goes_on_below_itself(
    line: str, width: int, pieces: list[str]
) -> None:
    assert fitted(line, width) == pieces


def test_no_piece_is_wider_than_the_terminal() -> None:
    line = '     empty_pages  東京  [] → ["/áo-dài/lụa","/東京/東京/東京/東京","/' + "x" * 99 + '"]'
    for width in range(2, 120):
        assert max(map(columns_of, fitted(line, width))) <= width
        assert "".join("".join(fitted(line, width)).split()) == "".join(line.split())


def test_colours_are_few_and_go_by_the_marks() -> None:
    lines = [LINE, "Fix", LINE, "", "📊 All:", "  a: 1", "  ⚠️  2", "✅ so it is"]
    lines += [LINE, "✅ 3", LINE, "", "=== End ===", "Left alone:"]
    bold, green, yellow = {1, 4, 12, 13}, {7, 9}, {6}
    told = list(on_screen(lines, 80, is_coloured=True))
    assert {number for number, line in enumerate(told) if line.startswith("\x1b[1m")} == bold
    assert {number for number, line in enumerate(told) if line.startswith("\x1b[32m")} == green
    assert {number for number, line in enumerate(told) if line.startswith("\x1b[33m")} == yellow
    assert [click.unstyle(line) for line in told] == lines
    assert list(on_screen(lines, 80, is_coloured=False)) == lines
    pieces = list(on_screen(["✅ so it is"], 9, is_coloured=True))
    assert pieces == ["\x1b[32m✅ so it\x1b[0m", "\x1b[32m   is\x1b[0m"]
