"""Why a deletion leaves a session alone: told of each, and only what goes is called deleted."""

from __future__ import annotations

from datetime import datetime, timezone

from bson import ObjectId

from tests.harness.commands import Command, reported
from tests.harness.documents import Db, Document, differing, stored_bytes
from tests.harness.shop import Shop

ALL = ("--max-delete", "100%")


def of_code(report: Document, code: str) -> Document:
    found: Document = next(it for it in report["symptoms"] if it["code"] == code)
    return found


def test_each_orphan_that_stays_is_told_with_its_reason(command: Command, db: Db) -> None:
    shop = Shop(db)
    shop.session("full", event_count=1, pages=["/a"])
    shop.events("full", {0: "/a"})
    shop.events(777, {0: "/a"})
    shop.session("777")
    shop.session("at work", last_event_at=datetime.now(timezone.utc))
    db["sessions"].insert_one({"_id": "ageless", "session_id": "ageless", "pages": []})
    db["sessions"].insert_one({"_id": shop.id_at(), "session_id": "bare"})
    for number in range(6):
        shop.session(f"young {number}", _id=ObjectId(), first_event_at=None, last_event_at=None)
    gone = shop.session("goes")["_id"]
    how = (*ALL, "--settle", "1h", "--max-malformed", "100%")
    before = stored_bytes(db)

    dry = command("delete-orphans", *how, on=db)
    named = command("delete-orphans", *how, "--session-id", "bare", "--session-id", "goes", on=db)
    code, report = reported(command, "delete-orphans", "--apply", *how, "--samples", "2", on=db)

    assert dry.out.split("nothing was written.\n")[1] == (
        "  goes\n"
        "Left alone, and what changes that:\n"
        "       1  orphan_session  has neither pages nor a count: they may have other names: "
        "right names\n"
        "       7  orphan_session  in flight, or it changed between two looks: a later run\n"
        "       1  orphan_session  younger than --min-age, or of no known age: "
        "a shorter --min-age\n"
    )
    assert "          orphan_session  bare\n" in named.out
    assert code == 0
    assert report["kept"] == [{"types": "int", "sessions": 1, "samples": ["777"]}]
    orphans = of_code(report, "orphan_session")
    assert orphans["left"] == {"bare": 1, "in_flight": 7, "young": 1}
    told = [(it["session_id"], it["why"]) for it in orphans["samples"] if it["why"] != "in_flight"]
    assert told == [("goes", None), ("bare", "bare"), ("ageless", "young")]
    assert len(orphans["samples"]) == len(told) + 2
    assert sum(orphans["left"].values()) + 1 + report["totals"]["planned"] == orphans["found"]
    assert differing(db, before) == [gone]


def test_each_copy_that_stays_is_told_with_its_reason(command: Command, db: Db) -> None:
    shop = Shop(db)
    shop.session("s", event_count=2, pages=["/a"])
    shop.events("s", {0: "/a", 1: "/a"})
    shop.session("s", event_count=1, pages=["/a"])
    gone = shop.session("s")["_id"]
    shop.session("s", last_event_at=datetime.now(timezone.utc))
    before = stored_bytes(db)
    code, report = reported(command, "delete-orphans", "--duplicates", "--apply", *ALL, on=db)
    copies = of_code(report, "duplicate_session")
    assert (code, copies["found"], report["totals"]["planned"]) == (0, 3, 1)
    assert copies["left"] == {"filled": 1, "in_flight": 1}
    assert differing(db, before) == [gone]
