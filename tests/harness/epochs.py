"""Epoch numbers: dates as numbers since 1970, of each type, and what they say; in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from math import floor, isfinite
from typing import Any

from bson import DatetimeMS, Decimal128, Int64

UNITS = MS, S = "epoch_ms", "epoch_s"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
YEARS = -62_135_596_800_000, 253_402_300_799_999  # 1 to 9999, in milliseconds
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


def is_date(value: Any, unit: str) -> bool:
    """Whether it is a number of an instant in the years 1 to 9999."""
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return False
    least, greatest = YEARS if unit == MS else (YEARS[0] // 1000, YEARS[1] / 1000)
    return isfinite(value) and least <= value <= greatest


def type_of(value: Any) -> str | None:
    """The BSON type of a number; None for what is none."""
    return next((name for name, kind in KINDS.items() if type(value) is kind), None)


class Numbered(dict[str, Any]):
    """A document of a side that keeps numbers: its dates as dates, and what they were."""

    def __init__(self, document: dict[str, Any], fields: Iterable[str], unit: str) -> None:
        super().__init__(document)
        self.kept, self.unit = document, unit
        for name in fields:
            if is_date(value := document.get(name), unit):
                self[name] = DatetimeMS(milliseconds(value, unit))
            elif value is not None:
                self[name] = "no number of an instant"

    def type_of(self, name: str, usual: str) -> str:
        """The type in which a date is written."""
        return type_of(self.kept.get(name)) or usual

    def held(self, name: str, ms: int, usual: str) -> int:
        """What the document can hold of an instant."""
        return milliseconds(number(ms, self.unit, self.type_of(name, usual)), self.unit)

    def as_kept(self, after: dict[str, Any], usual: str) -> dict[str, Any]:
        """What became of the document, its dates as numbers again."""
        told = {}
        for name, value in after.items():
            is_same = name in self and self[name] is value
            told[name] = self.kept[name] if is_same else value
            if not is_same and isinstance(value, DatetimeMS):
                told[name] = number(int(value), self.unit, self.type_of(name, usual))
        return told


def with_numbers(
    documents: list[dict[str, Any]], fields: Iterable[str], unit: str, usual: str
) -> list[dict[str, Any]]:
    """The documents, most of their dates as numbers: of the usual type, but for some of others."""
    kinds = [usual] * 12 + list(KINDS) + [""]
    made = []
    for nth, document in enumerate(documents):
        kind, numbered = kinds[nth * 7 % len(kinds)], dict(document)
        for name in fields:
            moment = document.get(name)
            if kind and isinstance(moment, datetime):
                numbered[name] = at(moment, unit, kind)
        made.append(numbered)
    return made
