"""Declared aggregates, in plain Python: what sessions should hold; shares no code with the job.

And strategies for sessions and events that hold values of every type in what is declared.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from typing import Any

import bson
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId
from hypothesis import strategies as st

from tests.harness.documents import Document
from tests.harness.model import MISSING, at

NUMBERS = (int, Int64, float, Decimal128)


@dataclass(frozen=True)
class Declared:
    """One as the config file has it."""

    path: str
    kind: str
    of: str | None = None
    where: tuple[str, tuple[Any, ...]] | None = None
    unit: str = "ms"
    name: str = field(default="")

    @property
    def code(self) -> str:
        return f"{self.name or self.path.replace('.', '_')}_mismatch"

    @property
    def table(self) -> Document:
        """As the config file is read."""
        where = {"where": {self.where[0]: list(self.where[1])}} if self.where else {}
        unit = {"unit": self.unit} if self.kind == "span" else {}
        named = {"of": self.of, "name": self.name}
        given = {key: value for key, value in named.items() if value}
        return {"field": self.path, "is": self.kind, **where, **unit, **given}

    @property
    def toml(self) -> str:
        """As it is written there."""
        lines = [f"{key} = {inline(value)}" for key, value in self.table.items()]
        return "\n".join(["[[aggregates]]", *lines])


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {inline(it)}" for key, it in value.items()) + " }"
    return json.dumps(value)


def is_number(value: Any) -> bool:
    return type(value) in NUMBERS


def exact(value: Any) -> Decimal:
    return value.to_decimal() if isinstance(value, Decimal128) else Decimal(value)


def equal(one: Any, other: Any) -> bool:
    """Whether MongoDB takes two values as equal."""
    if is_number(one) and is_number(other):
        return exact(one) == exact(other)
    return type(one) is type(other) and bson.encode({"v": one}) == bson.encode({"v": other})


class Untold(Exception):
    """It cannot be told."""


READ: dict[str, Callable[[Any], bool]] = {
    "sum": is_number,
    "distinct": lambda it: is_number(it) or isinstance(it, str | ObjectId),
    "min": lambda it: is_number(it) or isinstance(it, DatetimeMS),
    "max": lambda it: is_number(it) or isinstance(it, DatetimeMS),
    "span": lambda it: isinstance(it, DatetimeMS),
}
ANY = (str, ObjectId, bool, DatetimeMS, bytes)


def is_sound(kind: str, value: Any) -> bool:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return False
    if isinstance(value, Decimal128):
        number = value.to_decimal()
        if not number.is_finite():
            return False
        exponent = int(number.as_tuple().exponent)
        if number and (exponent < -18 or abs(number) >= 10**20):
            return False
    reads = READ.get(kind, lambda it: is_number(it) or isinstance(it, ANY))
    return bool(reads(value))


def said(declared: Declared, events: list[Document]) -> Any:
    """What the events, in their order, say of it; MISSING for nothing. Raises Untold."""
    if declared.where:
        path, known = declared.where
        events = [it for it in events if at(it, path) in known]
    if declared.kind == "count":
        return len(events)
    of = declared.of or "timestamp"
    values = [it for it in (at(event, of) for event in events) if not is_absent(it)]
    if not all(is_sound(declared.kind, it) for it in values):
        raise Untold
    return FINAL[declared.kind](declared, values)


def total(_: Declared, values: list[Any]) -> Any:
    kinds = {type(it) for it in values}
    if Decimal128 in kinds:
        if float in kinds:
            raise Untold
        with localcontext(Context(prec=60)):
            found = sum((exact(it) for it in values), Decimal(0))
            text = f"{found.normalize():f}"
        if abs(found) >= 10**20 or len(text.strip("-").replace(".", "")) > 34:
            raise Untold
        return Decimal128(text)
    if float in kinds:
        return float(sum(float(it) for it in values))
    found = sum(values)
    if not -(2**63) < found < 2**63:
        raise Untold
    return of_int(found)


def of_int(number: int) -> Any:
    return int(number) if -(2**31) <= number < 2**31 else Int64(number)


def least_or_greatest(declared: Declared, values: list[Any]) -> Any:
    if not values:
        return MISSING
    if len({isinstance(it, DatetimeMS) for it in values}) > 1:
        raise Untold
    choose = min if declared.kind == "min" else max
    key: Callable[[Any], Any] = exact if is_number(values[0]) else int
    return choose(values, key=key)


def distinct(_: Declared, values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if not any(equal(value, it) for it in found):
            found.append(plain(value))
    return found


def plain(value: Any) -> Any:
    """The value; a whole number as one."""
    if is_number(value) and exact(value) == exact(value).to_integral_value():
        return of_int(int(exact(value)))
    return value


def span(declared: Declared, values: list[Any]) -> Any:
    length = max(map(int, values)) - min(map(int, values)) if values else 0
    if declared.unit == "ms":
        return of_int(length)
    return of_int(length // 1000) if length % 1000 == 0 else length / 1000


def single(_: Declared, values: list[Any]) -> Any:
    is_one = values and all(equal(values[0], it) for it in values)
    return values[0] if is_one else MISSING


FINAL: dict[str, Callable[[Declared, list[Any]], Any]] = {
    "sum": total,
    "min": least_or_greatest,
    "max": least_or_greatest,
    "distinct": distinct,
    "first": lambda _, values: values[0] if values else MISSING,
    "last": lambda _, values: values[-1] if values else MISSING,
    "single": single,
    "span": span,
}


# Beside what the session holds


def is_absent(value: Any) -> bool:
    return value is MISSING or value is None


def is_near(one: Any, other: Any) -> bool:
    if float not in (type(one), type(other)):
        return exact(one) == exact(other)
    a, b = float(exact(one)), float(exact(other))
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))


def is_same(declared: Declared, stored: Any, value: Any) -> bool:
    if declared.kind == "distinct":
        own = [] if is_absent(stored) else stored
        return not lacking(own, value) and not has_more(own, value)
    if declared.kind in ("count", "sum", "span"):
        held = 0 if is_absent(stored) else stored
        is_floor = type(held) in (int, Int64) and declared.kind == "span"
        return is_near(held, value) or (is_floor and int(exact(value)) == held)
    if is_absent(stored):
        return False
    if is_number(stored) and is_number(value) and float in (type(stored), type(value)):
        return float(exact(stored)) == float(exact(value))
    return equal(stored, value)


def lacking(own: list[Any], value: list[Any]) -> list[Any]:
    return [it for it in value if not any(equal(it, known) for known in own)]


def has_more(own: list[Any], value: list[Any]) -> bool:
    has_twice = any(equal(it, known) for n, it in enumerate(own) for known in own[:n])
    return has_twice or bool(lacking(value, own))


def is_beside(stored: Any, value: Any) -> bool:
    """Whether one is a date and the other a number."""
    pairs = ((stored, value), (value, stored))
    return any(isinstance(one, DatetimeMS) and is_number(other) for one, other in pairs)


def in_type_of(stored: Any, value: Any, kind: str) -> Any:
    """The value; a number in the type of the stored one, where it fits that."""
    if kind == "span" and is_absent(stored):
        return of_int(int(value))
    if not is_number(stored) or not is_number(value):
        return value
    if kind == "span" and type(stored) in (int, Int64) and isinstance(value, float):
        value = of_int(int(value))
    number = exact(value)
    most = 2**53 if isinstance(value, float) else 2**63 - 1
    is_whole = number == number.to_integral_value() and abs(number) <= most
    if type(stored) is int and is_whole:
        return of_int(int(number))
    if type(stored) is Int64 and is_whole:
        return Int64(int(number))
    if isinstance(stored, float) and is_whole and abs(number) <= 2**53:
        return float(number)
    if isinstance(stored, Decimal128) and type(value) in (int, Int64):
        return Decimal128(number)
    return value


def mended(declared: Declared, stored: Any, value: Any, has_expired: bool) -> Any:
    """What a correction leaves that drops nothing; MISSING where that is what there is."""
    if declared.kind == "distinct":
        own = [] if is_absent(stored) else stored
        more = lacking(own, value)
        if not more:
            return MISSING
        return [*own, *more] if has_more(own, value) else value
    new = in_type_of(stored, value, declared.kind)
    if not has_expired or (is_absent(stored) and declared.kind in WIDENED):
        return new
    if declared.kind not in WIDENED or type_class(stored) != type_class(value):
        return MISSING
    key: Callable[[Any], Any] = exact if is_number(value) else int
    is_less = key(value) < key(stored)
    return new if is_less == (declared.kind == "min") else MISSING


WIDENED = ("count", "span", "min", "max")


def type_class(value: Any) -> str:
    return "number" if is_number(value) else type(value).__name__


# Strategies

dates = st.sampled_from([DatetimeMS(1_740_830_400_000 + n) for n in (-1, 0, 1, 999, 60_000)])
ints = st.sampled_from([0, 1, 5, 12, -3, Int64(5), Int64(2**31), Int64(-(2**40))])
doubles = st.sampled_from([0.0, 5.0, -0.25, 12.5, 1e-3, 2.0**40])
SMALL, LARGE = ("0E-18", "2.5E-9", "1", "5", "5.00", "-0.75"), ("1E+3", "9223372036854775808")
decimals = st.sampled_from([Decimal128(it) for it in (*SMALL, *LARGE, "12.340", "6" + "0" * 19)])
WRONG: list[Any] = [
    None,
    {},
    {"v": 1},
    [5],
    ["a"],
    "12 EUR",
    True,
    float("nan"),
    float("inf"),
    Int64(2**62),
]
WRONG += [Decimal128("NaN"), Decimal128("1E+30"), Decimal128("0." + "1" * 20), ObjectId(b"0" * 12)]
texts = st.sampled_from(["/a", "/b", "", '{"v": 1}', "{", "7", 'quote " \\', "áo\n"])
scalars = st.one_of(
    texts, ints, dates, st.booleans(), st.sampled_from([ObjectId(b"1" * 12), Binary(b"ab", 0)])
)


# One of every kind, and more

BOUGHT = ("event_type", ("purchase", "refund"))
TWELVE = (
    Declared("stats.purchases", "count", where=("event_type", ("purchase",))),
    Declared("revenue", "sum", "amount", BOUGHT),
    Declared("stats.total", "sum", "amount", name="everything"),
    Declared("tags", "distinct", "tag"),
    Declared("event_ids", "distinct", "_id"),
    Declared("cheapest", "min", "amount"),
    Declared("newest", "max", "at"),
    Declared("landing", "first", "page"),
    Declared("left_by", "last", "via"),
    Declared("channel", "single", "via"),
    Declared("took", "span", unit="s"),
    Declared("stats.shown", "span", "at"),
)
