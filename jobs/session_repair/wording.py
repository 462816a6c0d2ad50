"""Wording: English for numbers."""

from __future__ import annotations


def either(count: int, one: str, many: str) -> str:
    """The word for one, or that for none and several."""
    return one if count == 1 else many


def number_of(count: int, one: str, many: str | None = None) -> str:
    """The number and its noun: 1 session, 2 sessions; 1 empty copy, 2 empty copies."""
    return f"{count} {either(count, one, many or f'{one}s')}"
