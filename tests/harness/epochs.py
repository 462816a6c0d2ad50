"""Epoch numbers: dates as numbers since 1970, of each type, and what they say; in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from math import floor
from typing import Any

from bson import Decimal128, Int64

UNITS = MS, S = "epoch_ms", "epoch_s"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
KINDS: dict[str, type] = {"int": int, "long": Int64, "double": float, "decimal": Decimal128}


def milliseconds(value: Any, unit: str) -> int:
    """The millisecond that the number is of, were it the nearest double of a whole one."""
    exact = value.to_decimal() if isinstance(value, Decimal128) else value
    if unit == MS:
        return floor(exact)
    whole = round(exact * 1000)
    return whole if whole / 1000 == exact else floor(exact * 1000)


def number(ms: int, unit: str, kind: str) -> Any:
    """The number in which a date of so many milliseconds is kept; a long where no int holds it."""
    if kind == "double":
        return ms / 1000 if unit == S else float(ms)
    if kind == "decimal":
        return Decimal128(f"{Decimal(ms) / 1000:.3f}" if unit == S else str(ms))
    whole = ms // 1000 if unit == S else ms
    return whole if kind == "int" and -(2**31) <= whole < 2**31 else Int64(whole)


def at(moment: datetime, unit: str, kind: str) -> Any:
    """The instant as such a number."""
    return number((moment - EPOCH) // timedelta(milliseconds=1), unit, kind)


def counted(unit: str, kind: str) -> Callable[[datetime], Any]:
    return lambda moment: at(moment, unit, kind)


def config_of(sessions: str, events: str) -> str:
    """The lines of a config file that say how each side keeps its dates."""
    return f'[fields.sessions]\ndates = "{sessions}"\n[fields.events]\ndates = "{events}"\n'
