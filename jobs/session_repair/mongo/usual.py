"""Usual: the BSON types that nearly all documents of a collection have in our fields.

What has just these is read the quick way. A wrong guess costs time and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pymongo
from pymongo.collection import Collection

from session_repair.dates import DATE, DATE_FIELDS, NUMBERS
from session_repair.mongo.bson_types import USUAL_EVENT_TYPES, USUAL_SESSION_TYPES
from session_repair.mongo.store import Store

LOOKED_AT = 100  # documents at each end of the _id index
OF_NONE = "long"  # of dates of which there is none yet; no driver takes it for anything else


def usual_of_sessions(store: Store) -> Mapping[str, tuple[str, ...]]:
    """By field that is kept, the usual types of the sessions; by the first of them it is told.

    Of a date that none has it is that of another one: of the session, then of the events.
    """
    settings = store.settings
    usual = of_kept(USUAL_SESSION_TYPES, settings.session_fields)
    if settings.session_dates == DATE:
        return usual
    there = usual_numbers(store.sessions, settings.session_fields)
    if not there and settings.event_dates == settings.session_dates:
        there = usual_numbers(store.events, settings.event_fields)
    return with_numbers(usual, there)


def usual_of_events(store: Store) -> Mapping[str, tuple[str, ...]]:
    """The same of the events."""
    usual = of_kept(USUAL_EVENT_TYPES, store.settings.event_fields)
    if store.settings.event_dates == DATE:
        return usual
    there = usual_numbers(store.events, store.settings.event_fields)
    return with_numbers(usual, there)


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
    for way in (pymongo.ASCENDING, pymongo.DESCENDING):
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
