"""Sharded clusters, as far as they can be tried without a router: by its replies."""

from __future__ import annotations

from typing import Any

import pytest

from session_repair.errors import Refused
from session_repair.mongo.connection import is_router, require_transactions
from session_repair.mongo.pace import LagUnseen, may_lag

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


def test_the_lag_of_a_cluster_is_not_taken_for_none() -> None:
    assert (may_lag(MEMBER), may_lag(ALONE)) == (True, False)
    with pytest.raises(LagUnseen, match="cannot be seen through a mongos"):
        may_lag(ROUTER)
