"""A shop of 300 sessions on the run's server, a plan of its repair, and a brake on the job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, Regex, Timestamp
from pymongo import MongoClient

from demo.generate import generate
from tests.harness.commands import Command
from tests.harness.documents import Db, Document, Snapshot
from tests.harness.holds import Hold

PLANNED_SHOP = "planned"


@pytest.fixture
def shop(db: Db) -> Db:
    """300 sessions of the guide's shop: 83 broken ones, 2 orphans, 215 sound ones."""
    generate(db, 300)
    decorate(db)
    return db


def decorate(db: Db) -> None:
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
def planning(mongo_client: MongoClient[Document], command: Command) -> Iterator[Snapshot]:
    """The database ``planned`` with the shop and a plan of its 83 corrections, made once."""
    db = mongo_client[PLANNED_SHOP]
    generate(db, 300)
    decorate(db)
    assert command("fix", "--plan", on=db).code == 3
    yield Snapshot.of(db)
    mongo_client.drop_database(db)


@pytest.fixture
def planned(planning: Snapshot, mongo_client: MongoClient[Document]) -> Db:
    """The shop with a run that is planned and not applied, the same for each test."""
    db = mongo_client[PLANNED_SHOP]
    planning.restore(db)
    return db


@pytest.fixture
def hold(mongo_client: MongoClient[Document]) -> Iterator[Hold]:
    """The server's brake on the job's commands; off again afterwards."""
    brake = Hold(mongo_client)
    yield brake
    brake.kill()
