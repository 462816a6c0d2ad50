"""What can go wrong in a way a user can act on, and what each means to a scheduler."""

from __future__ import annotations

from enum import IntEnum

LONGEST = 500  # characters of a value; a report has to fit into one document, and to be read


def shortened(text: str) -> str:
    """The text as far as it is shown."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


class Exit(IntEnum):
    """The exit codes of every command; a run document and ``--json`` carry the same verdict."""

    CLEAN = 0
    UNEXPECTED = 1
    REFUSED = 2
    FIXABLE_REMAINS = 3
    BREAKER = 4
    PARTIAL = 5
    LEASE_HELD = 6
    UNREACHABLE = 75
    INTERRUPTED = 130


class RepairError(Exception):
    """A failure with one clear line for the user: what, which value, what to do."""

    exit_code = Exit.UNEXPECTED
    run_id: str | None = None  # of the run that it ended


class Refused(RepairError):
    """Usage, settings, missing rights or a stale plan: nothing was read or written."""

    exit_code = Exit.REFUSED


class IncompleteRead(RepairError):
    """Spark saw other rows than the server counts: a plan made of them could not be trusted."""


class BreakerTripped(RepairError):
    """The data look so wrong that writing was stopped before the first write."""

    exit_code = Exit.BREAKER


class LeaseHeld(RepairError):
    """Another run holds the lease, or took it over from this one."""

    exit_code = Exit.LEASE_HELD


class BrokenOff(RepairError):
    """What was under way ended early; a run that it was part of can be finished."""


class Unreachable(BrokenOff):
    """MongoDB does not answer; trying again later may help."""

    exit_code = Exit.UNREACHABLE


class Stopped(BrokenOff):
    """A limit stopped the run between two batches."""

    exit_code = Exit.PARTIAL


class Interrupted(BrokenOff):
    """Ctrl-C or SIGTERM."""

    exit_code = Exit.INTERRUPTED
