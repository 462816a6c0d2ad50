"""Strategy: read all there is, or look up what the verb can act on, or what is active; and why."""

from __future__ import annotations

from session_repair.errors import Refused
from session_repair.mongo.empty import EITHER
from session_repair.mongo.indexes import can_look_up, create_index_line
from session_repair.mongo.lookup import count_suspects, needs_all_sessions, suspects_of
from session_repair.mongo.store import Store
from session_repair.mongo.window import ActiveWindow, count_odd_active, require_indexes
from session_repair.repair.changes import CHANGE_OF_VERB
from session_repair.repair.reading import LookUp, LookUpActive, Reading, Scan
from session_repair.settings import AUTO, LOOKUP, SCAN, Settings
from session_repair.wording import either, number_of

# Above this share of the sessions, to look up their events costs more than to read all events.
MOST_SUSPECTS = 0.4


def choose(store: Store, verb: str, window: ActiveWindow | None) -> Reading:
    """The way to read. Raises Refused where ``--strategy lookup`` was asked for and cannot be."""
    if window is not None:
        if store.settings.strategy == SCAN:
            raise Refused("--since looks up what is active. Leave out --strategy scan.")
        require_indexes(store)
        return LookUpActive(window, *count_odd_active(store, window))
    if store.settings.strategy == SCAN:
        return Scan("as asked for")
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
        return Scan(named, LOOKUP)
    in_both = CHANGE_OF_VERB[verb].is_of_empty_in_both
    number, odd, empty = count_suspects(store, in_both)
    all_ = store.sessions.estimated_document_count()
    what = "empty" if in_both or number <= empty[EITHER] else "empty or malformed"
    found = f"{number} of {number_of(all_, 'session')} {either(number, 'is', 'are')} {what}"
    suspects, share = suspects_of(store.settings, in_both), number / max(all_, 1)
    if store.settings.strategy == LOOKUP:
        return LookUp("as asked for", suspects, share, empty, odd)
    if share > MOST_SUSPECTS:
        return Scan(f"{found}, too many to look up")
    return LookUp(found, suspects, share, empty, odd)


def scan_because(settings: Settings, reason: str, remedy: str) -> Reading:
    if settings.strategy == AUTO:
        return Scan(reason)
    raise Refused(f"--strategy lookup is not possible: {reason}. {remedy}")
