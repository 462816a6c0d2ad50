"""Window: the sessions with activity in a span of time, found by the server's own indexes.

A session is active where one of its events is dated or was made in the window, where its stored
last event is dated in it, or where its document was made in it. When a document was made, its
ObjectId tells: so an event that arrives late, with a timestamp of before, is found too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo.collection import Collection

from session_repair.errors import Refused
from session_repair.mongo.bson_types import EVENT_TYPES, SESSION_TYPES
from session_repair.mongo.dates import dated
from session_repair.mongo.ids import is_looked_up, odd_ids
from session_repair.mongo.indexes import can_look_up, create_index_line
from session_repair.mongo.store import Store
from session_repair.settings import Settings

Document = dict[str, Any]

MOST_SECONDS = 2**32 - 1  # since 1970, as an ObjectId holds them


@dataclass(frozen=True)
class ActiveWindow:
    """From ``since`` on, to before ``until``."""

    since: datetime
    until: datetime

    def __str__(self) -> str:
        return f"{instant_text(self.since)} until {instant_text(self.until)}"

    def sessions(self, settings: Settings) -> Document:
        """The filter of the session documents that say themselves that they are active."""
        path = settings.session_fields.get("last_event_at")
        return self.active(path, settings.session_dates)

    def events(self, settings: Settings) -> Document:
        """The filter of the events that make their session active."""
        return self.active(settings.event_fields["timestamp"], settings.event_dates)

    def active(self, path: str | None, dates: str) -> Document:
        """The filter of what was made in the window, or has a date of it at the path, if any."""
        first, end = (object_id_at(it) for it in (self.since, self.until))
        made = {"_id": {"$gte": first, "$lt": end}}
        if path is None:
            return made
        return {"$or": [dated(path, self.since, self.until, dates), made]}

    def session_ids(self, settings: Settings) -> list[Document]:
        """Stages after the filter of the sessions: each active session_id once, as ``_id``.

        Those that can be looked up; ``count_odd_active`` tells of others.
        """
        of_session, of_event = (
            {"$project": {"_id": 0, "session_id": f"${paths['session_id']}"}}
            for paths in (settings.session_fields, settings.event_fields)
        )
        events = {
            "coll": settings.events,
            "pipeline": [{"$match": self.events(settings)}, of_event],
        }
        return [
            of_session,
            {"$unionWith": events},
            {"$match": is_looked_up("session_id")},
            {"$group": {"_id": "$session_id"}},
        ]


def object_id_at(instant: datetime) -> ObjectId:
    """The least ObjectId of that second; the first or the last where none can be made then."""
    seconds = min(max(int(instant.timestamp()), 0), MOST_SECONDS)
    return ObjectId(seconds.to_bytes(4, "big") + bytes(8))


def instant_text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def count_active(store: Store, window: ActiveWindow) -> int:
    """How many session_ids are active in the window."""
    found = store.sessions.aggregate(
        [
            {"$match": window.sessions(store.settings)},
            *window.session_ids(store.settings),
            {"$count": "active"},
        ],
        allowDiskUse=True,
    )
    return sum(it["active"] for it in found)


def count_odd_active(store: Store, window: ActiveWindow) -> tuple[dict[str, int], dict[str, int]]:
    """By the wrong type of their session_id: the active sessions and events that it keeps away."""
    settings = store.settings
    counted = []
    for collection, active, path, types in (
        (store.sessions, window.sessions(settings), settings.session_fields, SESSION_TYPES),
        (store.events, window.events(settings), settings.event_fields, EVENT_TYPES),
    ):
        found = collection.aggregate([{"$match": active}, *odd_ids(path["session_id"])])
        odd = {it["_id"]: it["documents"] for it in found}
        counted.append({kind: n for kind, n in odd.items() if kind not in types["session_id"]})
    return counted[0], counted[1]


def require_indexes(store: Store) -> None:
    """Raise Refused where the server would have to read all there is to find what is active."""
    needed: list[tuple[Collection[Document], Mapping[str, str], tuple[str, ...]]] = [
        (store.events, store.settings.event_fields, ("timestamp", "session_id")),
        (store.sessions, store.settings.session_fields, ("last_event_at", "session_id")),
    ]
    missing = [
        (collection, paths[name])
        for collection, paths, names in needed
        for name in names
        if name in paths and not can_look_up(collection, paths[name])
    ]
    if missing:
        number = sum(it.estimated_document_count() for it in (store.sessions, store.events))
        lines = "; ".join(create_index_line(*it) for it in missing)
        raise Refused(
            f"--since finds what is active by indexes, and without {len(missing)} of them it would "
            f"read all {number} documents. Create them, or leave out --since: {lines}"
        )
