"""Retry: what is worth another try, of a command alone and of a whole transaction."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from session_repair.mongo.connection import first_of

Result = TypeVar("Result")

ELECTION_TIME = 45.0  # seconds; a default election takes up to 12, a paused primary 20 more
RETRY_PAUSE = 0.5
# Not primary, shutting down, interrupted by a step-down: the command may be sent again.
FAILOVER_CODES = frozenset({6, 7, 89, 91, 189, 262, 9001, 10058, 10107, 11600, 11602, 13435, 13436})
LOCKED = 24  # somebody has a collection, or the server, to himself: no document of his is to blame
AWAY_CODES = FAILOVER_CODES | {LOCKED}
# The user may not, or has to log in again; the command was killed by hand; the disk is full; no
# user may write now: no document is to blame.
RUN_CODES = frozenset({*AWAY_CODES, 13, 18, 371, 391, 8000, 11601, 14031})
TRANSIENT = "TransientTransactionError"
MOST_CONFLICTS = 3  # of a batch, with what others write; then a smaller one may pass
ALONE_SECONDS = 5.0  # so long a row that conflicts alone is tried again


class GaveUp(Exception):
    """What pymongo would try again for two minutes is not to be; ``cause`` is how it failed."""

    def __init__(self, cause: PyMongoError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def patiently(step: Callable[..., Result], *arguments: Any) -> Result:
    """The step's result; while an election or a cut keeps MongoDB away, try again."""
    deadline = time.monotonic() + ELECTION_TIME
    while True:
        try:
            return step(*arguments)
        except ConnectionFailure:
            if time.monotonic() > deadline:
                raise
        except OperationFailure as error:
            if error.code not in FAILOVER_CODES or time.monotonic() > deadline:
                raise
        time.sleep(RETRY_PAUSE)


def in_transaction(
    session: ClientSession, step: Callable[[ClientSession], Result], rows: int
) -> Result:
    """The step's result, committed by a majority.

    Failovers and locks of collections are waited for, conflicts with other writers tried again a
    few times. Raises the server's error where they go on; one of a conflict a step over fewer rows
    may pass.
    """
    began, conflicts = time.monotonic(), 0

    def watched(session: ClientSession) -> Result:
        nonlocal conflicts
        try:
            return step(session)
        except (OperationFailure, ConnectionFailure) as error:
            if not error.has_error_label(TRANSIENT):
                raise
            waited = time.monotonic() - began
            if isinstance(error, OperationFailure) and error.code not in AWAY_CODES:
                conflicts += 1
                if waited > ALONE_SECONDS if rows <= 1 else conflicts >= MOST_CONFLICTS:
                    raise GaveUp(error) from error
            elif waited > ELECTION_TIME:
                raise GaveUp(error) from error
            raise

    try:
        return session.with_transaction(
            watched,
            read_concern=ReadConcern("snapshot"),
            write_concern=WriteConcern("majority"),
            read_preference=ReadPreference.PRIMARY,
        )
    except GaveUp as gave_up:
        raise gave_up.cause from None


def is_of_all(error: OperationFailure) -> bool:
    """Whether the error is the run's: no document is to blame."""
    return first_of(error).code in RUN_CODES
