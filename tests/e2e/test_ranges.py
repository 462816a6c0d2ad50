"""Ranges of _id: every document is in one of them, and none of another type in any."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from bson import ObjectId
from pymongo.database import Database

from session_repair.mongo.census import FEW_DOCUMENTS, MOST_SCANS, take_census
from tests.harness.documents import Document

MARK = datetime(2030, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize("number", [1, 2, MOST_SCANS, MOST_SCANS + 1, 50])
def test_every_document_is_in_one_range(db: Database[Document], number: int) -> None:
    ids = [ObjectId(f"{n * n:08x}{n:016x}") for n in range(1, FEW_DOCUMENTS + 1)]
    ends = [ObjectId(bytes(12)), ObjectId(b"\xff" * 12)]
    db["events"].insert_many({"_id": key} for key in [*ids, *ends])
    census = take_census(db["events"], {}, MARK, {})
    db["events"].insert_many([{"_id": "came later"}, {"_id": 1}, {"_id": True}])
    parts = [[it["_id"] for it in db["events"].find(part)] for part in census.ranges(number)]
    assert len(parts) == number
    assert sorted(key for part in parts for key in part) == sorted([*ids, *ends])
    assert max(map(len, parts)) < 5 * FEW_DOCUMENTS // number


@pytest.mark.parametrize(("number", "stage"), [(MOST_SCANS, "COLLSCAN"), (8, "IXSCAN")])
def test_few_ranges_are_scanned_and_many_are_looked_up(
    db: Database[Document], number: int, stage: str
) -> None:
    db["events"].insert_many({"_id": ObjectId()} for _ in range(FEW_DOCUMENTS + 1))
    for part in take_census(db["events"], {}, MARK, {}).ranges(number):
        assert f"'{stage}'" in str(db["events"].find(part).explain()["queryPlanner"]["winningPlan"])
