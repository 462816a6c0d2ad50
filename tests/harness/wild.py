"""Collections as they are met: other names and types, aggregates of their own. Made by chance."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from bson import Binary, Int64, ObjectId

from tests.harness.documents import Db, Document
from tests.harness.epochs import MS, S, at
from tests.harness.shop import made_at

FIRST = datetime(2025, 9, 1, tzinfo=timezone.utc)
SESSIONS = 80
DAYS = 20
BROKEN = 5  # each so many-th session is empty

Visit = list[Document]  # the events of a session, as plain Python: at, kind, page, amount


def visits(seed: int) -> list[Visit]:
    """What visitors did, in its order: of each session at least one event."""
    chance = random.Random(seed)
    made = []
    for _ in range(SESSIONS):
        moment = FIRST + timedelta(milliseconds=int(chance.random() * DAYS * 86_400_000))
        visit = []
        for _ in range(chance.randrange(1, 9)):
            kind = chance.choice(["view"] * 4 + ["click"] * 2 + ["purchase", "refund"])
            is_paid = kind in ("purchase", "refund")
            sign = -1 if kind == "refund" else 1
            visit.append(
                {
                    "at": moment,
                    "kind": kind,
                    "page": f"/{chance.choice('abcdefgh')}",
                    "amount": sign * chance.randrange(100, 9_000) / 100 if is_paid else None,
                }
            )
            moment += timedelta(milliseconds=chance.randrange(500, 90_000))
        made.append(visit)
    return made


def figures(visit: Visit) -> Document:
    """The five, and others that sessions keep."""
    paid = [it["amount"] for it in visit if it["amount"] is not None]
    return {
        "count": len(visit),
        "first": visit[0]["at"],
        "last": visit[-1]["at"],
        "pages": list(dict.fromkeys(it["page"] for it in visit)),
        "landing": visit[0]["page"],
        "exit": visit[-1]["page"],
        "purchases": sum(it["kind"] == "purchase" for it in visit),
        "clicks": sum(it["kind"] == "click" for it in visit),
        "revenue": sum(paid),
        "dearest": max(paid, default=None),
        "ms": (visit[-1]["at"] - visit[0]["at"]) // timedelta(milliseconds=1),
        "events": [it["_id"] for it in visit],
    }


@dataclass(frozen=True)
class Wild:
    """Two collections of these names, as they are met; to be put into a database."""

    names: tuple[str, str]
    seed: int
    event: Callable[[Any, Document, int], Document]
    session: Callable[[Any, Document | None, int], Document]  # of no figures an empty one
    key: Callable[[int], Any]

    def __call__(self, db: Db) -> list[Visit]:
        """Sessions by their ids, some of them empty: of those there are no figures. The visits."""
        every = self.visits()
        for nth, visit in enumerate(every):
            events = [self.event(self.key(nth), it, nth) for it in visit]
            db[self.names[1]].insert_many(events)
            known = None if nth % BROKEN == 0 else figures(visit)
            db[self.names[0]].insert_one(self.session(self.key(nth), known, nth))
        db[self.names[1]].create_index(next(iter(events[0])))
        return every

    def whole(self) -> dict[Any, Document]:
        """Every session as it should be, by its _id."""
        made = [
            self.session(self.key(nth), figures(visit), nth)
            for nth, visit in enumerate(self.visits())
        ]
        return {it["_id"]: it for it in made}

    def visits(self) -> list[Visit]:
        """What visitors did, each event with its _id."""
        found, number = visits(self.seed), 0
        for visit in found:
            for it in visit:
                number += 1
                it["_id"] = made_at(it["at"], number)
        return found


def user(nth: int) -> ObjectId:
    return ObjectId((nth % 20).to_bytes(12, "big"))


def of_references() -> Wild:
    """ObjectIds that refer to ``_id``, and milliseconds as JavaScript writes them."""

    def event(key: Any, it: Document, nth: int) -> Document:
        return {
            "visit": key,
            "_id": it["_id"],
            "customerId": user(nth),
            "ts": at(it["at"], MS, "double"),
            "url": it["page"],
            "kind": it["kind"],
        }

    def session(key: Any, known: Document | None, nth: int) -> Document:
        dates = [at(known[it], MS, "double") if known else None for it in ("first", "last")]
        return {
            "_id": key,
            "customerId": user(nth),
            "startedAt": dates[0],
            "endedAt": dates[1],
            "hits": known["count"] if known else 0,
            "urls": known["pages"] if known else [],
            "clicks": known["clicks"] if known else 0,
            "device": f"device {nth % 3}",
        }

    return Wild(("visits", "hits"), 1, event, session, lambda nth: made_at(FIRST, nth))


references = of_references()


def of_nested() -> Wild:
    """UUIDs, statistics in a document of their own, seconds, and no users."""

    def event(key: Any, it: Document, nth: int) -> Document:
        return {
            "sessionId": key,
            "_id": it["_id"],
            "time": at(it["at"], S, "double"),
            "context": {"page": {"path": it["page"]}, "type": it["kind"]},
        }

    def session(key: Any, known: Document | None, nth: int) -> Document:
        stats: Document = {"count": 0, "pages": []}
        if known:
            stats = {
                "count": Int64(known["count"]),
                "pages": known["pages"],
                "first": at(known["first"], S, "int"),
                "last": at(known["last"], S, "int"),
                "landing": known["landing"],
                "exit": known["exit"],
                "duration": known["ms"] // 1000,
            }
        return {"_id": made_at(FIRST, 9_000 + nth), "uuid": key, "stats": stats}

    def key(nth: int) -> Binary:
        return Binary.from_uuid(uuid.UUID(int=2**100 + nth))

    return Wild(("user_sessions", "session_events"), 2, event, session, key)


nested = of_nested()


def of_a_shop() -> Wild:
    """A shop whose sessions count purchases and what they brought, and list their events."""

    def event(key: Any, it: Document, nth: int) -> Document:
        properties = {} if it["amount"] is None else {"amount": it["amount"]}
        return {
            "session_id": key,
            "_id": it["_id"],
            "user_id": user(nth),
            "timestamp": it["at"],
            "page": it["page"],
            "event_type": it["kind"],
            "properties": properties,
        }

    def session(key: Any, known: Document | None, nth: int) -> Document:
        document: Document = {
            "_id": made_at(FIRST, 9_000 + nth),
            "session_id": key,
            "user_id": user(nth),
            "event_count": 0,
            "pages": [],
            "first_event_at": FIRST,
            "last_event_at": FIRST,
        }
        if known:
            document |= {
                "event_count": known["count"],
                "pages": known["pages"],
                "first_event_at": known["first"],
                "last_event_at": known["last"],
                "purchases": known["purchases"],
                "revenue": known["revenue"],
                "events": known["events"],
            }
        return document

    return Wild(("sessions", "events"), 3, event, session, lambda nth: f"s{nth:04}")


shop = of_a_shop()


def of_numbers() -> Wild:
    """Numbers as ids, of another type on each side; no users; and what only a minority is of."""

    def event(key: Any, it: Document, nth: int) -> Document:
        return {
            "session_no": float(key),
            "_id": it["_id"],
            "at": it["at"],
            "path": it["page"],
            "campaign": f"c{nth % 7}",
            **({} if it["amount"] is None else {"amount": it["amount"]}),
        }

    def session(key: Any, known: Document | None, nth: int) -> Document:
        document: Document = {"_id": made_at(FIRST, 9_000 + nth), "no": key, "hits": 0, "paths": []}
        if known:
            document |= {
                "hits": known["count"],
                "paths": known["pages"],
                "began": known["first"],
                "ended": known["last"],
                "campaign": f"c{nth % 7}",
                "took_ms": known["ms"],
            }
            document |= {} if known["dearest"] is None else {"dearest": known["dearest"]}
        return document

    return Wild(("sessions", "events"), 4, event, session, lambda nth: 7_000_000_000 + nth)


numbers = of_numbers()
