"""Two looks a while apart: what changes in between is left to the next run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bson import ObjectId
from pyspark.sql import SparkSession

from demo.generate import generate
from tests.faults.ground import JOURNAL, Db, Verbs, differing, held, is_balanced, rebuilt


@pytest.fixture
def verbs(spark: SparkSession, mongo_uri: str, db: Db, tmp_path: Path) -> Verbs:
    return Verbs.on(mongo_uri, db.name, tmp_path)


def test_a_finding_that_changes_between_two_looks_is_not_written(verbs: Verbs, db: Db) -> None:
    broken = generate(db, 100).broken
    right = rebuilt(db)
    candidates = list(db["sessions"].find({"event_count": 0, "session_id": {"$in": list(right)}}))
    healed, touched, late, *others = (session["session_id"] for session in candidates)
    assert len(others) == broken - 3

    # The second look begins with its fourth: one is for the rights, two for the first look.
    with (
        ThreadPoolExecutor() as threads,
        held(
            *(db.client, "listCollections"), seconds=0.5, on=None, mode={"skip": 3}
        ) as second_look,
    ):
        run = threads.submit(verbs.reported, "fix", "--apply", "--confirm-delay", "4s")
        second_look.wait()
        db["sessions"].update_one({"session_id": healed}, {"$set": right[healed]})
        db["sessions"].update_one({"session_id": touched}, {"$inc": {"event_count": 1}})
        event = db["events"].find_one({"session_id": late})
        assert event is not None
        # As old as the others in every respect: only the second look can tell.
        made = ObjectId(event["_id"].binary[:4] + ObjectId().binary[4:])
        db["events"].insert_one({**event, "_id": made, "page": "/late"})
        second_look.release()
        code, report = run.result()

    assert code == 0
    assert is_balanced(report["outcomes"])
    assert report["outcomes"]["applied"] == len(others)
    assert sorted(row["plan"]["session_id"] for row in db[JOURNAL].find()) == sorted(others)
    assert report["totals"]["deferred"] == 2  # the healed one has no finding any more
    assert sorted(differing(db)) == sorted([touched, late])
    assert db["sessions"].find_one({"session_id": touched})["event_count"] == 1  # type: ignore[index]


def test_findings_that_persist_are_written_after_the_delay(verbs: Verbs, db: Db) -> None:
    broken = generate(db, 60).broken
    code, report = verbs.reported("fix", "--apply", "--confirm-delay", "1s")
    assert (code, report["outcomes"]["applied"], report["totals"]["deferred"]) == (0, broken, 0)
    assert differing(db) == []
