"""Sharded clusters, as far as they can be tried without a router: its replies, and the explain."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import OperationFailure
from session_repair.mongo.merge import explain_merge, merge_into, refusal, require_mergeable

from session_repair.errors import Refused
from session_repair.mongo.connection import is_router, require_transactions
from session_repair.mongo.pace import LagUnseen, may_lag
from tests.harness.documents import JOURNAL, SESSIONS, Db, data_of
from tests.harness.shop import Shop

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


def test_the_explain_of_a_merge_is_of_the_merge_and_writes_nothing(db: Db) -> None:
    Shop(db).session("broken")
    before = data_of(db)
    plan = explain_merge(db, SESSIONS, JOURNAL)  # which is not there yet
    explain_merge(db, SESSIONS, SESSIONS)
    merge = plan["stages"][-1]["$merge"]
    asked = merge_into(JOURNAL, [{"$replaceWith": "$$ROOT"}])["$merge"]
    assert (merge["into"], merge["on"]) == ({"db": db.name, "coll": JOURNAL}, "_id")
    assert [merge[it] for it in ("whenMatched", "whenNotMatched")] == [
        asked[it] for it in ("whenMatched", "whenNotMatched")
    ]
    require_mergeable(db, SESSIONS, SESSIONS, JOURNAL)
    assert data_of(db) == before
    assert db.list_collection_names() == [SESSIONS]


def test_a_collection_that_the_server_would_not_merge_into_is_refused(db: Db) -> None:
    Shop(db).session("broken")
    before = data_of(db)
    with pytest.raises(Refused) as refused:
        require_mergeable(db, SESSIONS, SESSIONS, "system.profile")
    assert str(refused.value) == (
        f"{db.name}.system.profile cannot be merged into on _id: Cannot $merge to special "
        f"collection: system.profile. It is sharded by {UNKNOWN}. Only verify works on it."
    )
    assert data_of(db) == before


UNKNOWN = "a key that config.collections does not show to this user"


def test_the_shard_key_is_named(db: Db) -> None:
    Shop(db).session("broken")
    unfit = merge_into(SESSIONS, [{"$replaceWith": "$$ROOT"}])
    unfit["$merge"]["on"] = "client_id"  # what a server says of a key that is not unique
    with pytest.raises(OperationFailure) as caught:
        db.command({"explain": {"aggregate": SESSIONS, "pipeline": [unfit], "cursor": {}}})
    assert refusal("shop", SESSIONS, caught.value, {"client_id": "hashed"}) == (
        "shop.sessions cannot be merged into on _id: Cannot find index to verify that join fields "
        "will be unique. It is sharded by {'client_id': 'hashed'}. Only verify works on it."
    )


def test_the_lag_of_a_cluster_is_not_taken_for_none() -> None:
    assert (may_lag(MEMBER), may_lag(ALONE)) == (True, False)
    with pytest.raises(LagUnseen, match="cannot be seen through a mongos"):
        may_lag(ROUTER)
