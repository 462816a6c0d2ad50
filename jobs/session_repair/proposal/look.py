"""Look: the documents that a proposal is made from. It reads some hundreds, and writes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.errors import ExecutionTimeout

from session_repair.dates import KEPT_DATES
from session_repair.errors import Refused
from session_repair.mongo.bson_types import UNREADABLE, readable
from session_repair.mongo.connection import server_time
from session_repair.mongo.ends import documents_at_both_ends
from session_repair.mongo.indexes import can_look_up, create_index_line
from session_repair.mongo.names import ALIKE, names_there
from session_repair.mongo.store import Store, raw
from session_repair.proposal.dating import dated, dates_of
from session_repair.proposal.declared import declared
from session_repair.proposal.guess import Fields, Link, guess, links, made_at
from session_repair.proposal.naming import OF_EVENTS, OF_SESSIONS, fit_of_collection
from session_repair.proposal.toml import Proposal
from session_repair.proposal.values import Flat, Sample, flat, key_of
from session_repair.wording import number_of

Document = dict[str, Any]

LOOKED_AT = 200  # documents at each end of the _id index
SESSIONS = 50  # whole ones, on which aggregates are tried
MOST_EVENTS = 200  # of such a session; one of more is left out
MOST_PAIRS = 3  # collections of each side that are looked at
MOST_OF_SCAN = 20_000  # events of all of them, where no index finds them
PATIENCE_MS = 10_000  # of such a scan


def propose(store: Store, number: int) -> Proposal:
    """The proposal for the database, with so many whole sessions tried. Raises Refused."""
    sessions, events, link = collections_of(store)
    groups = whole_sessions(store, sessions, events, link, number)
    fields, bench = guess(sessions, events, link, groups)
    found = declared(sessions, fields, bench)
    looked_at = ", ".join(
        f"{len(it.documents)} documents of {it.collection}" for it in (sessions, events)
    )
    return Proposal(
        database=store.database.name,
        sessions=sessions.collection,
        events=events.collection,
        fields=fields,
        declared=found,
        looked_at=f"{looked_at} and {number_of(len(groups), 'whole session')}",
        remarks=[*remarks(store, sessions, events, link, len(groups)), *of_dates(sessions, fields)],
    )


def remarks(
    store: Store, sessions: Sample, events: Sample, link: Link, groups: int
) -> Iterator[str]:
    """What the reader has to know beside it."""
    if not link.shared:
        ids = f"{link.session} of {sessions.collection}", f"{link.event} of {events.collection}"
        yield f"No value of {ids[0]} was met in {ids[1]}: they are paired by their names."
    if not groups:
        yield f"No session at rest with events, {MOST_EVENTS} at most, was found: all is by names."
    for sample, path in ((events, link.event), (sessions, link.session)):
        if path not in sample.indexed:
            line = create_index_line(store.database[sample.collection], path)
            yield f"Without an index on {path} each run reads all of {sample.collection}: {line}"


def of_dates(sessions: Sample, fields: Fields) -> Iterator[str]:
    """That the two dates of sessions are not kept alike, where that is so."""
    kept = {
        path: dates_of(sessions, path) for it in KEPT_DATES if (path := fields.sessions[it].path)
    }
    if len({*kept.values()} - {None}) > 1:
        told = ", ".join(f"{path} as {dates}" for path, dates in kept.items())
        yield f"Dates of sessions are kept in two ways, and only one can be read: {told}."


def collections_of(store: Store) -> tuple[Sample, Sample, Link]:
    """Some documents of the two collections, and what links them.

    Those of the settings where they are there; else those that are named alike and share ids.
    """
    listed = store.database.list_collections(filter={"type": "collection"})
    own = {store.settings.journal, store.settings.runs}
    names = [it["name"] for it in listed if not it["name"].startswith("system.")]
    names = sorted(name for name in names if name not in own)
    pairs = pairs_of(names, store.settings.sessions, store.settings.events)
    samples: dict[str, Sample] = {}
    best: tuple[tuple[bool, int], tuple[Sample, Sample, Link]] | None = None
    for place, pair in enumerate(pairs):
        for name in pair:
            if name not in samples:
                samples[name] = sample_of(store.database[name])
        sessions, events = (samples[name] for name in pair)
        for link in links(sessions, events)[:1]:
            rank = (link.shared > 0, -place)
            if best is None or rank > best[0]:
                best = rank, (sessions, events, link)
    if best is None:
        there = names_there(store.database, store.settings.sessions)
        raise Refused(
            f"no two collections of {store.database.name!r} look like sessions and their events. "
            f"{there}Name them under [collections] in a config file, and pass it with --config."
        )
    return best[1]


def pairs_of(names: Sequence[str], sessions: str, events: str) -> list[tuple[str, str]]:
    """Pairs of collections that may be sessions and events, the likeliest first."""
    if sessions in names and events in names:
        return [(sessions, events)]
    sides = []
    for known, own in ((OF_SESSIONS, sessions), (OF_EVENTS, events)):
        ranked = sorted(names, key=lambda it: (it != own, -fit_of_collection(it, known), it))
        sides.append([it for it in ranked if it == own or fit_of_collection(it, known) >= ALIKE])
    pairs = [
        (one, other)
        for one in sides[0][:MOST_PAIRS]
        for other in sides[1][:MOST_PAIRS]
        if one != other
    ]

    def fit(pair: tuple[str, str]) -> float:
        named = fit_of_collection(pair[0], OF_SESSIONS) + fit_of_collection(pair[1], OF_EVENTS)
        return named + 2 * ((pair[0] == sessions) + (pair[1] == events))

    return sorted(pairs, key=fit, reverse=True)


def sample_of(collection: Collection[Document]) -> Sample:
    """The oldest and the newest documents, those that Python can read."""
    ends = {bytes(it.raw): None for it in documents_at_both_ends(collection, LOOKED_AT)}
    indexes = collection.list_indexes()
    paths = {next(iter(it["key"])) for it in indexes}
    served = {path for path in paths if can_look_up(collection, path)}
    return Sample(collection.name, tuple(flats(ends)), frozenset({"_id", *served}))


def flats(documents: Iterable[bytes]) -> Iterator[Flat]:
    for it in documents:
        found = readable(RawBSONDocument(it))
        if found != UNREADABLE:
            yield flat(found)


def whole_sessions(
    store: Store, sessions: Sample, events: Sample, link: Link, number: int
) -> list[tuple[Flat, list[Flat]]]:
    """So many of the sessions at rest that have events, each with all of them.

    The newest and the oldest, in turn: those in between are like them.
    """
    known = [it for it in sessions.documents if it.get(link.session) is not None]
    turn = [it for pair in zip(known, reversed(known), strict=True) for it in pair]
    rest = Rest(store, sessions, events)
    once = {key_of(it[link.session]): it for it in turn}
    groups: list[tuple[Flat, list[Flat]]] = []
    for session, found in with_events(store, events, link, list(once.values()), 2 * number):
        if found and rest.is_at_rest(session, found):
            groups.append((session, found))
        if len(groups) == number:
            break
    return groups


def with_events(
    store: Store, events: Sample, link: Link, sessions: Sequence[Flat], most: int
) -> Iterator[tuple[Flat, list[Flat]]]:
    """The sessions that have not too many events, with these.

    By an index each for itself; without one some together, by one scan, if that takes not too long.
    """
    collection = store.database[events.collection]
    if link.event in events.indexed:
        for session in sessions:
            wanted = {link.event: session[link.session]}
            found = list(raw(collection).find(wanted).limit(MOST_EVENTS + 1))
            if len(found) <= MOST_EVENTS:
                yield session, [*flats(it.raw for it in found)]
        return
    some = sessions[:most]
    wanted = {link.event: {"$in": [it[link.session] for it in some]}}
    scan = raw(collection).find(wanted).limit(MOST_OF_SCAN).max_time_ms(PATIENCE_MS)
    try:
        found = [*flats(it.raw for it in scan)]
    except ExecutionTimeout:
        return
    if len(found) == MOST_OF_SCAN:  # some of a session may be among the rest
        return
    groups = defaultdict(list)
    for event in found:
        groups[key_of(event.get(link.event))].append(event)
    yield from ((it, groups[key_of(it[link.session])]) for it in some)


class Rest:
    """What is at rest, by the server's clock and ``--settle``: else its events may not be all."""

    def __init__(self, store: Store, sessions: Sample, events: Sample) -> None:
        before = server_time(store) - store.settings.settle
        self.before = int(before.timestamp() * 1000)
        self.dates = dated(sessions), dated(events)

    def is_at_rest(self, session: Flat, events: Sequence[Flat]) -> bool:
        instants = made_at(session, self.dates[0])
        for event in events:
            instants += made_at(event, self.dates[1])
        return all(instant < self.before for instant in instants)
