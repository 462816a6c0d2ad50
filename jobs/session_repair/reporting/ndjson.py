"""Rows: what ``runs RUN --rows`` prints of each session, in a line for a program to read.

Values of documents are extended JSON in its canonical form: int and long, date and text, null and
absent stay apart.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from bson import json_util

Document = dict[str, Any]

FORMATS = NDJSON, CSV = "ndjson", "csv"
TEXT = ("session_id", "outcome", "error")
COLUMNS = ("_id", *TEXT, "findings", "observed", "new", "before")


def told_row(row: Document) -> Document:
    """The _id and session_id of the session, what became of it, and the fields old and new.

    ``before`` is the whole document that was deleted. What a row does not have is absent.
    """
    plan = row["plan"]
    held = plan["session"]  # a text in its place says that its value cannot be read
    told = {
        "_id": held["v"] if isinstance(held, dict) else held,
        "session_id": plan["session_id"],
        **{name: row.get(name) for name in ("outcome", "error")},
        **{name: plan.get(name) for name in ("findings", "observed", "new")},
        "before": row.get("before"),
    }
    return {name: value for name, value in told.items() if name == "_id" or value is not None}


def row_lines(rows: Iterable[Document], form: str) -> Iterator[str]:
    """A line for each row; before those of CSV, one with the names of the columns."""
    if form == CSV:
        yield csv_line(COLUMNS)
    for row in rows:
        told = told_row(row)
        yield csv_line(cells(told)) if form == CSV else extended(told)


def cells(told: Document) -> Iterator[str]:
    for name in COLUMNS:
        if name not in told:
            yield ""
        elif name == "findings":
            yield " ".join(told[name])
        else:
            yield told[name] if name in TEXT else extended(told[name])


def csv_line(values: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def extended(value: Any) -> str:
    return json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS, ensure_ascii=False)
