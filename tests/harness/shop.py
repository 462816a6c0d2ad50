"""A shop made by hand: sessions and their events, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from bson import ObjectId

from tests.harness.documents import Db, Document

MORNING = datetime(2025, 10, 20, 8, tzinfo=timezone.utc)
ANN, BOB = ObjectId("68d000000000000000000001"), ObjectId("68d000000000000000000002")


def minute(number: int) -> datetime:
    return MORNING + timedelta(minutes=number)


def made_at(moment: datetime, number: int) -> ObjectId:
    """An ObjectId that carries the moment."""
    return ObjectId(int(moment.timestamp()).to_bytes(4, "big") + number.to_bytes(8, "big"))


class Shop:
    """Fills a database by hand, one session and its events at a time."""

    def __init__(self, db: Db, first_id: int = 0) -> None:
        self.db = db
        self._number = first_id

    def id_at(self, moment: datetime = MORNING) -> ObjectId:
        self._number += 1
        return made_at(moment, self._number)

    def session(self, session_id: Any, **fields: Any) -> Document:
        """An empty session of Ann's, as ingest creates it, but for the given fields."""
        document = {
            "_id": self.id_at(),
            "session_id": session_id,
            "event_count": 0,
            "first_event_at": MORNING,
            "last_event_at": MORNING,
            "pages": [],
            "user_id": ANN,
            **fields,
        }
        self.db["sessions"].insert_one(document)
        return document

    def events(self, session_id: Any, visits: Mapping[int, str | None], **fields: Any) -> None:
        """An event of Ann's for each minute after MORNING and its page."""
        for number, page in visits.items():
            moment = minute(number)
            event = {
                "_id": self.id_at(moment),
                "session_id": session_id,
                "user_id": ANN,
                "timestamp": moment,
                **({} if page is None else {"page": page}),
                **fields,
            }
            self.db["events"].insert_one(event)
