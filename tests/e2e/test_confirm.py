"""Two looks a while apart: what changes in between is left to the next run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from bson import ObjectId

from demo.generate import generate
from session_repair.repair import plan
from tests.harness.commands import Command, reported
from tests.harness.documents import JOURNAL, Db
from tests.harness.runs import is_balanced
from tests.oracle import mismatched, rebuilt


def test_a_finding_that_changes_between_two_looks_is_not_written(
    command: Command, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = generate(db, 100).broken
    right = rebuilt(db)
    candidates = list(db["sessions"].find({"event_count": 0, "session_id": {"$in": list(right)}}))
    healed, touched, late, *others = (session["session_id"] for session in candidates)
    assert len(others) == broken - 3

    def change(_: float) -> None:
        db["sessions"].update_one({"session_id": healed}, {"$set": right[healed]})
        db["sessions"].update_one({"session_id": touched}, {"$inc": {"event_count": 1}})
        event = db["events"].find_one({"session_id": late})
        assert event is not None
        # As old as the others in every respect: only the second look can tell.
        made = ObjectId(event["_id"].binary[:4] + ObjectId().binary[4:])
        db["events"].insert_one({**event, "_id": made, "page": "/late"})

    monkeypatch.setattr(plan, "time", SimpleNamespace(sleep=change))  # what else happens meanwhile
    code, report = reported(command, "fix", "--apply", "--confirm-delay", "4s", on=db)

    assert code == 0
    assert is_balanced(report["outcomes"])
    assert report["outcomes"]["applied"] == len(others)
    assert sorted(row["plan"]["session_id"] for row in db[JOURNAL].find()) == sorted(others)
    assert report["totals"]["deferred"] == 2  # the healed one has no finding any more
    assert sorted(mismatched(db)) == sorted([touched, late])
    assert db["sessions"].find_one({"session_id": touched})["event_count"] == 1  # type: ignore[index]


def test_findings_that_persist_are_written_after_the_delay(
    command: Command, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = generate(db, 60).broken
    # The second look is a scan, the first one a look-up: they see the same.
    drop = SimpleNamespace(sleep=lambda _: db["events"].drop_index("session_id_1"))
    monkeypatch.setattr(plan, "time", drop)
    code, report = reported(command, "fix", "--apply", "--confirm-delay", "1s", on=db)
    assert (code, report["outcomes"]["applied"], report["totals"]["deferred"]) == (0, broken, 0)
    assert mismatched(db) == []
