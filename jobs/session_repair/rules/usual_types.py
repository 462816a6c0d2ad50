"""Usual: the BSON types that nearly all sessions have. What is not told of a type is this."""

from __future__ import annotations

# The types that nearly all documents have. What has just these is read without their names.
USUAL_TYPES = {
    "session_id": "string",
    "user_id": "objectId",
    "event_count": "int",
    "first_event_at": "date",
    "last_event_at": "date",
    "pages": "array",
}
