"""Since: the window that ``--since`` and ``--until`` name, by the clock and by earlier runs."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from pymongo import DESCENDING

from session_repair.errors import Exit, Refused
from session_repair.kinds import LAST_SUCCESS, instant_of, parse_duration
from session_repair.mongo.runs import DONE
from session_repair.mongo.store import Store
from session_repair.mongo.window import ActiveWindow
from session_repair.settings import (
    SAME,
    as_before,
    describe,
)

Document = dict[str, Any]


def window_of(store: Store, now: datetime) -> ActiveWindow | None:
    """The window of a command that looks at what is active only; None where it looks at all.

    ``last-success`` without a success yet looks at all. Raises Refused on a window without a span.
    """
    until = store.settings.until or now
    if store.settings.since is None:
        if store.settings.until is not None:
            raise Refused("--until ends a window. Begin it with --since.")
        return None
    if store.settings.since == LAST_SUCCESS:
        if store.settings.lookback < store.settings.settle:
            raise Refused(
                "--lookback is shorter than --settle: what the last run left in flight would never "
                "be looked at again."
            )
        success = last_success(store)
        if success is None:
            return None
        since = earlier(reached_by(success), max(store.settings.lookback, left_open_by(success)))
    else:
        since = since_of(store.settings.since, now)
    if since >= until:
        raise Refused(
            f"--since {since:%Y-%m-%dT%H:%M:%SZ} is not before {until:%Y-%m-%dT%H:%M:%SZ}."
        )
    return ActiveWindow(since, until)


def since_of(text: str, now: datetime) -> datetime:
    """A date, or a duration before now."""
    try:
        return earlier(now, parse_duration(text))
    except ValueError:
        return instant_of(text)


def earlier(instant: datetime, duration: timedelta) -> datetime:
    """The instant so long before, were it the first one that there is."""
    try:
        return instant - duration
    except OverflowError:
        return datetime.min.replace(tzinfo=timezone.utc)


def last_success(store: Store) -> Document | None:
    """The report and the settings of the newest run up to which all that was active was seen.

    That is a finished run that left nothing to do, and one that began where the one before had
    ended: a run of all sessions, or one since the last success.
    """
    now = describe(store.settings)
    same = {f"settings.{name}": now[name] for name in SAME}
    for name, value in as_before().items():
        if now[name] == value:
            same[f"settings.{name}"] = {"$in": [value, None]}  # a run of before names none
    all_the_way: Document = {
        "settings.only": now["only"],
        "settings.session_ids": [],
        "settings.until": None,
        "settings.since": {"$in": [None, LAST_SUCCESS]},
    }
    runs = store.runs
    finished: Document = {"verb": "fix", "state": DONE, "verdict": int(Exit.CLEAN)}
    undone = runs.find_one(
        {**same, "undo.last_at": {"$exists": True}}, ["undo"], sort=[("undo.last_at", DESCENDING)]
    )
    if undone is not None:  # what that took back, no run before has seen
        finished["started_at"] = {"$gt": undone["undo"]["last_at"]}
    return runs.find_one(
        {**finished, **same, **all_the_way}, ["report", "settings"], sort=[("_id", DESCENDING)]
    )


def reached_by(run: Document) -> datetime:
    """The instant up to which the run saw what was active."""
    window = run["report"]["window"]
    reached: datetime = window["until"] if window else run["report"]["server_time"]
    return reached


def left_open_by(run: Document) -> timedelta:
    """How long before that it left alone what was active: in flight at one of its two looks."""
    named = (run["settings"][name] for name in ("settle", "confirm_delay"))
    return sum(map(parse_duration, named), timedelta(0))
