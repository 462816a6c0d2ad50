"""Difference: what a list gains and loses, and where two long texts part, in few words. Pure.

A list is told in steps from its start to its end: ``14 alike``, ``- "/x"``, ``+ "/cart"``,
``15 alike``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher

from session_repair.errors import shortened

KEPT, ADDED, DROPPED = "=", "+", "-"
STEPS = 12  # that are told, beside what is kept
SHORT = 100  # characters of a text; two such can be compared by eye
BEFORE = 20  # characters that are shown before the place at which two texts part
COMPARED = 1_000  # entries; where longer lists differ they are taken for wholly other ones

Step = tuple[str, list[str]]


class Number(str):
    """The digits of a number in JSON."""


def difference(stored: str | None, rebuilt: str | None, is_list: bool) -> tuple[str, ...]:
    """How two values differ, of which these are the texts; empty where those tell it best."""
    if stored is None or rebuilt is None:
        return ()
    if not is_list:
        is_short = max(len(stored), len(rebuilt)) <= SHORT
        return () if is_short or stored == rebuilt else places(stored, rebuilt)
    old, new = entries(stored), entries(rebuilt)
    return tuple(told(steps(old, new))) if old and new else ()


def entries(text: str) -> list[str]:
    """The entries of a list, each as JSON."""
    found = json.loads(text, parse_int=Number, parse_float=Number)
    return [it if isinstance(it, Number) else quoted(it) for it in found]


def quoted(value: str | bool | None) -> str:
    return json.dumps(value, ensure_ascii=False)


def steps(old: Sequence[str], new: Sequence[str]) -> Iterator[Step]:
    """What is kept, dropped and added, in the order of the lists."""
    start = alike(old, new)
    end = alike(old[start:][::-1], new[start:][::-1])
    gone, come = old[start : len(old) - end], new[start : len(new) - end]
    is_short = max(len(gone), len(come)) <= COMPARED
    parts = SequenceMatcher(None, gone, come, autojunk=False).get_opcodes() if is_short else []
    yield KEPT, list(old[:start])
    for what, i, j, k, m in parts or [("replace", 0, len(gone), 0, len(come))]:
        if what == "equal":
            yield KEPT, list(gone[i:j])
        else:
            yield DROPPED, list(gone[i:j])
            yield ADDED, list(come[k:m])
    yield KEPT, list(old[len(old) - end :])


def alike(old: Sequence[str], new: Sequence[str]) -> int:
    """How many entries, or characters, both begin with."""
    pairs = enumerate(zip(old, new, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(old), len(new)))


def told(steps: Iterable[Step]) -> Iterator[str]:
    """The steps in words; of many the first, and how many more there are."""
    left: Counter[str] = Counter()
    shown = 0
    for sign, values in steps:
        if sign == KEPT:
            if values and not left:
                yield f"{len(values)} alike"
            continue
        for value in values:
            if shown < STEPS:
                yield shortened(f"{sign} {value}")
                shown += 1
            else:
                left[sign] += 1
    if left:
        yield f"and {left[ADDED]} more added, {left[DROPPED]} more dropped"


def places(stored: str, rebuilt: str) -> tuple[str, str]:
    """Both texts about the place at which they part."""
    begin = max(0, alike(stored, rebuilt) - BEFORE)
    before, after = (quoted(cut(it, begin)) for it in (stored, rebuilt))
    return f"{DROPPED} {before}", f"{ADDED} {after}"


def cut(text: str, begin: int) -> str:
    """The text from there on, as far as it is short."""
    end = begin + SHORT - len('- "……"')
    return f"{'…' * (begin > 0)}{text[begin:end]}{'…' * (end < len(text))}"
