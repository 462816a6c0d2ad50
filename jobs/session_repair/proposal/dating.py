"""Dating: which fields hold dates, and as what. Pure."""

from __future__ import annotations

from typing import Any

from session_repair.dates import DATE, EPOCH_MS, EPOCH_S, NUMBERS
from session_repair.mongo.dates import LIKELY
from session_repair.proposal.values import Sample, class_of, number_of, type_of


def dates_of(sample: Sample, path: str) -> str | None:
    """As what a field keeps dates, by the types and sizes of most values; None if it keeps none."""
    values = sample.values(path)
    for dates in (DATE, EPOCH_MS, EPOCH_S):
        if 2 * sum(is_one(value, dates) for value in values) > len(values):
            return dates
    return None


def is_one(value: Any, dates: str) -> bool:
    if dates == DATE:
        return class_of(value) == DATE
    number = epoch_in(value)
    least, greatest = LIKELY[dates]
    return number is not None and least <= number <= greatest


def epoch_in(value: Any) -> Any:
    """The number, if it is one that may be a date."""
    return number_of(value) if type_of(value) in NUMBERS else None


def dated(sample: Sample) -> dict[str, str]:
    """The fields that keep dates, each with as what."""
    found = {path: dates_of(sample, path) for path in sample.paths(DATE, *NUMBERS)}
    return {path: dates for path, dates in found.items() if dates}


def milliseconds(value: Any, dates: str) -> int | None:
    """The date as milliseconds; None for what is none of that kind."""
    if dates == DATE:
        return int(value) if class_of(value) == DATE else None
    number = epoch_in(value)
    if number is None:
        return None
    return int(number // 1 if dates == EPOCH_MS else round(number * 1000))
