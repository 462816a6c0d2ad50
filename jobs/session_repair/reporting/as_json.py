"""As JSON: what programs are told, moments in UTC as ISO 8601 and _ids as extended JSON.

Run documents hold _ids as text: of any value, also one that BSON would not keep in a report.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from bson import DatetimeMS, json_util

from session_repair.kinds import instant_of
from session_repair.reporting.formatting import HEAD, TAIL
from session_repair.wording import iso

Document = dict[str, Any]

OBJECT_ID_DIGITS = 24
KEYS = ("session_key", "canonical_key")


def json_told(value: Any, *, is_ascii: bool = True) -> str:
    """The value as JSON; a moment in it is ISO 8601, any other value extended JSON."""
    return seen(json.dumps(value, indent=2, default=value_told, ensure_ascii=is_ascii))


def seen(text: str) -> str:
    """The same JSON; control and formatting characters in it are escaped."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1]
        for letter in text
    )


def value_told(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    return json_util.default(value, json_util.RELAXED_JSON_OPTIONS)


def document_told(document: Document) -> Document:
    """The document of a run, whichever version made it."""
    parts: Document = {
        it: settings_told(document[it]) for it in ("settings", "asked") if it in document
    }
    if report := document.get("report"):
        parts["report"] = report_told(report)
    return {**document, **parts}


def report_told(report: Document) -> Document:
    """A report, as its run's document or asdict has it."""
    samples_told: dict[str, Callable[[Any], Any]] = {"symptoms": keys_told, "malformed": id_told}
    parts = {
        name: [{**it, "samples": [*map(told, it.get("samples", ()))]} for it in report[name]]
        for name, told in samples_told.items()
        if name in report
    }
    parts["deletions"] = [*map(keys_told, report.get("deletions", ()))]
    return {**report, **parts, "settings": settings_told(report.get("settings", {}))}


def keys_told(named: Document) -> Document:
    """What names documents by their _ids."""
    keys = {name: named[name] for name in KEYS if named.get(name)}
    told = {name: id_told(it.removeprefix(HEAD).removesuffix(TAIL)) for name, it in keys.items()}
    return {**named, **told}


def settings_told(settings: Document) -> Document:
    """Described settings: the one that is a moment like all moments."""
    until = settings.get("until")
    return {**settings, "until": iso(instant_of(until))} if until else settings


def id_told(text: str) -> Any:
    """The value of which this is the text: an ObjectId's digits, any other's extended JSON.

    What is no whole text of a value, as it was too long, stays text.
    """
    if len(text) == OBJECT_ID_DIGITS and not set(text) - set("0123456789abcdef"):
        return {"$oid": text}
    try:
        return json.loads(text)
    except ValueError:
        return text


def with_iso_dates(value: Any) -> Any:
    """The value; dates in it as extended JSON has them for people, of the years 1970 to 9999."""
    if isinstance(value, dict):
        return {name: with_iso_dates(it) for name, it in value.items()}
    if isinstance(value, list):
        return [with_iso_dates(it) for it in value]
    if isinstance(value, datetime | DatetimeMS):
        return json_util.default(value, json_util.RELAXED_JSON_OPTIONS)
    return value
