"""What the tests share: one real mongod and one Spark for the run, a database for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import pytest
from pymongo import MongoClient
from pyspark.sql import SparkSession

from demo.server import EmbeddedMongod, ReplicaSet
from session_repair.spark.session import ADAPTIVE, SHUFFLE_PARTITIONS, new_session
from session_repair.spark.starting import GIVEN_UP, QUICKLY_READ, size_jvm, tell_jvm
from tests.harness import needs
from tests.harness.commands import Command, command_at
from tests.harness.documents import Db, Document, Snapshot, made_once, new_database
from tests.harness.guide import fill, plan_shop
from tests.harness.holds import Hold
from tests.harness.longest import longest_first

ROOM_FOR_CODE = "-XX:ReservedCodeCacheSize=240m"  # of all that is compiled in half an hour
# The classes that Spark generates for a plan; a hundred of them, as it keeps, are those of one run.
KEEP_CODE = {"spark.sql.codegen.cache.maxEntries": "5000"}
PLANNED_SHOP = "planned"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Its tier, see pyproject.toml and run-tests.sh, follows from what it needs."""
    needs.mark(item)
    if "SPARK_UNDER_TEST" in os.environ and item.get_closest_marker("own_spark"):
        item.add_marker(pytest.mark.skip("it is about the Spark of our own environment"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    needs.Running.item = item


@pytest.fixture(scope="session")
def replica_set() -> None:
    """Asked for by what starts three members: the tests that use it need them."""


@pytest.fixture(scope="session")
def full_size() -> None:
    """Asked for by what fills a database as the demo does: the tests that use it need that."""


@pytest.fixture(scope="session")
def mongod() -> Iterator[EmbeddedMongod]:
    """The server of the whole run. Where it cannot start, the tests fail."""
    with EmbeddedMongod(cache_gb=1, parameters={"enableTestCommands": True}) as server:
        yield server


@pytest.fixture(scope="session")
def mongo_uri(mongod: EmbeddedMongod) -> str:
    """The connection string of the run's server."""
    return mongod.uri


@pytest.fixture(scope="session")
def mongo_client(mongod: EmbeddedMongod) -> Iterator[MongoClient[Document]]:
    """One connection for the run; dates come back aware, in UTC."""
    with mongod.client() as client:
        yield client


@pytest.fixture
def db(mongo_client: MongoClient[Document]) -> Iterator[Db]:
    """A database of its own for this test, dropped afterwards."""
    with new_database(mongo_client) as database:
        yield database


@pytest.fixture(scope="module")
def module_db(mongo_client: MongoClient[Document]) -> Iterator[Db]:
    """A database for the tests of one file that look at the same runs."""
    with new_database(mongo_client) as database:
        yield database


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The Spark of the whole run, in UTC, its JVM sized as the job's is for many rows.

    It plans hundreds of runs: by the 25th the thorough compiler has paid for itself.
    """
    for thread in GIVEN_UP:  # a refused command left a Spark that is still starting
        thread.join()
    size_jvm(documents=QUICKLY_READ + 1, is_look_up=False)
    tell_jvm([ROOM_FOR_CODE])
    session = new_session("session-repair tests", KEEP_CODE)
    session.conf.set(SHUFFLE_PARTITIONS, 2)
    session.conf.set(ADAPTIVE, False)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def command(mongo_uri: str, spark: SparkSession) -> Command:
    """``command(VERB, *OPTIONS, on=DATABASE)``: a run of the verb in this process, on its Spark."""
    return command_at(mongo_uri)


@pytest.fixture
def shop(db: Db) -> Db:
    """The guide's shop of 300 sessions, 83 of them broken."""
    fill(db)
    return db


@pytest.fixture(scope="session")
def planning(mongo_client: MongoClient[Document], command: Command) -> Iterator[Snapshot]:
    """The database ``planned`` with the shop and a plan of its 83 corrections, made once."""
    with made_once(mongo_client[PLANNED_SHOP], partial(plan_shop, command)) as made:
        yield made


@pytest.fixture
def planned(planning: Snapshot) -> Db:
    """The shop with a run that is planned and not applied, the same for each test."""
    return planning.restored()


@pytest.fixture
def hold(mongo_client: MongoClient[Document]) -> Iterator[Hold]:
    """The server's brake on the job's commands; off again afterwards."""
    brake = Hold(mongo_client)
    yield brake
    brake.kill()
    brake.end_what_is_open()


@pytest.fixture(scope="module")
def three(replica_set: None) -> Iterator[ReplicaSet]:
    """Three real members, for the tests of one file."""
    with ReplicaSet(3, cache_gb=0.25, parameters={"enableTestCommands": True}) as members:
        yield members


@pytest.fixture
def on_three(three: ReplicaSet) -> Iterator[Db]:
    """A database of its own for this test on the three members."""
    with (
        MongoClient[Document](three.uri, tz_aware=True) as client,
        new_database(client) as database,
    ):
        yield database


@pytest.fixture
def adaptive(spark: SparkSession) -> Iterator[None]:
    """Plans are made anew after each stage, as for very many rows."""
    spark.conf.set(ADAPTIVE, True)
    yield
    spark.conf.set(ADAPTIVE, False)


@pytest.fixture(autouse=True)
def nothing_cached(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that uses Spark leaves no cached frame to the next one."""
    if "spark" not in request.fixturenames:
        yield
        return
    session: SparkSession = request.getfixturevalue("spark")
    yield
    session.catalog.clearCache()
