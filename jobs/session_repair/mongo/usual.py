"""Usual: the BSON types that nearly all documents of a collection have in our fields.

What has just these is read the quick way. A wrong guess costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from session_repair.mongo.bson_types import USUAL_EVENT_TYPES, USUAL_SESSION_TYPES
from session_repair.mongo.store import Store


def usual_of_sessions(store: Store) -> Mapping[str, tuple[str, ...]]:
    """By field that is kept, the usual types of the sessions; by the first of them it is told."""
    return of_kept(USUAL_SESSION_TYPES, store.settings.session_fields)


def usual_of_events(store: Store) -> Mapping[str, tuple[str, ...]]:
    """The same of the events."""
    return of_kept(USUAL_EVENT_TYPES, store.settings.event_fields)


def of_kept(
    usual: Mapping[str, tuple[str, ...]], paths: Mapping[str, str]
) -> Mapping[str, tuple[str, ...]]:
    return {field: types for field, types in usual.items() if field in paths}
