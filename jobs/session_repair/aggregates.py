"""Aggregates: what a session keeps of its events. Plain data.

Five are what this job is about, the *basics*: what is empty, which copy is canonical, what is in
flight and what may be deleted rest on them. Others are declared in the config file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from session_repair.dates import DATE, NUMBERS
from session_repair.kinds import FIELD_PATH

# The basics, under the names of the settings, in the order of a plan.
BASICS = ("event_count", "pages", "first_event_at", "last_event_at", "user_id")
FIELD_OF = {"user": "user_id"}  # of what a finding and a correction name otherwise
OF_EMPTY = ("event_count", "pages")  # of which one is kept: they tell what is empty

SCALARS = ("string", "objectId", *NUMBERS, "bool", DATE, "binData")
COUNT, SUM, DISTINCT, MIN, MAX = "count", "sum", "distinct", "min", "max"
FIRST, LAST, SINGLE, SPAN = "first", "last", "single", "span"
# By kind, the BSON types of what it reads of an event.
READS: Mapping[str, tuple[str, ...]] = {
    COUNT: (),
    SUM: NUMBERS,
    DISTINCT: ("string", "objectId", *NUMBERS),
    MIN: (DATE, *NUMBERS),
    MAX: (DATE, *NUMBERS),
    FIRST: SCALARS,
    LAST: SCALARS,
    SINGLE: SCALARS,
    SPAN: (DATE,),
}
# By kind, what a session holds of it, if that is of other types than it reads; null and missing
# apart. A list holds what is read.
HOLDS: Mapping[str, tuple[str, ...]] = {COUNT: NUMBERS, SPAN: NUMBERS}
BY_NUMBER, BY_DATE, BY_KEY = ("number", "exact"), ("date",), ("key",)
MEMBERS: Mapping[str, tuple[str, ...]] = {  # by kind, what of a value it is compared by
    **dict.fromkeys((COUNT, SUM, SPAN), BY_NUMBER),
    **dict.fromkeys((MIN, MAX), BY_NUMBER + BY_DATE),
    **dict.fromkeys((DISTINCT, FIRST, LAST, SINGLE), BY_KEY),
}
TOLERANCE = 1e-9  # of the value: the sum of doubles depends on their order
LOST_BY_ADDING = 1e-12  # of all doubles that are added up, each without its sign
FROM_NOTHING = (COUNT, SUM, DISTINCT, SPAN)  # what is absent counts as 0, or as an empty list
UNITS = MS, S = "ms", "s"
MOST = 12
NAME = re.compile(r"[A-Za-z0-9_]+")
KEYS = ("field", "is", "of", "where", "unit", "name")
# What none is named: its codes would be those of a basic, its plan would name two things alike.
TAKEN = ("count", "first_event", "last_event", "user", "_id", "session_id", *BASICS)
SCHEMA: Mapping[str, Any] = {  # of a table of the config file, as JSON Schema
    "type": "object",
    "properties": {
        "field": {"type": "string"},
        "is": {"enum": list(READS)},
        "of": {"type": "string"},
        "where": {"type": "object"},
        "unit": {"enum": list(UNITS)},
        "name": {"type": "string", "pattern": f"^{NAME.pattern}$"},
    },
    "required": ["field", "is"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Aggregate:
    """One that is declared: ``name`` is what plans, codes and reports call it.

    ``of`` is the path of what it reads of an event, None for a count; of a span it may be None, for
    the timestamp. Events count that hold one of the values at each path of ``where``.
    """

    name: str
    path: str  # in the session
    kind: str
    of: str | None = None
    where: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    unit: str = MS

    @property
    def reads(self) -> tuple[str, ...]:
        """The BSON types of what it reads of an event."""
        return READS[self.kind]

    @property
    def holds(self) -> tuple[str, ...]:
        """The BSON types of what a session holds, or of each in its list."""
        return HOLDS.get(self.kind, READS[self.kind])

    @property
    def members(self) -> tuple[str, ...]:
        """What its values are compared by: a number, a date, the key that equal ones share."""
        return MEMBERS[self.kind]

    @property
    def is_list(self) -> bool:
        return self.kind == DISTINCT

    @property
    def may_be_date(self) -> bool:
        """Whether a BSON date is among what is written of it."""
        return DATE in self.holds and not self.is_list

    @property
    def is_of_timestamp(self) -> bool:
        """Whether it is a span of what all events are dated with."""
        return self.kind == SPAN and self.of is None

    @property
    def code(self) -> str:
        """That of its finding."""
        return f"{self.name}_mismatch"

    @property
    def conflict(self) -> str:
        """The code of events that disagree, of what should be single."""
        return f"{self.name}_conflict"


def read_aggregates(declared: Iterable[Mapping[str, Any]]) -> tuple[Aggregate, ...]:
    """The aggregates of the tables of a config file. Raises ValueError on what none can be."""
    found = tuple(read_aggregate(number, dict(it)) for number, it in enumerate(declared, 1))
    if len(found) > MOST:
        raise ValueError(f"{len(found)} are declared; write at most {MOST}")
    names = [it.name.lower() for it in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f'two are named {name!r}; give each its own, by name = "…"')
    return found


def read_aggregate(number: int, given: dict[str, Any]) -> Aggregate:
    which = f"number {number}"
    for key in given:
        if key not in KEYS:
            raise ValueError(f"{which} has the unknown key {key!r}; known are {', '.join(KEYS)}")
    for key in SCHEMA["required"]:
        if key not in given:
            raise ValueError(f"{which} has no {key}; write {key} = …")
    path, kind, of = given["field"], given["is"], given.get("of")
    if not isinstance(path, str) or not is_path(path):
        raise ValueError(f"{which} has field = {path!r}, which is no field name")
    which, name = f"that of {path!r}", given.get("name", path.replace(".", "_"))
    if not isinstance(name, str) or not NAME.fullmatch(name) or name.lower() in TAKEN:
        raise ValueError(
            f"{which} is named {name!r}; write a name of its own in letters, digits and _"
        )
    if not isinstance(kind, str) or kind not in READS:
        raise ValueError(f"{which} is {kind!r}, which is unknown; write {' or '.join(READS)}")
    if (of is None) != (kind == COUNT) and not (of is None and kind == SPAN):
        needs = "counts events, and reads nothing: leave out of" if of else "needs of = a field"
        raise ValueError(f"{which} {needs}")
    if of is not None and not is_path(of):
        raise ValueError(f"{which} is of {of!r}, which is no field name")
    unit = given.get("unit", MS)
    if unit not in UNITS or ("unit" in given and kind != SPAN):
        raise ValueError(f"{which} has unit = {unit!r}; a span is in {' or '.join(UNITS)}")
    return Aggregate(name, path, kind, of, read_where(which, given.get("where", {})), unit)


def read_where(which: str, given: Any) -> dict[str, tuple[Any, ...]]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{which} has where = {given!r}; write fields of the event with values")
    where = {}
    for path, value in given.items():
        values = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not is_path(path):
            raise ValueError(f"{which} names {path!r} in where, which is no field name")
        if not values or not all(map(is_value, values)):
            raise ValueError(
                f"{which} has where {path} = {value!r}; write a value, or a list: text, true, "
                "false, or a number that is finite, a whole one of at most 64 bits"
            )
        where[path] = values
    return where


def is_value(value: Any) -> bool:
    """Whether it is text, or what MongoDB can hold of numbers."""
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, str) or (isinstance(value, int) and -(2**63) <= value < 2**63)


def is_path(path: Any) -> bool:
    return isinstance(path, str) and FIELD_PATH.fullmatch(path) is not None


def told_aggregates(aggregates: Iterable[Aggregate]) -> list[dict[str, Any]]:
    """The aggregates as a config file has them; what is not said there is left out."""
    return [told_aggregate(it) for it in aggregates]


def told_aggregate(it: Aggregate) -> dict[str, Any]:
    of = {} if it.of is None else {"of": it.of}
    where = {path: list(values) for path, values in it.where.items()}
    unit = {"unit": it.unit} if it.kind == SPAN else {}
    named = {"field": it.path, "is": it.kind, **of, **({"where": where} if where else {}), **unit}
    return {**named, "name": it.name}


@dataclass(frozen=True)
class Shape:
    """What the sessions keep of their events: of the basics, and what else is declared."""

    kept: tuple[str, ...] = BASICS
    declared: tuple[Aggregate, ...] = ()
    dates: str = DATE  # as what they keep an instant
    session_fields: Mapping[str, str] = field(default_factory=dict)  # where their documents have it
    event_fields: Mapping[str, str] = field(default_factory=dict)

    def keeps(self, *basics: str) -> bool:
        return all(it in self.kept for it in basics)

    @property
    def names(self) -> tuple[str, ...]:
        """Of what a run may write, under the names of the settings, in the order of a plan."""
        return (*(it for it in BASICS if it in self.kept), *(it.name for it in self.declared))

    def in_sessions(self, name: str) -> str:
        """What the documents of sessions call it: a basic, what is declared, the id."""
        paths = {**self.session_fields, **{it.name: it.path for it in self.declared}}
        return paths.get(FIELD_OF.get(name, name)) or name

    def in_events(self, name: str) -> str:
        """What those of events call it, or what a declared aggregate reads of them."""
        dated = self.event_fields.get("timestamp", "timestamp")
        paths = {**self.event_fields, **{it.name: it.of or dated for it in self.declared}}
        return paths.get(name) or name

    @property
    def lists(self) -> tuple[Aggregate, ...]:
        return tuple(it for it in self.declared if it.is_list)

    @property
    def read(self) -> tuple[Aggregate, ...]:
        """Those that read more of an event than the basics do."""
        return tuple(it for it in self.declared if not it.is_of_timestamp)


BASIC_SHAPE = Shape()


def shape_of(described: Mapping[str, Any]) -> Shape:
    """The shape in the settings of a run's document, or of a report."""
    sessions, events = (described.get(it) or {} for it in ("session_fields", "event_fields"))
    kept = tuple(it for it in BASICS if sessions.get(it, it))
    declared = read_aggregates(described.get("aggregates") or ())
    return Shape(kept, declared, described.get("session_dates", DATE), sessions, events)
