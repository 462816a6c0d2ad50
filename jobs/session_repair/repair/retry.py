"""Split: take a batch apart until the document that breaks it stands alone; wait out failovers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from pymongo.errors import ConnectionFailure, OperationFailure

from session_repair.mongo.lease import MERGE_TIME

Result = TypeVar("Result")
Failures = dict[str, OperationFailure]  # by the _id of the journal row
Step = Callable[[list[str], float], None]  # of rows, in so many seconds

ELECTION_TIME = 45.0  # seconds; a default election takes up to 12, a paused primary 20 more
RETRY_PAUSE = 0.5
# Not primary, shutting down, interrupted by a step-down: the command may be sent again.
FAILOVER_CODES = frozenset({6, 7, 89, 91, 189, 262, 9001, 10058, 10107, 11600, 11602, 13435, 13436})
# The user may not, the command was killed by hand: no document is to blame.
RUN_CODES = frozenset({*FAILOVER_CODES, 13, 18, 8000, 11601})
TOO_SLOW = 50  # over its time: the server is busy, or a transaction holds a document
LEAST_TIME = 0.5  # seconds for the smallest parts of a batch that was too slow
MOST_SLOW = 3  # single rows of a batch; with more of them it is the server


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


def in_parts(step: Step, rows: list[str]) -> Failures:
    """Run the step over the rows, halved wherever it fails; the errors of those that fail alone.

    Whatever its code, such an error is that of a document if others pass, or if the step over no
    row does. Raises the error that is none of a document's.
    """
    failures: Failures = {}
    seconds = MERGE_TIME.total_seconds()
    run_part(step, rows, seconds, failures)
    if rows and len(failures) == len(rows):
        patiently(step, [], seconds)
    return failures


def run_part(step: Step, rows: list[str], seconds: float, failures: Failures) -> None:
    if not rows:
        return
    try:
        patiently(step, rows, seconds)
        return
    except OperationFailure as error:
        if error.code in RUN_CODES:
            raise
        if len(rows) == 1:
            failures[rows[0]] = error
            if sum(it.code == TOO_SLOW for it in failures.values()) > MOST_SLOW:
                raise
            return
        if error.code == TOO_SLOW:
            seconds = max(LEAST_TIME, seconds / 2)
    half = len(rows) // 2
    run_part(step, rows[:half], seconds, failures)
    run_part(step, rows[half:], seconds, failures)
