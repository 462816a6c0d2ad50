"""Values: some documents taken apart, the kinds of their values, and which are the same. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isclose, isfinite
from typing import Any

from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId

from session_repair.aggregates import SCALARS, TOLERANCE
from session_repair.dates import DATE, NUMBERS
from session_repair.kinds import FIELD_PATH

Document = dict[str, Any]
Flat = Mapping[str, Any]  # the fields of a document, nested ones by their path

TYPES: Mapping[type, str] = {
    str: "string",
    bool: "bool",
    int: "int",
    Int64: "long",
    float: "double",
    Decimal128: "decimal",
    ObjectId: "objectId",
    DatetimeMS: DATE,
    Binary: "binData",
    bytes: "binData",
    list: "array",
    dict: "object",
    type(None): "null",
}


def type_of(value: Any) -> str:
    """Its BSON type, as ``$type`` names it."""
    return TYPES.get(type(value), "other")


def class_of(value: Any) -> str:
    """Its type, one for all numbers: what values have to share to be compared."""
    kind = type_of(value)
    return "number" if kind in NUMBERS else kind


def leaves(document: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Each field with its path, those in nested documents too; lists are values."""
    for name, value in document.items():
        path = f"{above}.{name}" if above else name
        if not FIELD_PATH.fullmatch(path) or "." in name:
            continue
        if isinstance(value, dict) and value:
            yield from leaves(value, path)
        else:
            yield path, value


def flat(document: Mapping[str, Any]) -> Flat:
    return dict(leaves(document))


def number_of(value: Any) -> Any:
    """A number that others can be compared with; None for what is none."""
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    if isinstance(value, bool) or not isfinite(value):
        return None
    return value


def key_of(value: Any) -> Any:
    """What equal values have in common, and no others: numbers by value."""
    kind = class_of(value)
    if kind == "number":
        return kind, number_of(value)
    if kind == "binData":
        return kind, getattr(value, "subtype", 0), bytes(value)
    return kind, int(value) if kind == DATE else value if kind in SCALARS else repr(value)


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal as MongoDB sees it; doubles, but for their last digits."""
    if key_of(one) == key_of(other):
        return True
    if not isinstance(one, float) and not isinstance(other, float):
        return False
    if class_of(one) != class_of(other):
        return False
    numbers = [number_of(one), number_of(other)]
    return None not in numbers and isclose(*map(float, numbers), rel_tol=TOLERANCE)


def is_nothing(value: Any) -> bool:
    """Whether it says no more than if it were absent."""
    if class_of(value) == "number":
        return number_of(value) == 0
    return value is None or value == [] or value == ""


@dataclass(frozen=True)
class Sample:
    """Some documents of a collection, and the fields that its indexes begin with."""

    collection: str
    documents: tuple[Flat, ...]
    indexed: frozenset[str] = frozenset({"_id"})

    @cached_property
    def types(self) -> dict[str, Counter[str]]:
        """By path, how many of the documents have a value of which type; null is none."""
        found: dict[str, Counter[str]] = {}
        for document in self.documents:
            for path, value in document.items():
                if value is not None:
                    found.setdefault(path, Counter())[type_of(value)] += 1
        return found

    def values(self, path: str) -> list[Any]:
        """What the documents hold there, but for null."""
        found = (document.get(path) for document in self.documents)
        return [value for value in found if value is not None]

    def paths(self, *types: str) -> list[str]:
        """The paths where most values are of these types."""
        return [path for path, kinds in self.types.items() if is_mostly(kinds, types)]

    def distinct(self, path: str) -> set[Any]:
        return {key_of(value) for value in self.values(path)}


def is_mostly(kinds: Counter[str], types: Iterable[str]) -> bool:
    return sum(kinds[it] for it in types) * 2 > kinds.total()
