"""As JSON: moments are ISO 8601 in UTC, _ids are the values of which a report holds the text."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId, json_util

from session_repair.errors import shortened
from session_repair.mongo.bson_types import UNREADABLE
from session_repair.reporting.as_json import document_told, id_told, json_told
from session_repair.reporting.ndjson import row_line

NOON = datetime(2025, 11, 3, 12, 0, 0, 123000, tzinfo=timezone.utc)
OID = ObjectId("68e33b8e7b61f174166aa2d1")


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (OID, {"$oid": "68e33b8e7b61f174166aa2d1"}),
        ("68e33b8e7b61f174166aa2d1", "68e33b8e7b61f174166aa2d1"),
        ("a\\é", "a\\é"),
        (7, {"$numberInt": "7"}),
        (Int64(7), {"$numberLong": "7"}),
        (True, True),
        (Decimal128("1.50"), {"$numberDecimal": "1.50"}),
        (
            Binary(b"\0" * 16, 4),
            {"$binary": {"base64": "AAAAAAAAAAAAAAAAAAAAAA==", "subType": "04"}},
        ),
        ({"a": [1]}, {"a": [{"$numberInt": "1"}]}),
    ],
)
def test_an_id_is_the_value_of_which_it_is_the_text(key: Any, told: Any) -> None:
    text = json_util.dumps(key, json_options=json_util.CANONICAL_JSON_OPTIONS)
    report = {
        "symptoms": [
            {"code": "empty_pages", "samples": [sample(f'{{"v": {text}}}'), sample(None)]}
        ],
        "malformed": [{"field": "pages", "samples": [str(key) if key is OID else text]}],
        "kept": [{"types": "int", "samples": ["7"]}],
        "deletions": [{**sample(f'{{"v": {text}}}'), "canonical_key": f'{{"v": {text}}}'}],
    }
    of_run = document_told({"_id": "r1", "report": report})["report"]
    assert [it["session_key"] for it in of_run["symptoms"][0]["samples"]] == [told, None]
    assert of_run["malformed"] == [{"field": "pages", "samples": [told]}]
    assert of_run["deletions"] == [{**sample(told), "canonical_key": told}]
    assert of_run["kept"] == report["kept"]  # by their session_ids


def sample(key: Any) -> dict[str, Any]:
    return {"session_id": "s", "session_key": key}


@pytest.mark.parametrize("text", [shortened(f'"{"x" * 600}"'), UNREADABLE])
def test_what_is_no_whole_text_of_an_id_stays_text(text: str) -> None:
    assert id_told(text) == text


def test_every_moment_is_utc() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=7)))
    document = {
        "started_at": NOON,
        "window": {"since": elsewhere},
        "settings": {"until": "2025-11-03T00:00:00+00:00", "since": "7d"},
        "asked": {"until": None},
    }
    assert json.loads(json_told(document_told(document))) == {
        "started_at": "2025-11-03T12:00:00.123Z",
        "window": {"since": "2025-11-03T12:00:00.123Z"},
        "settings": {"until": "2025-11-03T00:00:00.000Z", "since": "7d"},
        "asked": {"until": None},
    }


def test_the_dates_of_a_row_are_read_as_they_were() -> None:
    dates = [DatetimeMS(0), DatetimeMS(1762171200123), DatetimeMS(-1), DatetimeMS(253402300800000)]
    row = {
        "plan": {"session": {"v": OID}, "session_id": "s", "new": {"dates": dates, "n": Int64(1)}},
        "outcome": "applied",
    }
    line = row_line(row)
    assert json.loads(line)["new"] == {
        "dates": [
            {"$date": "1970-01-01T00:00:00Z"},
            {"$date": "2025-11-03T12:00:00.123Z"},
            {"$date": {"$numberLong": "-1"}},
            {"$date": {"$numberLong": "253402300800000"}},
        ],
        "n": {"$numberLong": "1"},
    }


def test_what_cannot_be_seen_is_escaped_for_people_and_stays_the_same_json() -> None:
    text = "tab\t \x9b\u202e é"
    row = {"outcome": "applied", "plan": {"session": {"v": text}, "session_id": text}}
    for told, of_run in (
        (json_told({"session_id": text}, is_ascii=False), True),
        (row_line(row), False),
    ):
        assert r"tab\t \u009b\u202e é" in told
        assert [it for it in told if not it.isprintable() and not (of_run and it == "\n")] == []
        assert json.loads(told)["session_id"] == text
