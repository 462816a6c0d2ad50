"""Wording: English for numbers, and what programs read of moments."""

from __future__ import annotations

from datetime import datetime, timezone


def either(count: int, one: str, many: str) -> str:
    """The word for one, or that for none and several."""
    return one if count == 1 else many


def number_of(count: int, one: str, many: str | None = None) -> str:
    """The number and its noun: 1 session, 2 sessions; 1 empty copy, 2 empty copies."""
    return f"{count} {either(count, one, many or f'{one}s')}"


def iso(moment: datetime) -> str:
    """The moment in UTC, to the millisecond as MongoDB has it: 2025-11-03T03:15:00.000Z."""
    in_utc = moment.astimezone(timezone.utc)
    return f"{in_utc.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
