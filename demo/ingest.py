"""The guide's ingest flow, with its bug on a switch: broken as it was, and mended."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

Document = dict[str, Any]

BACKOFF_SECONDS = (0.1, 0.5, 2.0)  # after each failed attempt; with_transaction adds its own

log = logging.getLogger(__name__)


class Ingest:
    """The service that writes both collections; one instance may serve many threads.

    With `is_broken` each event is stored and its session is not: the update is one that the
    server rejects, and the exception is swallowed.
    """

    def __init__(
        self,
        db: Database[Document],
        *,
        is_broken: bool = False,
        backoff: Sequence[float] = BACKOFF_SECONDS,
    ) -> None:
        self.sessions = db["sessions"]
        self.events = db["events"]
        self.is_broken = is_broken
        self._client = db.client
        self._backoff = backoff

    def ensure_browsing_session(
        self,
        sid: str,
        user_id: ObjectId,
        start_ts: datetime,
        client_id: str,
        traits: Mapping[str, Any] | None = None,
    ) -> None:
        """Creates the empty session unless it exists. Its `_id` is its `session_id`."""
        try:
            self.sessions.insert_one(new_session(sid, user_id, start_ts, client_id, traits))
        except DuplicateKeyError:
            log.debug("session %s exists", sid)

    def emit_event(
        self,
        user_id: ObjectId,
        sid: str,
        current_ts: datetime,
        page: str | None,
        event_type: str,
        props: Mapping[str, Any],
        client_id: str,
        event_id: ObjectId | None = None,
    ) -> Document:
        """The event as it was ingested. Without a page its document has no such field."""
        event = new_event(
            event_id or ObjectId(), user_id, sid, current_ts, page, event_type, props, client_id
        )
        self.ingest_event(event)
        return event

    def ingest_event(self, event: Document) -> None:
        """Stores the event and updates its session; broken, it does the first alone."""
        if self.is_broken:
            self._ingest_and_swallow(event)
        else:
            self._ingest_and_retry(event)

    def _ingest_and_swallow(self, event: Document) -> None:
        """The guide's root cause, as it stood in its ingest.py."""
        self.events.insert_one(event)
        try:  # noqa: SIM105 - the bug as the guide shows it
            self.sessions.find_one_and_update(
                {"session_id": event["session_id"]}, rejected_session_update(event)
            )
        except Exception:
            pass

    def _ingest_and_retry(self, event: Document) -> None:
        """Both writes or none; raises what the last attempt raised.

        The event's `_id` makes a repeated attempt harmless, even if the commit before it
        succeeded and only its answer was lost.
        """
        for pause in (*self._backoff, None):
            try:
                self._ingest_in_transaction(event)
                return
            except DuplicateKeyError:
                log.debug("event %s is stored already", event["_id"])
                return
            except PyMongoError as error:
                log.warning(
                    "[ingest] Warning: Failed to update session %s: %s",
                    event.get("session_id"),
                    error,
                )
                if pause is None:
                    raise
                time.sleep(pause)

    def _ingest_in_transaction(self, event: Document) -> None:
        def write(transaction: ClientSession) -> None:
            self.events.insert_one(event, session=transaction)
            updated = self.sessions.update_one(
                {"session_id": event["session_id"]},
                mended_session_update(event),
                session=transaction,
            )
            if updated.matched_count == 0:
                raise LookupError(f"no session {event['session_id']}: ensure it before its events")

        with self._client.start_session() as transaction:
            transaction.with_transaction(
                write,
                read_concern=ReadConcern("snapshot"),
                write_concern=WriteConcern("majority"),
            )


def new_session(
    sid: str,
    user_id: ObjectId,
    start_ts: datetime,
    client_id: str,
    traits: Mapping[str, Any] | None = None,
) -> Document:
    """The empty session, as `ensure_browsing_session` creates it; traits are other fields."""
    session: Document = {
        "_id": ObjectId(sid),
        "session_id": sid,
        "client_id": client_id,
        "event_count": 0,
        "first_event_at": start_ts,
        "last_event_at": start_ts,
        "pages": [],
        "user_id": user_id,
        "created_by": "ensure_browsing_session",
    }
    for name in traits or {}:
        if name in session:
            raise ValueError(f"{name} is no trait: the session has that field itself")
    return {**session, **(traits or {})}


def new_event(
    event_id: ObjectId,
    user_id: ObjectId,
    sid: str,
    current_ts: datetime,
    page: str | None,
    event_type: str,
    props: Mapping[str, Any],
    client_id: str,
) -> Document:
    """One event, as it is stored."""
    event: Document = {
        "_id": event_id,
        "session_id": sid,
        "client_id": client_id,
        "user_id": user_id,
        "timestamp": current_ts,
        "event_type": event_type,
        "properties": dict(props),
    }
    return event if page is None else {**event, "page": page}


def mended_session_update(event: Document) -> Document:
    """Pages stay distinct in the order they came; late events move the dates the right way."""
    update: Document = {
        "$inc": {"event_count": 1},
        "$min": {"first_event_at": event["timestamp"]},
        "$max": {"last_event_at": event["timestamp"]},
    }
    if "page" in event:
        update["$addToSet"] = {"pages": event["page"]}
    return update


def rejected_session_update(event: Document) -> Document:
    """The release that broke it: two operators on `last_event_at`, a conflict for the server."""
    return {**mended_session_update(event), "$set": {"last_event_at": event["timestamp"]}}
