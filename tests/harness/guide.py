"""The guide's shop, its documents with fields of other programs beside their own."""

from __future__ import annotations

from typing import Any

from bson import Binary, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, Regex, Timestamp

from demo.generate import generate
from tests.harness.commands import Command
from tests.harness.documents import Db, Document

SESSIONS, BROKEN, ORPHANS = 300, 83, 2  # what generate makes of so many


def fill(db: Db) -> None:
    """300 sessions: 83 broken ones, 2 orphans, 215 sound ones."""
    generate(db, SESSIONS)
    db["sessions"].update_many({}, [{"$replaceWith": {"$mergeObjects": ["$$ROOT", EXOTIC]}}])


def plan_shop(command: Command, db: Db) -> None:
    """The same, and a plan of the corrections that waits."""
    fill(db)
    assert command("fix", "--plan", on=db).code == 3


def literal(value: Any) -> Document:
    return {"$literal": value}


# Fields of other programs, of types that only BSON knows.
EXOTIC = {
    "zeta": literal({"b": Int64(1), "a": [Decimal128("1.10"), {"y": MaxKey(), "x": MinKey()}]}),
    "pattern": literal(Regex("^a.*b$", "im")),
    "clock": literal(Timestamp(7, 3)),
    "far": literal(DatetimeMS(300_000_000_000_000)),  # the year 11476
    "before": literal(DatetimeMS(-70_000_000_000_000)),  # the year -249
    "binary": literal(Binary(b"\x00\xff", 5)),
    "alpha": literal({"double": 1.0, "negative_zero": -0.0, "nothing": None, "long": Int64(3)}),
}
