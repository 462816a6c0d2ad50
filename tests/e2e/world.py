"""What the end-to-end tests see with: plain pymongo and Python, none of the code under test."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import bson
from bson import ObjectId
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

ROOT = Path(__file__).resolve().parents[2]
JOURNAL, RUNS = "session_repair_journal", "session_repair_runs"
MORNING = datetime(2025, 10, 20, 8, tzinfo=timezone.utc)
ANN, BOB = ObjectId("68d000000000000000000001"), ObjectId("68d000000000000000000002")

RUN_NAMED = re.compile(r"\A(Run r\d{8}-\d{6}-[0-9a-f]{6}\n)?(Strategy (scan|lookup): .*\n)*")

Document = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """A command that ended: its exit code, its report, its complaints."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> str:
        """stderr but for the lines that name the run, where it writes, and the way it reads."""
        return RUN_NAMED.sub("", self.err)

    def figure(self, label: str) -> int:
        """The number that stands behind the label in the report."""
        found = [line for line in self.out.splitlines() if line.strip().startswith(f"{label}: ")]
        assert len(found) == 1, f"{label!r} stands on {len(found)} lines of:\n{self.out}"
        return int(found[0].rpartition(": ")[2])


Command = Callable[..., Ended]  # command(VERB, *OPTIONS, uri=…)
Hook = Callable[[str, Mapping[str, Any]], None]  # of a database's name and a command to it


def rebuilt(db: Database[Document]) -> dict[str, Document]:
    """By session_id, what its events say of a session; nothing of a user they disagree on."""
    found: dict[str, list[Document]] = defaultdict(list)
    for event in db["events"].find():
        found[event["session_id"]].append(event)
    result = {}
    for session_id, events in found.items():
        events.sort(key=lambda event: (event["timestamp"], event["_id"]))
        users = {event["user_id"] for event in events}
        result[session_id] = {
            "event_count": len(events),
            "pages": list(dict.fromkeys(e["page"] for e in events if e.get("page") is not None)),
            "first_event_at": events[0]["timestamp"],
            "last_event_at": events[-1]["timestamp"],
            **({"user_id": users.pop()} if len(users) == 1 else {}),
        }
    return result


def stored_bytes(db: Database[Document], collection: str = "sessions") -> dict[Any, bytes]:
    """Every document as the server holds it, by its _id."""
    raw: Any = db.get_collection(collection, codec_options=CodecOptions(RawBSONDocument))
    return {document["_id"]: document.raw for document in raw.find()}


def decoded(raw: bytes) -> Document:
    options: CodecOptions[Document] = CodecOptions(tz_aware=True)
    return bson.decode(raw, options)


def fingerprint(db: Database[Document]) -> tuple[Any, Any]:
    """The hash of every collection, and the list of collections with their options."""
    hashes = db.command("dbHash")["collections"]
    listed = sorted(db.list_collections(), key=lambda collection: collection["name"])
    return hashes, listed


def data_of(db: Database[Document]) -> tuple[Any, Any]:
    """The fingerprint but for the history of runs, where a refused run may stand too."""
    hashes, listed = fingerprint(db)
    hashes.pop(RUNS, None)
    return hashes, [collection for collection in listed if collection["name"] != RUNS]


def made_at(moment: datetime, number: int) -> ObjectId:
    """An ObjectId that carries the moment."""
    return ObjectId(int(moment.timestamp()).to_bytes(4, "big") + number.to_bytes(8, "big"))


class Shop:
    """Fills a database by hand, one session and its events at a time."""

    def __init__(self, db: Database[Document], first_id: int = 0) -> None:
        self.db = db
        self._number = first_id

    def id_at(self, moment: datetime = MORNING) -> ObjectId:
        self._number += 1
        return made_at(moment, self._number)

    def session(self, session_id: str, **fields: Any) -> Document:
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

    def events(self, session_id: str, visits: Mapping[int, str | None], **fields: Any) -> None:
        """An event of Ann's for each minute after MORNING and its page."""
        for minute, page in visits.items():
            moment = MORNING + timedelta(minutes=minute)
            event = {
                "_id": self.id_at(moment),
                "session_id": session_id,
                "user_id": ANN,
                "timestamp": moment,
                **({} if page is None else {"page": page}),
                **fields,
            }
            self.db["events"].insert_one(event)


def minute(number: int) -> datetime:
    return MORNING + timedelta(minutes=number)
