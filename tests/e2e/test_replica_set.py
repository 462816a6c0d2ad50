"""Three real members: the primary killed or frozen under a run, which is resumed if it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import pytest
from pymongo import MongoClient

from demo.generate import generate
from demo.member import Member
from demo.server import ReplicaSet
from tests.harness.commands import Command
from tests.harness.documents import Db, Document
from tests.harness.holds import Point, before_commit, before_write
from tests.harness.members import assert_as_after_a_clean_run, finish, with_primary_lost
from tests.harness.runs import last_run
from tests.oracle import recomputed_documents


@pytest.fixture
def command(three: ReplicaSet, command: Command) -> Command:
    """As everywhere, but on the three members."""
    return partial(command, uri=three.uri)


@pytest.mark.parametrize("at", [before_write(2), before_commit(2)], ids=["write", "commit"])
def test_the_primary_killed_during_apply_costs_nothing(
    command: Command, three: ReplicaSet, on_three: Db, at: Point
) -> None:
    generate(on_three, 300)
    expected = recomputed_documents(on_three)
    assert command("fix", "--plan", on=on_three).code == 3
    words = ("apply", last_run(on_three)["_id"], "--batch-size", "20")
    code = with_primary_lost(command, on_three, three, "killed", words, at, 5)
    finish(command, on_three, code)
    assert_as_after_a_clean_run(on_three, expected)


def lag_seen_by(client: MongoClient[Document]) -> float:
    """The seconds by which a member knows that it is behind."""
    members = client.admin.command("replSetGetStatus")["members"]
    own = next(it["optimeDate"] for it in members if it.get("self"))
    return float((max(it["optimeDate"] for it in members) - own).total_seconds())


@pytest.fixture
def behind(three: ReplicaSet, on_three: Db) -> Iterator[Member]:
    """A member that knows the shop of 300 sessions, and not the event that has come since."""
    generate(on_three, 300)
    [slow, _] = three.secondaries()
    with slow.client() as client:
        seen = client[on_three.name]["events"]
        while seen.estimated_document_count() < on_three["events"].estimated_document_count():
            time.sleep(0.1)
        client.admin.command("configureFailPoint", "rsSyncApplyStop", mode="alwaysOn")
        on_three["events"].insert_one({"session_id": "nobody's", "page": "/"})
        time.sleep(3)  # optimes are of whole seconds, and a heartbeat takes two
        on_three["events"].insert_one({"session_id": "nobody's", "page": "/"})
        while lag_seen_by(client) < 3:  # a heartbeat tells it
            time.sleep(0.1)
        try:
            yield slow
        finally:
            client.admin.command("configureFailPoint", "rsSyncApplyStop", mode="off")


def test_spark_reads_no_member_that_is_behind(
    command: Command, three: ReplicaSet, on_three: Db, behind: Member
) -> None:
    """Whatever letters the address asks for it in; that it names this one alone asks for none."""
    told = "verify: the connection string allows reads from a secondary, and one lags by "
    alone = f"mongodb://{behind.address}/"
    for uri in (
        f"{three.uri}&readPreference=SECONDARY",
        f"{three.uri};readpreference=secondarypreferred",
        f"{alone}?directConnection=true",
    ):
        ended = command("verify", "--settle", "1s", on=on_three, uri=uri)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith(told)
    ended = command("verify", "--settle", "1s", on=on_three, uri=alone)
    assert ended.figure("Total events") == on_three["events"].count_documents({})
