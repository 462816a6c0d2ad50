"""Basics that a collection does not keep: neither asked for nor compared or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from tests.harness.commands import Command
from tests.harness.documents import RUNS, Db, Document, stored_bytes
from tests.harness.shop import made_at, minute

pytestmark = pytest.mark.needs("many_runs")

OF_ALL: Document = {
    "event_count": 2,
    "pages": ["/a", "/b"],
    "first_event_at": minute(1),
    "last_event_at": minute(2),
    "user_id": ObjectId(b"1" * 12),
}
EMPTY: Document = {"event_count": 0, "pages": []}
# What each collection keeps beside its ids, and what its config file says of that.
KEPT = {
    "no user, no dates": ("event_count", "pages"),
    "a count alone": ("event_count",),
    "pages alone": ("pages",),
    "no pages": ("event_count", "first_event_at", "last_event_at", "user_id"),
    "no last date": ("event_count", "pages", "first_event_at", "user_id"),
}


def fill(db: Db, kept: tuple[str, ...]) -> dict[str, ObjectId]:
    """Sessions that are empty, right, wrong, orphans and copies; and the events of some."""
    ids, number = {}, 0
    wrong = {"event_count": 1, "pages": ["/a"], "first_event_at": minute(2), "user_id": None}
    for name, fields in {
        "empty": EMPTY,
        "right": OF_ALL,
        "wrong": {**OF_ALL, **wrong},
        "orphan": EMPTY,
    }.items():
        number += 1
        ids[name] = made_at(minute(0), number)
        own = {field: value for field, value in {**OF_ALL, **fields}.items() if field in kept}
        db["sessions"].insert_one({"_id": ids[name], "session_id": name, **own})
        for at, page in ((1, "/a"), (2, "/b")) if name != "orphan" else ():
            number += 1
            event = {
                "_id": made_at(minute(at), number),
                "session_id": name,
                "timestamp": minute(at),
            }
            event |= {"page": page} if "pages" in kept else {}
            event |= {"user_id": OF_ALL["user_id"]} if "user_id" in kept else {}
            db["events"].insert_one(event)
    for collection in ("sessions", "events"):
        db[collection].create_index("session_id")
    return ids


def config(tmp_path: Path, kept: tuple[str, ...]) -> tuple[str, str]:
    path = tmp_path / "kept.toml"
    unkept = "\n".join(f"{name} = false" for name in OF_ALL if name not in kept)
    path.write_text(f"[fields.sessions]\n{unkept}\n")
    return "--config", str(path)


def held(db: Db, key: ObjectId) -> dict[str, Any]:
    found = db["sessions"].find_one({"_id": key}, {"_id": 0, "session_id": 0})
    assert found is not None
    return found


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT)
def test_only_what_is_kept_is_repaired(
    db: Db, command: Command, tmp_path: Path, kept: tuple[str, ...]
) -> None:
    ids, before, file = fill(db, kept), stored_bytes(db), config(tmp_path, kept)
    right = {name: value for name, value in OF_ALL.items() if name in kept}
    whole = command("fix", "--apply", "--scope", "all", "--settle", "0s", *file, on=db)
    assert whole.code == 0, whole.told
    after = stored_bytes(db)
    assert {key for key in after if after[key] != before[key]} == {ids["empty"], ids["wrong"]}
    assert [held(db, ids[name]) for name in ("empty", "wrong")] == [right, right]
    most = ("--settle", "0s", "--max-delete", "1")
    orphans = command("delete-orphans", "--apply", *most, *file, on=db)
    assert orphans.code == 0, orphans.told
    assert {it["session_id"] for it in db["sessions"].find()} == {"empty", "right", "wrong"}
    for run in db[RUNS].find({"state": "done"}).sort("_id", -1):
        undone = command("undo", run["_id"], "--apply", *file, on=db)
        assert undone.code == 0, undone.told
    assert stored_bytes(db) == before


@pytest.mark.parametrize("name", ["no user, no dates", "pages alone"])
def test_a_look_up_asks_for_what_is_kept(
    db: Db, command: Command, tmp_path: Path, name: str
) -> None:
    ids, before = fill(db, KEPT[name]), stored_bytes(db)
    looked = ("--strategy", "lookup", "--settle", "0s", *config(tmp_path, KEPT[name]))
    fixed = command("fix", "--apply", *looked, on=db)
    assert fixed.code == 0, fixed.told
    right = {field: value for field, value in OF_ALL.items() if field in KEPT[name]}
    assert held(db, ids["empty"]) == right
    after = stored_bytes(db)
    assert {key for key in after if after[key] != before[key]} == {ids["empty"]}
