"""Since: the window that ``--since`` and ``--until`` name, by the clock and by earlier runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pymongo import DESCENDING
from pymongo.database import Database

from session_repair.errors import Exit, Refused
from session_repair.mongo.runs import DONE
from session_repair.mongo.window import ActiveWindow
from session_repair.settings import (
    LAST_SUCCESS,
    Settings,
    describe,
    instant_of,
    parse_duration,
)

Document = dict[str, Any]

# A run goes on from one that looked in the same way at the same data.
SAME = ("sessions", "events", "session_fields", "event_fields", "scope", "allow_shrink")


def window_of(
    database: Database[Document], settings: Settings, now: datetime
) -> ActiveWindow | None:
    """The window of a command that looks at what is active only; None where it looks at all.

    ``last-success`` without a success yet looks at all. Raises Refused on a window without a span.
    """
    until = settings.until or now
    if settings.since is None:
        if settings.until is not None:
            raise Refused("--until ends a window. Begin it with --since.")
        return None
    if settings.since == LAST_SUCCESS:
        if settings.lookback < settings.settle:
            raise Refused(
                "--lookback is shorter than --settle: what the last run left in flight would never "
                "be looked at again."
            )
        reached = reached_by_last_success(database, settings)
        if reached is None:
            return None
        since = reached - settings.lookback
    else:
        since = since_of(settings.since, now)
    if since >= until:
        raise Refused(
            f"--since {since:%Y-%m-%dT%H:%M:%SZ} is not before {until:%Y-%m-%dT%H:%M:%SZ}."
        )
    return ActiveWindow(since, until)


def since_of(text: str, now: datetime) -> datetime:
    """A date, or a duration before now."""
    try:
        return now - parse_duration(text)
    except ValueError:
        return instant_of(text)


def reached_by_last_success(database: Database[Document], settings: Settings) -> datetime | None:
    """The instant up to which the repairs of the past have seen all that was active.

    It is moved by finished runs alone that left nothing to do, and only by those that began where
    the one before had ended: a run of all sessions, or one since the last success.
    """
    now = describe(settings)
    same = {f"settings.{name}": now[name] for name in SAME}
    all_the_way: Document = {
        "settings.only": now["only"] or {"$in": [None, []]},
        "settings.session_ids": [],
        "settings.until": None,
        "settings.since": {"$in": [None, LAST_SUCCESS]},
    }
    finished = {"verb": "fix", "state": DONE, "verdict": int(Exit.CLEAN)}
    newest = database[settings.runs].find_one(
        {**finished, **same, **all_the_way}, ["report"], sort=[("_id", DESCENDING)]
    )
    if newest is None:
        return None
    window = newest["report"].get("window")
    reached: datetime = window["until"] if window else newest["report"]["server_time"]
    return reached
