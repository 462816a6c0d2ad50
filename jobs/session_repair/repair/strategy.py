"""Strategy: read all there is, or look up what the verb can act on, or what is active; and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from session_repair.errors import Refused
from session_repair.mongo.indexes import can_look_up, create_index_line
from session_repair.mongo.lookup import needs_all_sessions, suspects_of
from session_repair.mongo.store import Store
from session_repair.mongo.window import ActiveWindow, require_indexes
from session_repair.settings import AUTO, LOOKUP, SCAN, Settings
from session_repair.verbs import DELETE_ORPHANS
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


def choose(store: Store, verb: str, window: ActiveWindow | None) -> Choice:
    """The way to read. Raises Refused where ``--strategy lookup`` was asked for and cannot be."""
    if window is not None:
        if store.settings.strategy == SCAN:
            raise Refused("--since looks up what is active. Leave out --strategy scan.")
        require_indexes(store)
        return Choice(LOOKUP, f"what is active from {window}", window=window)
    if store.settings.strategy == SCAN:
        return Choice(SCAN, "as asked for")
    needs_all = needs_all_sessions(store.settings, verb)
    if needs_all:
        return scan_because(store.settings, needs_all, "Leave out --strategy.")
    for collection, paths in (
        (store.events, store.settings.event_fields),
        (store.sessions, store.settings.session_fields),
    ):
        path = paths["session_id"]
        if not can_look_up(collection, path):
            line = create_index_line(collection, path)
            return scan_because(
                store.settings, f"no index of {collection.name} begins with {path}", line
            )
    if store.settings.session_ids:
        number = len(store.settings.session_ids)
        named = f"{number_of(number, 'session')} {either(number, 'is', 'are')} named"
        return Choice(LOOKUP, named)
    suspects = suspects_of(store.settings, in_both=verb == DELETE_ORPHANS)
    sessions = store.sessions
    number, all_ = sessions.count_documents(suspects), sessions.estimated_document_count()
    found = f"{number} of {number_of(all_, 'session')} {either(number, 'is', 'are')} empty"
    share = number / max(all_, 1)
    if store.settings.strategy == LOOKUP:
        return Choice(LOOKUP, "as asked for", suspects, share)
    if share > MOST_SUSPECTS:
        return Choice(SCAN, f"{found}, too many to look up")
    return Choice(LOOKUP, found, suspects, share)


def scan_because(settings: Settings, reason: str, remedy: str) -> Choice:
    if settings.strategy == AUTO:
        return Choice(SCAN, reason)
    raise Refused(f"--strategy lookup is not possible: {reason}. {remedy}")
