"""Trials: which aggregate of the events a field of whole sessions is, by trying them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from bson import Decimal128

from session_repair.proposal.dating import milliseconds
from session_repair.proposal.values import (
    Flat,
    class_of,
    is_nothing,
    is_same,
    key_of,
    number_of,
    type_of,
)

LEAST_SHARE = 0.8  # of the telling sessions, in which a field has to be what the events say
LEAST_AGREED = 5  # of these sessions
SOON = 8  # telling sessions, after which what is wrong in most of them is given up
KINDS = ("count", "sum", "span", "distinct", "single", "min", "max", "first", "last")
MOST_VALUES = 12  # of a field by which events are told apart
MOST_WHERES = 24
PICKED_BY = ("string", "bool", "int", "long")


Where = tuple[str, tuple[Any, ...]]  # a field of the events, and the values that it may have


@dataclass(frozen=True)
class Whole:
    """A session at rest and all its events, those in the order of their dates."""

    session: Flat
    events: tuple[Flat, ...]


@dataclass(frozen=True)
class Trial:
    """One aggregate of the events."""

    kind: str
    of: str = ""
    where: Where = ("", ())
    unit: str = ""  # of a span

    def value(self, events: Sequence[Flat], dates: str) -> Any:
        """What it is of the events of a session; None for none. Their dates are kept as said."""
        found = values_in(self.of, picked(self.where, events))
        return self.made_of(found, dates)

    def made_of(self, values: list[Any], dates: str) -> Any:
        """What it is of the values of the events that it is of."""
        if self.kind == "span":
            return span(values, dates, self.unit)
        return VALUES[self.kind](values)


def picked(where: Where, events: Sequence[Flat]) -> Sequence[Flat]:
    """The events that hold one of the values; all where none is named."""
    path, values = where
    if not path:
        return events
    keys = [key_of(it) for it in values]
    return [it for it in events if path in it and key_of(it[path]) in keys]


def values_in(of: str, events: Sequence[Flat]) -> list[Any]:
    """What the events hold there, but for null; the events themselves where nothing is named."""
    return [it[of] for it in events if it.get(of) is not None] if of else list(events)


def total(values: list[Any]) -> Any:
    """The sum of the numbers: exact, unless one is a double."""
    known = [number_of(it) for it in values if class_of(it) == "number"]
    numbers = [it for it in known if it is not None]
    if any(isinstance(it, float) for it in numbers):
        return sum(map(float, numbers))
    exact = sum(numbers)
    return Decimal128(exact) if isinstance(exact, Decimal) else exact


def distinct(values: list[Any]) -> list[Any]:
    return list({key_of(it): it for it in values}.values())


def single(values: list[Any]) -> Any:
    found = distinct(values)
    return found[0] if len(found) == 1 else None


def extreme(which: Callable[..., Any]) -> Callable[[list[Any]], Any]:
    """The least or the greatest of the numbers, or of the dates, if all are of one kind."""

    def of(values: list[Any]) -> Any:
        classes = {class_of(it) for it in values}
        if len(classes) != 1 or not classes <= {"number", "date"}:
            return None
        numbers = [it for it in values if classes == {"date"} or number_of(it) is not None]
        return which(numbers, key=lambda it: key_of(it)[1]) if numbers else None

    return of


def span(values: list[Any], dates: str, unit: str) -> Any:
    known = [it for it in (milliseconds(value, dates) for value in values) if it is not None]
    long = max(known) - min(known) if known else 0
    return long / 1000 if unit == "s" else long


VALUES: Mapping[str, Callable[[list[Any]], Any]] = {
    "count": len,
    "sum": total,
    "distinct": distinct,
    "single": single,
    "min": extreme(min),
    "max": extreme(max),
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
}


@dataclass(frozen=True)
class Found:
    """A trial, and in how many of the telling sessions it is what a field holds."""

    trial: Trial
    agreed: int
    telling: int

    @property
    def share(self) -> float:
        return self.agreed / self.telling if self.telling else 0.0

    @property
    def is_enough(self) -> bool:
        return self.agreed >= LEAST_AGREED and self.share >= LEAST_SHARE


@dataclass
class Bench:
    """Where trials are held against fields of whole sessions; each is worked out once."""

    wholes: Sequence[Whole]
    dates: str  # as what the events keep theirs
    known: dict[Any, Any] = field(default_factory=dict)

    def value(self, trial: Trial, number: int) -> Any:
        """What the trial is of the events of this session."""

        def events() -> Sequence[Flat]:
            whole = self.wholes[number].events
            return self.once((trial.where, number), lambda: picked(trial.where, whole))

        def values() -> list[Any]:
            of = trial.of
            return self.once((of, trial.where, number), lambda: values_in(of, events()))

        return self.once((trial, number), lambda: trial.made_of(values(), self.dates))

    def once(self, name: Any, made: Callable[[], Any]) -> Any:
        if name not in self.known:
            self.known[name] = made()
        return self.known[name]

    def held(
        self,
        trial: Trial,
        path: str,
        is_held: Callable[[Any, Any], bool],
        is_empty_told: bool = True,
    ) -> Found:
        """How the trial fares beside the field; a session tells where either holds something.

        Unless ``is_empty_told``, one in which the field holds nothing tells nothing: it may be one
        of those that are to be repaired.
        """
        agreed = telling = 0
        for number, whole in enumerate(self.wholes):
            stored, should = whole.session.get(path), self.value(trial, number)
            if is_nothing(stored) and (is_nothing(should) or not is_empty_told):
                continue
            telling += 1
            agreed += is_held(stored, should)
            is_lost = telling - agreed > (1 - LEAST_SHARE) * len(self.wholes)
            if is_lost or (telling >= SOON and 2 * agreed < telling):
                break
        return Found(trial, agreed, telling)

    def varies(self, path: str) -> bool:
        """Whether the field tells sessions apart: what is alike in all is no aggregate."""
        found = (whole.session.get(path) for whole in self.wholes)
        return len({None if is_nothing(it) else repr(key_of(it)) for it in found}) > 1


def is_what_it_holds(stored: Any, should: Any) -> bool:
    """Whether a session holds what the events say; of lists the order is not looked at."""
    if isinstance(stored, list) and isinstance(should, list):
        keys = [key_of(it) for it in stored], [key_of(it) for it in should]
        return len(keys[0]) == len(keys[1]) and set(keys[0]) == set(keys[1])
    return not isinstance(stored, list | dict) and is_same(stored, should)


def is_span_held(stored: Any, should: Any) -> bool:
    """A whole number of seconds has lost the rest."""
    if class_of(stored) != "number" or number_of(stored) is None:
        return False
    return is_same(stored, should) or (isinstance(stored, int) and stored == should // 1)


def wheres(events: Sequence[Flat], but_for: Iterable[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """By what events may be picked: a field of few values, and one of these."""
    values: dict[str, Counter[Any]] = {}
    for event in events:
        for path, value in event.items():
            if path not in but_for and type_of(value) in PICKED_BY:
                values.setdefault(path, Counter())[value] += 1
    few = {path: it for path, it in values.items() if 2 <= len(it) <= MOST_VALUES}
    told = [(path, value) for path, it in few.items() for value, _ in it.most_common()]
    yield from ((path, (value,)) for path, value in told[:MOST_WHERES])
