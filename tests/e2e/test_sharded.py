"""Sharded clusters, as far as they can be tried without a router: its replies, and our writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument

from session_repair.errors import Refused
from session_repair.mongo.connection import has_transactions, is_router, require_transactions
from session_repair.mongo.pace import LagUnseen, may_lag
from tests.harness.commands import Command
from tests.harness.documents import SESSIONS, Db, Document
from tests.harness.guide import BROKEN, ORPHANS
from tests.harness.holds import Hook
from tests.harness.runs import last_run, planned_keys, the_run
from tests.oracle import EXACT

# What hello answers: a mongos adds msg, a member of a set its setName, a server alone neither.
ROUTER = {"isWritablePrimary": True, "msg": "isdbgrid", "maxWireVersion": 17, "ok": 1.0}
MEMBER = {"isWritablePrimary": True, "setName": "rs0", "maxWireVersion": 17, "ok": 1.0}
ALONE = {"isWritablePrimary": True, "maxWireVersion": 17, "ok": 1.0}


@pytest.mark.parametrize(
    ("hello", "expected"), [(ROUTER, True), (MEMBER, False), (ALONE, False), ({}, False)]
)
def test_a_router_is_recognised(hello: dict[str, Any], expected: bool) -> None:
    assert is_router(hello) is expected


def test_a_deletion_is_refused_only_by_a_server_without_transactions() -> None:
    for hello in (ROUTER, MEMBER):
        require_transactions(hello)
    with pytest.raises(Refused, match="this server is none"):
        require_transactions(ALONE)


@pytest.mark.parametrize(
    ("hello", "expected"), [(ROUTER, True), (MEMBER, True), (ALONE, False), ({}, False)]
)
def test_batches_are_transactions_wherever_the_server_has_them(
    hello: dict[str, Any], expected: bool
) -> None:
    assert has_transactions(hello) is expected


def plain(write: Mapping[str, Any]) -> Document:
    return bson.decode(write.raw, EXACT) if isinstance(write, RawBSONDocument) else dict(write)


def test_every_write_to_a_session_finds_it_by_its_id_and_makes_none(
    planned: Db, command: Command, before_command: Callable[[Hook], None]
) -> None:
    """So a router can send it wherever the document is, whatever the shard key."""
    sent: list[Mapping[str, Any]] = []

    def note(database: str, one: Mapping[str, Any]) -> None:
        for kind, writes in (("update", "updates"), ("delete", "deletes"), ("insert", "documents")):
            if database == planned.name and one.get(kind) == SESSIONS:
                sent.extend({"kind": kind, **plain(it)} for it in one[writes])

    before_command(note)
    run, ids = the_run(planned)["_id"], planned_keys(planned)
    for words in (("apply", run), ("undo", run, "--apply")):
        sent.clear()
        assert command(*words, on=planned).code == 0
        assert [it["q"]["_id"] for it in sent] == ids
        assert {tuple(it["q"]) for it in sent} == {("_id",)}
        assert {(it["kind"], it["multi"], it.get("upsert", False)) for it in sent} == {
            ("update", False, False)
        }
    orphaned = planned[SESSIONS].count_documents({"pages": []}) - BROKEN
    sent.clear()
    assert command("delete-orphans", "--apply", "--max-delete", "100%", on=planned).code == 0
    assert [(it["kind"], tuple(it["q"]), it["limit"]) for it in sent] == [
        ("delete", ("_id",), 1)
    ] * orphaned
    gone = {it["q"]["_id"] for it in sent}
    sent.clear()
    assert command("undo", last_run(planned)["_id"], "--apply", on=planned).code == 0
    assert {it["kind"] for it in sent} == {"insert"}
    assert {it["_id"] for it in sent} == gone  # the whole document, so its shard key too
    assert len(gone) == orphaned == ORPHANS


def test_the_lag_of_a_cluster_is_not_taken_for_none() -> None:
    assert (may_lag(MEMBER), may_lag(ALONE)) == (True, False)
    with pytest.raises(LagUnseen, match="cannot be seen through a mongos"):
        may_lag(ROUTER)
