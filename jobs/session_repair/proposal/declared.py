"""Declared: which other fields of sessions are aggregates of their events. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from session_repair.aggregates import MOST
from session_repair.dates import NUMBERS
from session_repair.mongo.names import likeness
from session_repair.proposal.dating import dated
from session_repair.proposal.guess import Fields, is_empty
from session_repair.proposal.trials import (
    KINDS,
    Bench,
    Found,
    Trial,
    Where,
    is_span_held,
    is_what_it_holds,
    wheres,
)
from session_repair.proposal.values import Sample, is_nothing

FEW_EMPTY = 3  # empty sessions, at least, from which something can be told
MOST_FIELDS = 40  # of the sessions, that are tried
ORDERED = ("min", "max", "first", "last", "single")
HINTS = {  # words in the name of a field that speak for a kind, where several fit alike
    "first": ("first", "landing", "entry", "initial"),
    "last": ("last", "exit", "final"),
    "min": ("min", "least"),
    "max": ("max", "peak", "highest", "deepest"),
    "sum": ("total", "sum", "revenue", "amount"),
    "span": ("duration", "length", "seconds"),
}


@dataclass(frozen=True)
class Declared:
    """A field of sessions and what it is; not sure where something else may as well set it."""

    path: str
    found: Found
    is_sure: bool = True


def declared(sessions: Sample, fields: Fields, bench: Bench) -> list[Declared]:
    """The fields that are aggregates of the events, those that most sessions show first.

    ``bench`` holds sessions that are not empty. What empty ones hold already is no aggregate: it
    was there before any event.
    """
    taken = {"_id", *(it.path for it in fields.sessions.values())}
    told = [fields.sessions[it].path for it in ("event_count", "pages")]
    empty = [it for it in sessions.documents if is_empty(it, [path for path in told if path])]
    tried, found = Tried.on(sessions, fields, bench), []
    for path in [it for it in sessions.types if it not in taken][:MOST_FIELDS]:
        held = sum(not is_nothing(document.get(path)) for document in empty)
        if not bench.varies(path) or (len(empty) >= FEW_EMPTY and 2 * held > len(empty)):
            continue
        if best := best_of(path, tried.of(path), bench):
            is_copy = best.trial.kind == "single" and len(empty) < FEW_EMPTY
            found.append(Declared(path, best, not is_copy))
    return sorted(found, key=lambda it: (not it.is_sure, -it.found.share))


@dataclass(frozen=True)
class Tried:
    """What fields of sessions may be: by what events hold, and by what they can be picked."""

    types: Mapping[str, str]  # of the sessions' fields, by path
    own_dates: Mapping[str, str]
    events: Sample
    dates: Mapping[str, str]  # of the events
    timestamp: str | None
    picks: Sequence[Where]

    @staticmethod
    def on(sessions: Sample, fields: Fields, bench: Bench) -> Tried:
        events = Sample("events", tuple(it for whole in bench.wholes for it in whole.events))
        ids = [fields.events[it].path or "" for it in ("session_id", "user_id", "timestamp")]
        return Tried(
            types={path: kinds.most_common(1)[0][0] for path, kinds in sessions.types.items()},
            own_dates=dated(sessions),
            events=events,
            dates=dated(events),
            timestamp=fields.events["timestamp"].path,
            picks=[("", ()), *wheres(events.documents, but_for=("_id", *ids))],
        )

    def of(self, path: str) -> Iterator[Trial]:
        """What the field could be, by its types."""
        kind, own = self.types[path], self.own_dates.get(path)
        if own is not None:
            yield from self.each(ORDERED, [it for it, kept in self.dates.items() if kept == own])
        elif kind in NUMBERS:
            yield from (Trial("count", "", where) for where in self.picks)
            if self.timestamp:
                yield from (Trial("span", self.timestamp, unit=unit) for unit in ("ms", "s"))
            numbers = [it for it in self.events.paths(*NUMBERS) if it not in self.dates]
            yield from self.each(("sum", *ORDERED), numbers)
        elif kind == "array":
            yield from self.each(("distinct",), self.events.paths("string", "objectId", *NUMBERS))
        elif kind in ("string", "objectId", "bool", "binData"):
            yield from self.each(("first", "last", "single"), self.events.paths(kind))

    def each(self, kinds: Iterable[str], ofs: Iterable[str]) -> Iterator[Trial]:
        every = [(of, where) for of in ofs for where in self.picks]
        yield from (Trial(kind, of, where) for of, where in every for kind in kinds)


def best_of(path: str, trials: Iterable[Trial], bench: Bench) -> Found | None:
    """What the field is in most sessions; of those alike, the simplest and best named."""
    best: tuple[tuple[float, ...], Found] | None = None
    for trial in trials:
        is_held = is_span_held if trial.kind == "span" else is_what_it_holds
        found = bench.held(trial, path, is_held)
        if not found.is_enough:
            continue
        rank = (found.share, float(found.agreed), *preference(path, trial))
        if best is None or rank > best[0]:
            best = rank, found
    return None if best is None else best[1]


def preference(path: str, trial: Trial) -> tuple[float, ...]:
    """What speaks for a trial where others fare as well."""
    where, values = trial.where
    name = path.rpartition(".")[2].lower()
    is_hinted = any(word in name for word in HINTS.get(trial.kind, ()))
    told = [trial.of, *map(str, values)]
    named = max(likeness(name, it) for it in told if it) if any(told) else 0.0
    return (not where, is_hinted, -KINDS.index(trial.kind), named)


def limited(found: Sequence[Declared]) -> tuple[list[Declared], list[Declared]]:
    """Those that are proposed, and those that are only told: not sure, or too many."""
    sure = [it for it in found if it.is_sure][:MOST]
    return sure, [it for it in found if it not in sure]
