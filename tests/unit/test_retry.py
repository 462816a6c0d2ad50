"""Retry: whose an error is, the run's or one document's."""

from __future__ import annotations

import pytest
from pymongo.errors import BulkWriteError, OperationFailure

from session_repair.repair.retry import is_of_all


def in_a_bulk(code: int) -> BulkWriteError:
    """The error as the first write of a bulk met it."""
    error = {"index": 0, "code": code, "errmsg": "why"}
    return BulkWriteError({"writeErrors": [error], "writeConcernErrors": [], "nModified": 0})


@pytest.mark.parametrize(
    ("code", "is_the_runs"),
    [
        (13, True),  # a right was taken away
        (24, True),  # somebody has the collection to himself
        (371, True),  # the server takes no writes of users
        (391, True),  # the user has to log in again
        (11601, True),  # killed by hand
        (14031, True),  # the disk is full
        (121, False),  # a validator
        (11000, False),  # a unique index
        (16766, False),  # an index that takes no arrays
        (17419, False),  # too large
    ],
)
def test_an_error_is_the_runs_where_no_document_is_to_blame(code: int, is_the_runs: bool) -> None:
    assert is_of_all(OperationFailure("why", code)) is is_the_runs
    assert is_of_all(in_a_bulk(code)) is is_the_runs
