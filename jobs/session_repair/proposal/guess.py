"""Guess: which fields of two collections are those of the settings, and what dates are. Pure.

What whole sessions and their events show goes before what fields are called: of a field that holds
what the events say of most sessions it does not matter how it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from session_repair.dates import DATE, EPOCH_S, NUMBERS, WHOLE
from session_repair.mongo.bson_types import USERS
from session_repair.mongo.names import ALIKE
from session_repair.proposal.dating import dated, dates_of, milliseconds
from session_repair.proposal.naming import best_named, fit
from session_repair.proposal.trials import Bench, Found, Trial, Whole, is_what_it_holds
from session_repair.proposal.values import Flat, Sample, is_nothing, key_of, type_of

IDS = ("string", "objectId", *NUMBERS, "binData")
UNIQUE = 0.9  # of the sessions have a session_id that no other has, at least


@dataclass(frozen=True)
class Link:
    """The field by which events name their session, and that of the session; as far as is seen."""

    session: str
    event: str
    shared: int  # ids that stand in documents of both that were looked at


@dataclass(frozen=True)
class Choice:
    """Where a field stands; None where none is it. And what makes it so."""

    path: str | None
    found: Found | None = None

    @property
    def is_shown(self) -> bool:
        return self.found is not None and self.found.is_enough


@dataclass(frozen=True)
class Fields:
    """The fields of both sides by the names of the settings, and as what they keep their dates."""

    sessions: dict[str, Choice]
    events: dict[str, Choice]
    session_dates: str
    event_dates: str


def links(sessions: Sample, events: Sample) -> list[Link]:
    """The pairs of fields that may hold the session id, the likeliest first."""
    found = []
    for of_session in sessions.paths(*IDS):
        known, held = sessions.distinct(of_session), sessions.values(of_session)
        if len(known) < UNIQUE * len(held):
            continue
        for of_event in events.paths(*IDS):
            values = events.values(of_event)
            if of_event == "_id" or not values:
                continue
            shared = known & events.distinct(of_event)
            covered = sum(key_of(it) in shared for it in values) / len(values)
            of_name = fit("session_id", of_event)
            named = of_name + 0.5 * fit("session_id", of_session)
            is_both = bool(shared) and of_name >= ALIKE
            if shared or named >= 1.5 * ALIKE:
                found.append((is_both + covered + named, Link(of_session, of_event, len(shared))))
    return [link for _, link in sorted(found, key=lambda it: (-it[0], it[1].session, it[1].event))]


def guess(
    sessions: Sample, events: Sample, link: Link, groups: Sequence[tuple[Flat, list[Flat]]]
) -> tuple[Fields, Bench]:
    """The fields, and whole sessions that are not empty, to try more on, their events in order.

    ``groups`` are whole sessions with their events in any order.
    """
    bench, there = Bench(in_order(groups, None, DATE), DATE), dated(events)
    there = {it: kept for it, kept in there.items() if is_in_most(events, it)}
    page, pages = guess_pages(sessions, events, link, bench)
    count = guess_count(sessions, link, bench)
    kept = [it.path for it in (count, pages) if it.path]
    groups = [it for it in groups if not is_empty(it[0], kept)]
    timestamp = guess_timestamp(sessions, there, groups)
    event_dates = there.get(timestamp.path or "", DATE)
    bench = Bench(in_order(groups, timestamp.path, event_dates), event_dates)
    user_of_event, user = guess_user(sessions, events, link, bench)
    first, last = guess_dates(sessions, there, timestamp.path, bench)
    dates = [dates_of(sessions, it.path) for it in (first, last) if it.path]
    fields = Fields(
        sessions={
            "session_id": Choice(link.session),
            "user_id": user,
            "event_count": count,
            "first_event_at": first,
            "last_event_at": last,
            "pages": pages,
        },
        events={
            "session_id": Choice(link.event),
            "user_id": user_of_event,
            "timestamp": timestamp,
            "page": page,
        },
        session_dates=next(filter(None, dates), DATE),
        event_dates=event_dates,
    )
    return fields, bench


def is_in_most(sample: Sample, path: str) -> bool:
    return 2 * len(sample.values(path)) > len(sample.documents)


def is_empty(session: Flat, paths: Iterable[str]) -> bool:
    """Whether the session counts nothing or names no page, where it keeps that there."""
    return any(is_nothing(session.get(path)) for path in paths)


def in_order(
    groups: Iterable[tuple[Flat, list[Flat]]], timestamp: str | None, dates: str
) -> list[Whole]:
    """Whole sessions, their events by their dates and _ids; those without a date last."""

    def place(event: Flat) -> tuple[Any, ...]:
        moment = None if timestamp is None else milliseconds(event.get(timestamp), dates)
        key = event.get("_id")
        return (moment is None, moment or 0, type_of(key), repr(key_of(key)))

    return [Whole(session, tuple(sorted(events, key=place))) for session, events in groups]


def instant_of(session: str, event: str) -> Callable[[Any, Any], bool]:
    """Whether a session, which keeps its dates in one way, holds an instant of events, in another.

    To the millisecond, or to the second where it holds no more.
    """

    def is_held(stored: Any, should: Any) -> bool:
        own, other = milliseconds(stored, session), milliseconds(should, event)
        step = 1000 if session == EPOCH_S and type_of(stored) in WHOLE else 1
        return own is not None and other is not None and own // step == other // step

    return is_held


def tried_dates(
    sessions: Sample, kind: str, timestamp: str, dates: str, bench: Bench
) -> list[tuple[str, Found]]:
    """The dates of sessions, with how each fares as the least or the greatest of the events'."""
    trial = Trial(kind, timestamp)
    return [
        (path, bench.held(trial, path, instant_of(kept, dates), is_empty_told=False))
        for path, kept in dated(sessions).items()
        if path != "_id"
    ]


def guess_timestamp(
    sessions: Sample, there: dict[str, str], groups: Sequence[tuple[Flat, list[Flat]]]
) -> Choice:
    """The date of an event that makes dates of sessions; else the one that is named for it."""
    best: list[tuple[float, float, str, Found]] = []
    for path, dates in there.items():
        bench = Bench(in_order(groups, path, dates), dates)
        tried = [
            it for kind in ("min", "max") for it in tried_dates(sessions, kind, path, dates, bench)
        ]
        for _, found in tried:
            if found.is_enough:
                best.append((found.share, fit("timestamp", path), path, found))
    if best:
        _, _, path, found = max(best, key=lambda it: it[:3])
        return Choice(path, found)
    named = best_named("timestamp", there)
    return Choice(named or next(iter(there), None) if len(there) <= 1 or named else None)


def guess_dates(
    sessions: Sample, there: dict[str, str], timestamp: str | None, bench: Bench
) -> tuple[Choice, Choice]:
    """The first and the last date of a session."""
    chosen: dict[str, Choice] = {}
    for role, kind in (("first_event_at", "min"), ("last_event_at", "max")):
        tried = tried_dates(sessions, kind, timestamp, there[timestamp], bench) if timestamp else []
        others = {it.path for it in chosen.values()}
        shown = [it for it in tried if it[1].is_enough and it[0] not in others]
        if shown:
            ranked = max(shown, key=lambda it: (it[1].share, fit(role, it[0])))
            chosen[role] = Choice(*ranked)
        else:
            left = [path for path in dated(sessions) if path not in others]
            path = best_named(role, left)
            chosen[role] = Choice(path, dict(tried).get(path or ""))
    return chosen["first_event_at"], chosen["last_event_at"]


def guess_count(sessions: Sample, link: Link, bench: Bench) -> Choice:
    """The number that counts the events of a session."""
    paths = [it for it in sessions.paths(*NUMBERS) if it not in (link.session, "_id")]
    paths = [path for path in paths if dates_of(sessions, path) is None]
    tried = {
        path: bench.held(Trial("count"), path, is_what_it_holds, is_empty_told=False)
        for path in paths
    }
    return best_of("event_count", tried)


def best_of(role: str, tried: dict[str, Found]) -> Choice:
    """What is shown to be it, the best named of those; else what is named for it."""
    shown = [path for path, found in tried.items() if found.is_enough]
    if shown:
        path = max(shown, key=lambda it: (tried[it].share, fit(role, it)))
        return Choice(path, tried[path])
    named = best_named(role, tried)
    return Choice(named, tried.get(named or ""))


def guess_pages(
    sessions: Sample, events: Sample, link: Link, bench: Bench
) -> tuple[Choice, Choice]:
    """The page of an event, and the pages of a session: its distinct ones, by what they are named.

    A list of other texts of the events is as good by what it holds.
    """
    lists = [path for path in sessions.paths("array") if are_texts(sessions.values(path))]
    texts = [path for path in events.paths("string") if path != link.event]
    shown = []
    for page in texts:
        for pages in lists:
            trial = Trial("distinct", page)
            found = bench.held(trial, pages, is_what_it_holds, is_empty_told=False)
            named = fit("page", page) + fit("pages", pages)
            if found.is_enough and named >= ALIKE:
                shown.append((named, found.share, page, pages, found))
    if shown:
        _, _, page, pages, found = max(shown, key=lambda it: it[:4])
        return Choice(page, found), Choice(pages, found)
    return Choice(best_named("page", texts)), Choice(best_named("pages", lists))


def are_texts(lists: Iterable[Any]) -> bool:
    return all(isinstance(it, list) and {type(one) for one in it} <= {str} for it in lists)


def guess_user(sessions: Sample, events: Sample, link: Link, bench: Bench) -> tuple[Choice, Choice]:
    """The user of an event and of its session: named for it both, best where one is the other."""
    ranked: list[tuple[bool, float, str, str, Found]] = []
    for of_event in events.paths(*USERS):
        for of_session in sessions.paths(*USERS):
            named = [fit("user_id", it) for it in (of_event, of_session)]
            is_id = of_event in (link.event, "_id") or of_session in (link.session, "_id")
            if is_id or min(named) < ALIKE:
                continue
            trial = Trial("single", of_event)
            found = bench.held(trial, of_session, is_what_it_holds, is_empty_told=False)
            ranked.append((found.is_enough, sum(named), of_event, of_session, found))
    if not ranked:
        return Choice(None), Choice(None)
    _, _, of_event, of_session, found = max(ranked, key=lambda it: it[:4])
    return Choice(of_event, found), Choice(of_session, found)


def made_at(document: Flat, dates: dict[str, str]) -> list[int]:
    """What is known of when a document was made and changed, in milliseconds."""
    key = document.get("_id")
    made = [int(key.generation_time.timestamp() * 1000)] if isinstance(key, ObjectId) else []
    known = [milliseconds(document.get(path), kind) for path, kind in dates.items()]
    return [*made, *(it for it in known if it is not None)]
