"""Columns: what the connector is told to hand over of a document, as Spark's own text."""

from __future__ import annotations

from collections.abc import Mapping

from session_repair.aggregates import COUNT
from session_repair.settings import Settings

# What the connector hands over: dates as milliseconds, which no time zone or calendar can bend.
SESSION_COLUMNS = """
    key string, user string, session_id string, exact_id string, event_count bigint,
    first_event_at bigint, last_event_at bigint, pages array<string>, size bigint,
    types struct<session_id: string, user_id: string, event_count: string, first_event_at: string,
    last_event_at: string, pages: string, _id: string>, parents array<string>,
    unmarked struct<session_id: string, user_id: string, pages: array<string>, _id: string>,
    exact struct<first_event_at: string, last_event_at: string>
"""
EVENT_COLUMNS = """
    key string, user string, session_id string, exact_id string, timestamp bigint, page string,
    types struct<session_id: string, user_id: string, timestamp: string, page: string>,
    unmarked struct<session_id: string, user_id: string, page: string>
"""


def session_columns(settings: Settings) -> str:
    """SESSION_COLUMNS, and what is declared, as it comes."""
    kinds = {it.name: "array<string>" if it.is_list else "string" for it in settings.aggregates}
    return with_more(SESSION_COLUMNS, kinds)


def event_columns(settings: Settings) -> str:
    """EVENT_COLUMNS, and what is declared, as it comes."""
    read = settings.shape.read
    return with_more(
        EVENT_COLUMNS, {it.name: "bigint" if it.kind == COUNT else "string" for it in read}
    )


def with_more(columns: str, kinds: Mapping[str, str]) -> str:
    more = ", ".join(f"`{name}`: {kind}" for name, kind in kinds.items())
    return f"{columns}, more struct<{more}>" if kinds else columns
