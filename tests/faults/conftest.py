"""A shop of 300 sessions on the run's server, and the job's commands in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, Regex, Timestamp
from pymongo import MongoClient
from pymongo.database import Database
from pyspark.sql import SparkSession

import delete_orphan_sessions
import fix_empty_sessions
import resume_run
from demo.generate import generate
from session_repair.cli import commands as plain_verbs
from tests.faults.runs import Hold, Job, Snapshot

Document = dict[str, Any]

JOBS: dict[str, Callable[..., int]] = {
    "fix": fix_empty_sessions.main,
    "delete-orphans": delete_orphan_sessions.main,
    "resume": resume_run.main,
}

PLANNED_SHOP = "planned"


@pytest.fixture
def shop(db: Database[Document]) -> Database[Document]:
    """300 sessions of the guide's shop: 83 broken ones, 2 orphans, 215 sound ones."""
    generate(db, 300)
    decorate(db)
    return db


def decorate(db: Database[Document]) -> None:
    """Gives every session fields of other programs, of types that only BSON knows."""
    db["sessions"].update_many({}, [{"$replaceWith": {"$mergeObjects": ["$$ROOT", EXOTIC]}}])


def literal(value: Any) -> Document:
    return {"$literal": value}


EXOTIC = {
    "zeta": literal({"b": Int64(1), "a": [Decimal128("1.10"), {"y": MaxKey(), "x": MinKey()}]}),
    "pattern": literal(Regex("^a.*b$", "im")),
    "clock": literal(Timestamp(7, 3)),
    "far": literal(DatetimeMS(300_000_000_000_000)),  # the year 11476
    "before": literal(DatetimeMS(-70_000_000_000_000)),  # the year -249
    "binary": literal(Binary(b"\x00\xff", 5)),
    "alpha": literal({"double": 1.0, "negative_zero": -0.0, "nothing": None, "long": Int64(3)}),
}


@pytest.fixture(scope="session")
def planning(
    spark: SparkSession, mongo_client: MongoClient[Document], mongo_uri: str
) -> Iterator[Snapshot]:
    """The database ``planned`` with the shop and a plan of its 83 corrections, made once."""
    db = mongo_client[PLANNED_SHOP]
    generate(db, 300)
    decorate(db)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONGODB_URI", mongo_uri)
        assert fix_empty_sessions.main(["--plan", "--database", db.name]) == 3
    yield Snapshot.of(db)
    mongo_client.drop_database(db)


@pytest.fixture
def planned(planning: Snapshot, mongo_client: MongoClient[Document]) -> Database[Document]:
    """The shop with a run that is planned and not applied, the same for each test."""
    db = mongo_client[PLANNED_SHOP]
    planning.restore(db)
    return db


@pytest.fixture
def hold(mongo_client: MongoClient[Document]) -> Iterator[Hold]:
    """The server's brake on the job's commands; off again afterwards."""
    brake = Hold(mongo_client)
    yield brake
    brake.release()


@pytest.fixture
def job(mongo_uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Job:
    """``job(db, verb, *arguments)``: the command in this process; its exit code and its output."""
    monkeypatch.setenv("MONGODB_URI", mongo_uri)

    def run(db: Database[Document], verb: str, *arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        words = [*arguments, "--database", db.name]
        code = JOBS[verb](words) if verb in JOBS else plain_verbs.main([verb, *words])
        told = capsys.readouterr()
        return code, told.out + told.err

    return run
