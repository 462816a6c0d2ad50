"""Breakers: stop before the first write when the data look so wrong that a plan must be too."""

from __future__ import annotations

from typing import Any

from pymongo.database import Database

from session_repair.errors import BreakerTripped
from session_repair.repair.report import Totals
from session_repair.settings import Settings, limit_of

Document = dict[str, Any]

REQUIRED_OF_EVENTS = ("session_id", "timestamp", "page")


def require_events(database: Database[Document], settings: Settings) -> None:
    """Raise BreakerTripped when there are no events, or none has a field the job needs.

    Either is far more often a wrong name in the settings than the truth.
    """
    events = database[settings.events]
    if events.find_one({}, {"_id": 1}) is None:
        raise BreakerTripped(
            f"collection {settings.events!r} has no event at all. Nothing was written. "
            "If the events were archived there is nothing to rebuild from."
        )
    for field in REQUIRED_OF_EVENTS:
        path = settings.event_fields[field]
        if events.find_one({path: {"$exists": True}}, {"_id": 1}) is None:
            raise BreakerTripped(
                f"no event of {settings.events!r} has the field {path!r}. Nothing was written. "
                f"Name the right one under [fields.events] in the config file."
            )


def require_bounded(planned: int, limit: str | None, totals: Totals, option: str) -> None:
    """Raise BreakerTripped when the plan is larger than the limit allows."""
    if limit is None:
        return
    most = limit_of(limit, totals.sessions)
    if planned > most:
        raise BreakerTripped(
            f"{planned} of {totals.sessions} sessions are in the plan, {option} {limit} allows "
            f"{most}. Nothing was written. Look at the plan, then raise the limit."
        )
