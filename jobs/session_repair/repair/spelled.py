"""Spelled: sessions whose ids events spell in another type. Two ids to MongoDB; or a mistake."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from session_repair.errors import shortened
from session_repair.mongo.spellings import of_json, shown_id, types_of_events
from session_repair.mongo.store import Store
from session_repair.mongo.usual import are_all_plain
from session_repair.repair.report import LISTED, Kept
from session_repair.rules.envelope import HEAD, TAIL
from session_repair.rules.ids import stored_id

ASKED_AT_ONCE = 5_000  # session ids in one query
MOST_ASKED = 20_000  # for a report only: without an index each query reads all events


def spelled_otherwise(
    store: Store, kept: DataFrame, seen: Mapping[str, int], is_all_read: bool
) -> tuple[Kept, ...]:
    """The sessions with findings that events name in another spelling, of the first MOST_ASKED.

    Where all ids are of one plain kind, which is so nearly everywhere, there is none.
    """
    if not seen["enveloped_ids"] and (is_all_read or are_all_plain(store)):
        return ()
    sessions = kept.where("session_key IS NOT NULL AND session_id IS NOT NULL").limit(MOST_ASKED)
    return kept_sessions(named_by_events(store, sessions, but_own=True).values())


def named_by_events(
    store: Store, sessions: DataFrame, but_own: bool
) -> dict[str, tuple[str, Sequence[str]]]:
    """By their keys, those session ids that events name: as people read them, and the types.

    The reading joins by the very id only; the server is asked for all spellings of it.
    """
    path = store.settings.event_fields["session_id"]
    found: dict[str, tuple[str, Sequence[str]]] = {}
    ids = ids_of(sessions)
    while some := dict(islice(ids, ASKED_AT_ONCE)):
        types = types_of_events(store.events, path, some, None, but_own)
        found |= {key: (shown_id(some[key]), sorted(kinds)) for key, kinds in types.items()}
    return found


def ids_of(sessions: DataFrame) -> Iterator[tuple[str, Any]]:
    """The session ids of the rows, each once, by their keys."""
    stored = stored_id(
        F.col("session_id"), F.col("stored.exact_id"), F.col("stored.types.session_id")
    )
    envelope = F.concat(F.lit(HEAD), stored, F.lit(TAIL))
    rows = sessions.groupBy("session_id").agg(F.min(envelope).alias("envelope"))
    for row in rows.toLocalIterator():
        yield row["session_id"], of_json(row["envelope"])


def kept_sessions(named: Iterable[tuple[str, Sequence[str]]]) -> tuple[Kept, ...]:
    """The sessions that are kept, of whose session_ids the types are given."""
    alike = defaultdict(list)
    for session_id, names in named:
        alike[", ".join(names)].append(session_id)
    return tuple(
        Kept(names, len(ids), tuple(shortened(it) for it in sorted(ids)[:LISTED]))
        for names, ids in sorted(alike.items())
    )
