"""Usual: the BSON types that nearly all documents of a collection have in our fields.

What has just these is read the quick way. A wrong guess costs time and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pymongo.collection import Collection

from session_repair.dates import DATE, DATE_FIELDS, NUMBERS
from session_repair.mongo.bson_types import IDS, INEXACT, USUAL_EVENT_TYPES, USUAL_SESSION_TYPES
from session_repair.mongo.ends import WAYS, types_at_both_ends
from session_repair.mongo.indexes import can_look_up
from session_repair.mongo.store import Store
from session_repair.rules.usual_types import ENVELOPED, plain_kind

Document = dict[str, Any]

FEW_IDS = 100  # documents, the first that there are
LOOKED_AT = 100  # documents at each end of the _id index
OF_NONE = "long"  # of dates of which there is none yet; no driver takes it for anything else


def usual_of_sessions(store: Store) -> Mapping[str, tuple[str, ...]]:
    """By field that is kept, the usual types of the sessions; by the first of them it is told.

    Of a date that none has it is that of another one: of the session, then of the events.
    """
    settings = store.settings
    usual = of_kept(USUAL_SESSION_TYPES, settings.session_fields)
    usual = {**usual, "session_id": usual_ids(store.sessions, store.path("session_id"))}
    if settings.session_dates == DATE:
        return usual
    there = usual_numbers(store.sessions, settings.session_fields)
    if not there and settings.event_dates == settings.session_dates:
        there = usual_numbers(store.events, settings.event_fields)
    return with_numbers(usual, there)


def usual_of_events(store: Store) -> Mapping[str, tuple[str, ...]]:
    """The same of the events."""
    paths = store.settings.event_fields
    usual = of_kept(USUAL_EVENT_TYPES, paths)
    usual = {**usual, "session_id": usual_ids(store.events, paths["session_id"])}
    if store.settings.event_dates == DATE:
        return usual
    return with_numbers(usual, usual_numbers(store.events, paths))


def of_kept(
    usual: Mapping[str, tuple[str, ...]], paths: Mapping[str, str]
) -> Mapping[str, tuple[str, ...]]:
    return {field: types for field, types in usual.items() if field in paths}


def with_numbers(
    usual: Mapping[str, tuple[str, ...]], there: Mapping[str, str]
) -> Mapping[str, tuple[str, ...]]:
    """These types, those of dates being the ones that are there."""
    other = next(iter(there.values()), OF_NONE)
    return {**usual, **{it: (there.get(it, other),) for it in usual if it in DATE_FIELDS}}


def usual_numbers(collection: Collection, paths: Mapping[str, str]) -> dict[str, str]:
    """By date, the type that most numbers in some documents have; without those that have none."""
    dates = {field: path for field, path in paths.items() if field in DATE_FIELDS}
    counts: dict[str, Counter[str]] = {field: Counter() for field in dates}
    types: dict[str, Any] = {
        "_id": 0,
        **{field: {"$type": f"${path}"} for field, path in dates.items()},
    }
    for way in WAYS:
        ends: list[dict[str, Any]] = [
            {"$sort": {"_id": way}},
            {"$limit": LOOKED_AT},
            {"$project": types},
        ]
        for document in collection.aggregate(ends) if dates else ():
            for field, kind in document.items():
                if kind in NUMBERS:
                    counts[field][kind] += 1
    return {field: max(count, key=count.__getitem__) for field, count in counts.items() if count}


def usual_ids(collection: Collection[Document], path: str) -> tuple[str]:
    """The type of nearly all session ids: of those at both ends of their index, else of some.

    Of a double or a decimal it has to be asked each time whether it is an id: none is taken for a
    usual one, but long in its place, whose key it has.
    """
    found = [*types_of_ids(collection, path)]
    if len(found) != 1:
        groups: list[Document] = [
            {"$limit": FEW_IDS},
            {"$group": {"_id": {"$type": f"${path}"}, "documents": {"$sum": 1}}},
            {"$sort": {"documents": -1, "_id": -1}},
        ]
        found = [it["_id"] for it in collection.aggregate(groups)]
    known = ["long" if kind in INEXACT else kind for kind in found if kind in IDS]
    return (known[0] if known else "string",)


def are_all_plain(store: Store) -> bool:
    """Whether all events are known to have ids of one kind, which has one spelling of each."""
    kinds = types_of_ids(store.events, store.settings.event_fields["session_id"])
    return bool(kinds) and not kinds & {*ENVELOPED} and len(set(map(plain_kind, kinds))) == 1


def types_of_ids(collection: Collection[Document], path: str) -> frozenset[str]:
    """The types of the least and the greatest session id; none without an index.

    Numbers of several types are sorted by value, so of those it may be one all the same.
    """
    if not can_look_up(collection, path):
        return frozenset()
    return types_at_both_ends(collection, path, {path: {"$type": list(IDS)}})
