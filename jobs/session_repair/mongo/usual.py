"""Usual: the BSON types that nearly all documents of a collection have in our fields.

What has just these is read the quick way. A wrong guess costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.collection import Collection

from session_repair.mongo.bson_types import IDS, INEXACT, USUAL_EVENT_TYPES, USUAL_SESSION_TYPES
from session_repair.mongo.indexes import can_look_up
from session_repair.mongo.store import Store
from session_repair.rules.usual_types import ENVELOPED, plain_kind

Document = dict[str, Any]

FEW_IDS = 100  # documents, the first that there are


def usual_of_sessions(store: Store) -> Mapping[str, tuple[str, ...]]:
    """By field, the usual types of the sessions; by the first of them the field is told."""
    path = store.path("session_id")
    return {**USUAL_SESSION_TYPES, "session_id": usual_ids(store.sessions, path)}


def usual_of_events(store: Store) -> Mapping[str, tuple[str, ...]]:
    """The same of the events."""
    path = store.settings.event_fields["session_id"]
    return {**USUAL_EVENT_TYPES, "session_id": usual_ids(store.events, path)}


def usual_ids(collection: Collection[Document], path: str) -> tuple[str]:
    """The type of nearly all session ids: of those at both ends of their index, else of some.

    Of a double or a decimal it has to be asked each time whether it is an id: none is taken for a
    usual one, but long in its place, whose key it has.
    """
    found = types_at_both_ends(collection, path)
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
    kinds = types_at_both_ends(store.events, store.settings.event_fields["session_id"])
    return bool(kinds) and not set(kinds) & {*ENVELOPED} and len(set(map(plain_kind, kinds))) == 1


def types_at_both_ends(collection: Collection[Document], path: str) -> list[str]:
    """The types of the least and the greatest session id: one where all are of that type.

    MongoDB sorts by type first. None without an index. Numbers of several types are sorted by
    value, so of those it may be one all the same.
    """
    if not can_look_up(collection, path):
        return []
    some, project = {path: {"$type": list(IDS)}}, {"_id": 0, "type": {"$type": f"${path}"}}
    ends = [
        collection.aggregate(
            [{"$match": some}, {"$sort": {path: way}}, {"$limit": 1}, {"$project": project}]
        )
        for way in (1, -1)
    ]
    return sorted({document["type"] for end in ends for document in end})
