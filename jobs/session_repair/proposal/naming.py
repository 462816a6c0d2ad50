"""Naming: what fields and collections of these roles are called elsewhere. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from session_repair.mongo.names import ALIKE, likeness

OF_SESSIONS = ("sessions", "visits", "browsing")
OF_EVENTS = ("events", "hits", "clicks", "pageviews", "actions", "tracks", "activity")
OF_FIELDS = {
    "session_id": ("session_id", "session", "sid", "visit_id", "visit", "session_key"),
    "user_id": ("user_id", "user", "uid", "customer_id", "customer", "account_id", "member_id"),
    "event_count": ("event_count", "events", "count", "hits", "num_events", "total_events"),
    "first_event_at": ("first_event_at", "started_at", "start", "start_time", "first_seen"),
    "last_event_at": ("last_event_at", "ended_at", "end", "end_time", "last_seen", "last_active"),
    "pages": ("pages", "urls", "paths", "visited_pages", "page_list", "screens"),
    "timestamp": ("timestamp", "ts", "time", "at", "event_time", "occurred_at", "created_at"),
    "page": ("page", "url", "path", "page_url", "page_path", "screen", "location"),
}


def fit(role: str, path: str) -> float:
    """How well a path is named for the role; between 0 and 1."""
    return max(likeness(name, path) for name in OF_FIELDS[role])


def best_named(role: str, paths: Iterable[str]) -> str | None:
    """The path that is named best for the role; None where none is named for it."""
    ranked = sorted((-fit(role, path), path) for path in paths)
    return ranked[0][1] if ranked and -ranked[0][0] >= ALIKE else None


def fit_of_collection(name: str, known: Iterable[str]) -> float:
    """How well a collection is named, by its last word: session_events holds events."""
    words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name) or [name]
    return max(likeness(word, it) for word in (words[-1], name) for it in known) / 2 + max(
        likeness(words[-1], it) for it in known
    )
