"""Strategy: read all there is, or look up what the verb can act on, or what is active; and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from session_repair.errors import Refused
from session_repair.mongo.indexes import can_look_up, create_index_line
from session_repair.mongo.lookup import suspects_of
from session_repair.mongo.window import ActiveWindow, require_indexes
from session_repair.repair.report import DELETE_ORPHANS
from session_repair.settings import AUTO, LOOKUP, SCAN, Settings
from session_repair.symptoms import ALL
from session_repair.wording import either, number_of

Document = dict[str, Any]

# Above this share of the sessions, to look up their events costs more than to read all events.
MOST_SUSPECTS = 0.4


@dataclass(frozen=True)
class Choice:
    """How a survey reads.

    A look-up begins with the sessions that the filter ``suspects`` finds, the ``share`` of all, or
    with those that are active in the ``window``.
    """

    strategy: str
    reason: str
    suspects: Document | None = None
    share: float = 1.0
    window: ActiveWindow | None = None

    def __str__(self) -> str:
        return f"Strategy {self.strategy}: {self.reason}"


def choose(
    database: Database[Document], settings: Settings, verb: str, window: ActiveWindow | None
) -> Choice:
    """The way to read. Raises Refused where ``--strategy lookup`` was asked for and cannot be."""
    if window is not None:
        if settings.strategy == SCAN:
            raise Refused("--since looks up what is active. Leave out --strategy scan.")
        require_indexes(database, settings)
        return Choice(LOOKUP, f"what is active from {window}", window=window)
    if settings.strategy == SCAN:
        return Choice(SCAN, "as asked for")
    needs_all = needs_all_sessions(settings, verb)
    if needs_all:
        return scan_because(settings, needs_all, "Leave out --strategy.")
    for name, paths in (
        (settings.events, settings.event_fields),
        (settings.sessions, settings.session_fields),
    ):
        path = paths["session_id"]
        if not can_look_up(database, name, path):
            line = create_index_line(settings.database, name, path)
            return scan_because(settings, f"no index of {name} begins with {path}", line)
    if settings.session_ids:
        number = len(settings.session_ids)
        named = f"{number_of(number, 'session')} {either(number, 'is', 'are')} named"
        return Choice(LOOKUP, named)
    suspects = suspects_of(settings, in_both=verb == DELETE_ORPHANS)
    sessions = database[settings.sessions]
    number, all_ = sessions.count_documents(suspects), sessions.estimated_document_count()
    found = f"{number} of {number_of(all_, 'session')} {either(number, 'is', 'are')} empty"
    share = number / max(all_, 1)
    if settings.strategy == LOOKUP:
        return Choice(LOOKUP, "as asked for", suspects, share)
    if share > MOST_SUSPECTS:
        return Choice(SCAN, f"{found}, too many to look up")
    return Choice(LOOKUP, found, suspects, share)


def may_look_up(settings: Settings, verb: str) -> bool:
    """Whether it can be a look-up, as far as the settings tell."""
    return settings.since is not None or needs_all_sessions(settings, verb) is None


def needs_all_sessions(settings: Settings, verb: str) -> str | None:
    """Why the verb has to read all sessions; None where it need not."""
    if settings.session_ids:
        return None
    if verb == "verify":
        return "verify looks at all sessions"
    if settings.scope == ALL and verb != DELETE_ORPHANS:  # which has no scope
        return "--scope all looks at all sessions"
    return None


def scan_because(settings: Settings, reason: str, remedy: str) -> Choice:
    if settings.strategy == AUTO:
        return Choice(SCAN, reason)
    raise Refused(f"--strategy lookup is not possible: {reason}. {remedy}")
