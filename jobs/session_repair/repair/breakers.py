"""Breakers: stop before the first write when the data look so wrong that a plan must be too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pymongo.collection import Collection

from session_repair.aggregates import Aggregate
from session_repair.dates import DATE_FIELDS, NUMBERS
from session_repair.errors import BreakerTripped, Refused
from session_repair.logs import notice
from session_repair.mongo.bson_bytes import elements
from session_repair.mongo.bson_types import IDS, type_expression
from session_repair.mongo.dates import BOUNDS, types_of_dates
from session_repair.mongo.declared import matches
from session_repair.mongo.names import is_in_any, names_like
from session_repair.mongo.spellings import scalar_in, shown_id, types_of_events
from session_repair.mongo.store import Store, raw
from session_repair.repair.changes import CHANGE_OF_VERB
from session_repair.repair.malformed import dates_like, dates_line, remedy, types_met
from session_repair.repair.report import Report
from session_repair.verbs import FIX

Document = dict[str, Any]

# What no ``--allow-absent`` lets through: without it nothing can be told of any session.
REQUIRED_OF_EVENTS = ("session_id", "timestamp", "page")
SOME_IDS = 1_000  # of sessions, of which one is asked for at least that events spell otherwise


def require_events(store: Store) -> None:
    """Raise BreakerTripped when there are no events.

    That is far more often a wrong name in the settings than the truth.
    """
    if not store.events.count_documents({}, limit=1):
        raise BreakerTripped(
            f"collection {store.settings.events!r} has no event at all. Nothing was written. "
            "If the events were archived there is nothing to rebuild from."
        )


def require_fields(store: Store, verb: str) -> None:
    """Raise BreakerTripped when a field of the settings stands in no document of its collection.

    That, too, is far more often a wrong name than the truth; ``--allow-absent`` says that it is
    the truth, and Refused is raised where that names no field. Of an empty collection nothing can
    be told.
    """
    settings = store.settings
    of_aggregates = read_paths(settings.aggregates)
    known = {
        *settings.written_fields.values(),
        *settings.event_fields.values(),
        *of_aggregates.values(),
    }
    for name in settings.allow_absent:
        if name not in known:
            raise Refused(
                f"--allow-absent {name} names no field of the settings; "
                f"those are {', '.join(sorted(known))}."
            )
    of_sessions = CHANGE_OF_VERB.get(verb, CHANGE_OF_VERB[FIX]).required
    complaints, tables, passes = [], [], []
    for one, collection, paths, required in (
        ("session", store.sessions, settings.written_fields, of_sessions),
        ("event", store.events, {**settings.event_fields, **of_aggregates}, REQUIRED_OF_EVENTS),
    ):
        absent = absent_fields(store, collection, paths, required)
        if absent:
            names = [told(collection, path, paths) for path in absent.values()]
            complaints.append(
                f"no {one} of {collection.name!r} has the field {', nor '.join(names)}"
            )
            tables.append(f"[fields.{one}s]")
        passes += [f" --allow-absent {absent[field]}" for field in absent if field not in required]
    if complaints:
        may_pass = f", or pass{''.join(passes)} where there is none yet" if passes else ""
        raise BreakerTripped(
            f"{'; '.join(complaints)}. Nothing was written. "
            f"Name the right one under {' and '.join(tables)} in the config file{may_pass}."
        )


def read_paths(aggregates: Iterable[Aggregate]) -> dict[str, str]:
    """What declared aggregates read of events beside the basics, each path under one name."""
    read = {path for it in aggregates for path in (it.of, *it.where) if path}
    return {f"aggregates: {path}": path for path in sorted(read)}


def require_matches(store: Store) -> None:
    """Raise BreakerTripped where no event at all is one that a declared aggregate is of.

    Far more often than the truth that is a wrong value, and all sessions would be emptied of it.
    One value in a list may well be yet to come: it is told.
    """
    for it in store.settings.aggregates:
        if it.path in store.settings.allow_absent or not it.where:
            continue
        if not is_of_any(store, it.where):
            raise BreakerTripped(
                f"no event of {store.events.name!r} is one that the aggregate {it.path} is of: "
                f"where {told_where(it.where)}. Nothing was written. Mend where under "
                f"[[aggregates]] in the config file, or pass --allow-absent {it.path} where there "
                "is none yet."
            )
        for path, values in it.where.items():
            for one in ({path: (value,)} for value in values if len(values) > 1):
                if not is_of_any(store, one):
                    events = f"No event of {store.events.name!r} is yet one"
                    notice(f"{events} where {told_where(one)}, for the aggregate {it.path}")


Where = Mapping[str, tuple[Any, ...]]


def is_of_any(store: Store, where: Where) -> bool:
    """Whether there is such an event: by an index, if there is one, then as the read sees it."""
    found = {path: {"$in": list(values)} for path, values in where.items()}
    return store.events.find_one({**found, "$expr": matches(where, "")}, ["_id"]) is not None


def told_where(where: Where) -> str:
    return " and ".join(
        f"{path} is {' or '.join(map(repr, values))}" for path, values in where.items()
    )


def told(collection: Collection[Document], path: str, paths: Mapping[str, str]) -> str:
    """The path that no document of a collection has, and the names there that look like it."""
    names = names_like(collection, path, paths.values())
    return f"{path!r} (alike: {', '.join(map(repr, names))})" if names else repr(path)


def absent_fields(
    store: Store,
    collection: Collection[Document],
    paths: Mapping[str, str],
    required: tuple[str, ...],
) -> dict[str, str]:
    """The fields that no document of a collection has, and the names they should have there."""
    if not is_in_any(collection, "_id"):
        return {}
    asked = {
        field: path
        for field, path in paths.items()
        if field in required or path not in store.settings.allow_absent
    }
    return {it: path for it, path in asked.items() if not is_in_any(collection, path)}


def require_few_malformed(report: Report) -> None:
    """Raise BreakerTripped when so much is malformed that a plan would be made of the rest."""
    if report.malformed_beyond:
        met = types_met(report)
        raise BreakerTripped(
            f"{report.malformed_beyond}{met and f' ({met})'}. Nothing was written. {remedy(report)}"
        )


def require_ids_alike(store: Store, of_sessions: str, of_events: str) -> None:
    """Raise BreakerTripped when the two collections have no kind of id in common.

    Then no event can belong to a session, and every empty session looks like an orphan: far more
    often one of the fields is a wrong one, unless events spell the ids of sessions in their type.
    Given are the types that most ids have.
    """
    alike = [types_alike(of_sessions), types_alike(of_events)]
    ours, theirs = (
        (store.sessions, store.path("session_id")),
        (store.events, store.settings.event_fields["session_id"]),
    )
    if alike[0] == alike[1] or is_any(*ours, alike[1]) or is_any(*theirs, alike[0]):
        return
    if not is_any(*theirs, alike[1]):
        return
    some = some_ids(*ours, alike[0])
    if some and not types_of_events(*theirs, some, None):
        raise BreakerTripped(
            f"the sessions of {store.sessions.name!r} have {of_sessions} in {ours[1]!r}, the "
            f"events of {store.events.name!r} {of_events} in {theirs[1]!r}, and none has what "
            "the others have: no event can belong to a session. Nothing was written. Name other "
            "fields under [fields.sessions] or [fields.events] in the config file, or convert one "
            "of both."
        )


def types_alike(kind: str) -> list[str]:
    """The BSON types of ids that may be equal to one of this type."""
    return list(NUMBERS) if kind in NUMBERS else [kind]


def some_ids(collection: Collection[Document], path: str, kinds: list[str]) -> dict[str, Any]:
    """Some of the ids of these types, each with a name."""
    found: list[Document] = [
        {"$match": {path: {"$type": kinds}}},
        {"$limit": SOME_IDS},
        {"$project": {"_id": 0, "v": f"${path}"}},
    ]
    held = (scalar_in(next(elements(it.raw))) for it in raw(collection).aggregate(found))
    return {shown_id(value): value for value in held if value is not None}


def is_any(collection: Collection[Document], path: str, kinds: list[str]) -> bool:
    return collection.find_one({path: {"$type": kinds}}, ["_id"]) is not None


def require_types(store: Store, fields: Iterable[str]) -> None:
    """Raise BreakerTripped when a field of the events, by which they are looked up, is malformed.

    In all of them: then no look-up finds one. The fields have an index, which tells at once.
    """
    for field in fields:
        path, dates = store.settings.event_fields[field], store.settings.event_dates
        kinds, bounds, wanted = list(IDS), {}, "an id"
        if field in DATE_FIELDS:
            kinds = list(types_of_dates(dates))
            bounds = dict(zip(("$gte", "$lte"), BOUNDS[dates], strict=True))
            wanted = f"a {' or '.join(kinds)}"
        some = store.events.find_one({path: {"$exists": True, "$ne": None}}, ["_id"])
        if some is None or store.events.find_one({path: {"$type": kinds, **bounds}}, ["_id"]):
            continue
        kind = {"$project": {"kind": type_expression(field, path, dates)}}
        [told] = store.events.aggregate([{"$match": {"_id": some["_id"]}}, kind])
        taken = dates_like(told["kind"]) if field in DATE_FIELDS else ""
        others = dates_line(taken, "events") if taken else "Other types are not supported yet"
        raise BreakerTripped(
            f"no event of {store.events.name!r} has {wanted} in {path!r}, but one "
            f"{told['kind']}: nothing can be found by it. Nothing was written. "
            f"Name another field under [fields.events] in the config file. {others}."
        )
