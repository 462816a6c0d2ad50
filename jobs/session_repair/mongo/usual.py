"""Usual: the BSON types that nearly all documents of a collection have in our fields.

What has just these is read the quick way. A wrong guess costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from session_repair.mongo.bson_types import USUAL_EVENT_TYPES, USUAL_SESSION_TYPES
from session_repair.mongo.store import Store


def usual_of_sessions(store: Store) -> Mapping[str, tuple[str, ...]]:
    """By field, the usual types of the sessions; by the first of them the field is told."""
    return USUAL_SESSION_TYPES


def usual_of_events(store: Store) -> Mapping[str, tuple[str, ...]]:
    """The same of the events."""
    return USUAL_EVENT_TYPES
