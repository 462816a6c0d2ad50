"""A session of a million events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pymongo.database import Database

from tests.harness.commands import Command
from tests.harness.documents import Document, decoded, stored_bytes
from tests.harness.shop import ANN, MORNING, Shop, made_at, minute

MB = 1024 * 1024


def test_a_session_of_a_million_events_and_one_that_no_document_can_hold(
    db: Database[Document], command: Command
) -> None:
    shop = Shop(db)
    busy, wide = shop.session("busy"), shop.session("wide")
    own = ["x" * (6 * MB)]
    large = shop.session("large", event_count=1, pages=own)
    shop.events("large", {0: own[0], 1: "y" * (3 * MB)})
    too_large = shop.session("too large", event_count=1, pages=own)
    shop.events("too large", {0: own[0], 1: "z" * (4 * MB)})
    insert_events(db, 10**6, 10**7, lambda n: {"session_id": "busy", "page": f"/{n % 7}"})
    insert_events(
        db, 300_000, 2 * 10**7, lambda n: {"session_id": "wide", "page": f"/product/{n:048}"}
    )
    before = stored_bytes(db)

    ended = command("fix", "--database", db.name, "--scope", "all", "--apply")
    assert (ended.code, ended.complaints) == (0, "")
    after = stored_bytes(db)
    assert after[wide["_id"]] == before[wide["_id"]]
    # Its pages as they were and as they should be do not fit into one row of the journal.
    assert after[too_large["_id"]] == before[too_large["_id"]]
    assert decoded(after[large["_id"]]) == {
        **large,
        "event_count": 2,
        "pages": [*own, "y" * (3 * MB)],
        "last_event_at": minute(1),
    }
    assert db["sessions"].find_one({"_id": busy["_id"]}) == {
        **busy,
        "event_count": 10**6,
        "pages": [f"/{n}" for n in range(7)],
        "last_event_at": MORNING + timedelta(milliseconds=10**6 - 1),
    }
    told = command("verify", "--database", db.name, "--scope", "all").out
    sizes = f"over 16 MB: rebuilt pages of {300_000 * (9 + 48 + 16)} bytes"
    assert f"     malformed  wide  {sizes}\n" in told
    assert "     pages_missing  too large  " in told
    assert "     pages_missing  large  " not in told


def insert_events(db: Database[Document], number: int, first: int, fields: Any) -> None:
    """Events of Ann's a millisecond apart."""
    for begin in range(0, number, 50_000):
        db["events"].insert_many(
            [
                {
                    "_id": made_at(MORNING, first + n),
                    "timestamp": MORNING + timedelta(milliseconds=n),
                    "user_id": ANN,
                    **fields(n),
                }
                for n in range(begin, min(begin + 50_000, number))
            ],
            ordered=False,
        )
