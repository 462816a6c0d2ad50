"""Rows: what ``runs RUN --rows`` prints of each session, in a line for a program to read.

Values of documents are extended JSON in its canonical form, but for dates, which are ISO 8601: int
and long, date and text, null and absent stay apart.
"""

from __future__ import annotations

from typing import Any

from bson import json_util

from session_repair.reporting.as_json import seen, with_iso_dates


def row_line(row: dict[str, Any]) -> str:
    """The _id and session_id of the session, what became of it, and the fields old and new.

    ``before`` is the whole document that was deleted. What a row does not have is absent.
    """
    plan = row["plan"]
    held = plan["session"]  # a text in its place says that its value cannot be read
    told = {
        "session_id": plan["session_id"],
        **{name: row.get(name) for name in ("outcome", "error")},
        **{name: plan.get(name) for name in ("findings", "observed", "new")},
        "before": row.get("before"),
    }
    known = {name: value for name, value in told.items() if value is not None}
    text = json_util.dumps(
        with_iso_dates({"_id": held["v"] if isinstance(held, dict) else held, **known}),
        json_options=json_util.CANONICAL_JSON_OPTIONS,
        ensure_ascii=False,
    )
    return seen(text)
