"""Difference: what a list gains and loses, and where two long texts part."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_repair.repair import difference as module
from session_repair.repair.difference import SHORT, STEPS, difference, entries, steps
from session_repair.repair.plain import plain

PAGES = [f"/page/{number}" for number in range(30)]
LISTS = st.lists(st.sampled_from(["/a", "/b", "/c", '"/d" ', "1 alike", "- é"]), max_size=30)


def differing(old: list[str], new: list[str]) -> tuple[str, ...]:
    return difference(json.dumps(old), json.dumps(new), is_list=True)


def carried_out(old: list[str], told: tuple[str, ...]) -> list[str]:
    """The list that the steps make of the old one; they have to fit it."""
    new, left = [], list(old)
    for step in told:
        sign, _, value = step.partition(" ")
        if sign == "+":
            new.append(json.loads(value))
        elif sign == "-":
            assert left.pop(0) == json.loads(value)
        else:
            number = int(step.removesuffix(" alike"))
            new += left[:number]
            del left[:number]
    assert left == []
    return new


@given(LISTS, LISTS)
def test_from_the_old_list_and_what_is_told_the_new_one_can_be_made(
    old: list[str], new: list[str]
) -> None:
    whole = [step for sign, values in steps(old, new) for step in [(sign, it) for it in values]]
    assert [it for sign, it in whole if sign != "-"] == new
    assert [it for sign, it in whole if sign != "+"] == old
    changed = [it for it in whole if it[0] != "="]
    told = differing(old, new)
    if not (old and new):
        assert told == ()
    elif len(changed) <= STEPS:
        assert carried_out(old, told) == new
    else:
        assert len([it for it in told if it[0] in "+-"]) == STEPS
        more = [[sign for sign, _ in changed[STEPS:]].count(it) for it in "+-"]
        assert told[-1] == "and {} more added, {} more dropped".format(*more)


@given(LISTS, LISTS)
def test_so_it_can_of_lists_that_are_too_long_to_be_compared(
    old: list[str], new: list[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "COMPARED", 0)
        whole = [(sign, it) for sign, values in steps(old, new) for it in values]
    assert [it for sign, it in whole if sign != "-"] == new
    assert [it for sign, it in whole if sign != "+"] == old


def test_one_page_in_the_middle_is_one_step() -> None:
    without = [*PAGES[:14], *PAGES[15:]]
    assert differing(without, PAGES) == ("14 alike", '+ "/page/14"', "15 alike")
    assert differing(PAGES, without) == ("14 alike", '- "/page/14"', "15 alike")
    assert differing(["/a "], ["/a"]) == ('- "/a "', '+ "/a"')


def test_numbers_and_ids_in_lists_are_told_as_they_are_written() -> None:
    assert entries('["1",1,1.50,12345678901234567890123]') == [
        '"1"',
        "1",
        "1.50",
        "12345678901234567890123",
    ]


@pytest.mark.parametrize(
    ("stored", "rebuilt", "is_list"),
    [
        (None, '["/a"]', True),
        ("[]", '["/a"]', True),
        ('["/a"]', None, True),
        ("0", "2", False),
        ("x" * SHORT, "y", False),
        ("x" * 101, "x" * 101, False),
    ],
)
def test_what_both_values_tell_best_has_no_steps(
    stored: str | None, rebuilt: str | None, is_list: bool
) -> None:
    assert difference(stored, rebuilt, is_list) == ()


def test_of_long_texts_the_place_is_told_at_which_they_part() -> None:
    old, new = (f"{'a' * 300}{it}{'b' * 300}" for it in ("1", "2"))
    assert difference(old, new, is_list=False) == (
        f'- "…{"a" * 20}1{"b" * 73}…"',
        f'+ "…{"a" * 20}2{"b" * 73}…"',
    )
    assert difference(f"{'a' * 100} ", "a" * 101, is_list=False) == (
        f'- "…{"a" * 20} "',
        f'+ "…{"a" * 21}"',
    )


@given(st.text("ab", max_size=300), st.text("ab", max_size=300))
def test_the_place_shows_the_first_character_that_differs(old: str, new: str) -> None:
    if told := difference(old, new, is_list=False):
        before, after = (json.loads(it[2:]) for it in told)
        assert before != after
        assert before.strip("…") in old
        assert after.strip("…") in new
        assert max(map(len, told)) <= SHORT


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"$numberInt": "7"}', "7"),
        ('{"$numberDecimal":"0.50"}', "0.50"),
        ('{"$numberDouble": "-Infinity"}', "-Infinity"),
        ('{"$date": {"$numberLong": "1760947200007"}}', "2025-10-20T08:00:00.007Z"),
        ('{"$date": {"$numberLong": "9000000000000000000"}}', "9000000000000000000 ms since 1970"),
        ('{"$oid": "68d000000000000000000001"}', "68d000000000000000000001"),
        (
            '{"$binary": {"base64": "EjRWeBI0VngSNFZ4EjRWeA==", "subType": "04"}}',
            "12345678-1234-5678-1234-567812345678",
        ),
        ('{"$binary": {"base64": "AAE=", "subType": "00"}}', "binary 0001"),
        ('{"$binary": {"base64": "A", "subType": "00"}}',) * 2,
        ('canonical _id {"a": {"$numberInt": "1"}}', 'canonical _id {"a": 1}'),
        (r'["{\"$numberInt\": \"7\"}"]',) * 2,
        ('"seven"', '"seven"'),
    ],
)
def test_extended_json_is_told_as_people_write_it(text: str, told: str) -> None:
    assert plain(text) == told
