"""Expiring: what TTL indexes would delete of a plan that no journal holds yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from session_repair.aggregates import BASICS
from session_repair.mongo.spellings import of_json
from session_repair.mongo.store import Store
from session_repair.repair.expiry import Expiry, newly_expired, number_in
from session_repair.rules.envelope import last_text
from session_repair.rules.tokens import milliseconds

Document = dict[str, Any]

MOST_CHARACTERS = 2 * 1024 * 1024  # of the plans in a command, which has room for 16 MB


def count_written(corrected: DataFrame, store: Store, expiry: Expiry) -> int:
    """How many of the sessions get a date by which a TTL index of all sessions deletes them."""
    before = F.unix_millis(F.lit(expiry.before))
    planned = corrected.where("changes IS NOT NULL")
    dates = [new_date(name) for name in expiry.dates_in(store)]
    return sum(planned.where(it < before).count() for it in dates)


def new_date(name: str) -> Column:
    """The date that ``changes`` has of what may be one, in milliseconds."""
    if name in BASICS:
        return F.unix_millis(f"changes.{name}")
    token = F.col(f"changes.more.{name}.token")
    return milliseconds(token, last_text(token))


def count_met(rows: DataFrame, store: Store, expiry: Expiry) -> int:
    """How many sessions the rows have a TTL index of some sessions delete.

    No journal holds them yet, so the server is handed them, some at a time.
    """
    stages = newly_expired(store, expiry, "new")
    if stages is None:
        return 0
    found = 0
    for some in at_once(row["plan"] for row in rows.select("plan").toLocalIterator()):
        plans = [of_json(f'{{"v": {plan}}}') for plan in some]
        handed: list[Document] = [{"$limit": 1}, {"$replaceWith": {"plan": {"$literal": plans}}}]
        asked = [*handed, {"$unwind": "$plan"}, *stages, {"$count": "number"}]
        found += number_in(store.sessions.aggregate(asked))
    return found


def at_once(plans: Iterable[str]) -> Iterator[list[str]]:
    """The plans, as many at a time as fit into a command; at least one."""
    some: list[str] = []
    size = 0
    for plan in plans:
        size += len(plan)
        if some and size > MOST_CHARACTERS:
            yield some
            some, size = [], len(plan)
        some.append(plan)
    if some:
        yield some
