"""What the rule of docs/in-flight.md sees of an ingest, what it cannot see, and what covers it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from bson import ObjectId

from tests.harness.commands import Command, reported
from tests.harness.documents import Db
from tests.harness.shop import Shop, made_at


def test_what_the_settle_window_sees_and_what_a_longer_one_covers(db: Db, command: Command) -> None:
    shop, now = Shop(db), datetime.now(timezone.utc)
    number = 1_000

    def broken(session_id: str, by_the_clock: timedelta, dated: timedelta, has_id: bool) -> None:
        """An old empty session whose one event was made now, as the ingest's clock shows it."""
        nonlocal number
        number += 1
        event_id = made_at(now + by_the_clock, number) if has_id else f"event {number}"
        shop.session(session_id)
        db["events"].insert_one(
            {
                "_id": event_id,
                "session_id": session_id,
                "user_id": ObjectId("68d000000000000000000001"),
                "timestamp": now + dated,
                "page": "/home",
            }
        )

    old, right, behind, ahead = (timedelta(minutes=it) for it in (-600, -1, -20, 3_000))
    broken("an event of now", right, right, True)
    broken("a late event, its date old", right, old, True)
    broken("an event of now without an ObjectId", right, right, False)
    broken("a clock behind", behind, behind, True)
    broken("waited in a queue", behind, behind, True)
    broken("a clock two days ahead", ahead, ahead, True)
    broken("a backfill without ObjectIds", right, old, False)
    seen = {
        "an event of now",
        "a late event, its date old",
        "an event of now without an ObjectId",
    }
    covered = {"a clock behind", "waited in a queue"}
    never = {"a clock two days ahead", "a backfill without ObjectIds"}

    def corrected(*options: str) -> tuple[set[str], int]:
        code, report = reported(command, "fix", *options, on=db)
        assert code == 3
        return {it["session_id"] for it in report["corrections"]}, report["totals"]["deferred"]

    assert corrected() == (covered | never, len(seen))
    assert corrected("--settle", "30m") == (never, len(seen | covered))
