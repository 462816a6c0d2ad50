"""Page: the report as HTML, of reports made by hand."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from session_repair.charts import timeline
from session_repair.page import report_page
from session_repair.report import (
    DELETE_ORPHANS,
    OTHER,
    Correction,
    Day,
    FieldChange,
    Left,
    Outcomes,
    Report,
    Sample,
    Symptoms,
    Totals,
    Verification,
)
from session_repair.symptoms import CODES
from tests.frames import NOW

ROOT = Path(__file__).resolve().parents[1]
VOID = {"meta", "link", "br", "hr", "img", "input"}

SETTINGS = {
    "database": "shop",
    "scope": "empty",
    "settle": "15m",
    "since": None,
    "session_ids": ["a", "b"],
    "session_fields": {"pages": "meta.pages", "user_id": "user_id"},
    "allow_shrink": False,
    "asked": ["scope"],
}


def sample(number: int, stored: str | None, rebuilt: str | None) -> Sample:
    key = f'{{"v": {{"$oid": "68e33b8e7b61f174166a{number:04x}"}}}}'
    return Sample(f"68e33b8e7b61f174166a{number:04x}", key, stored, rebuilt, None)


def symptoms(**found: Symptoms) -> tuple[Symptoms, ...]:
    return tuple(found.get(code, Symptoms(code, 0, 0, 0, ())) for code in CODES)


CLEAN = Report(
    verb="verify",
    run_id="r20251101-120000-abcdef",
    server_time=NOW,
    settings=SETTINGS,
    totals=Totals(45_291, 320_410, 0, 0, 0, 0, 0, 0),
    symptoms=symptoms(),
    corrections=(),
)
EMPTY = replace(CLEAN, totals=Totals(0, 0, 0, 0, 0, 0, 0, 0))
PAGES = '["/home","/category/bags","/product/home/oak-stool","/cart","/checkout/address","/thanks"]'
BROKEN = replace(
    CLEAN,
    totals=Totals(45_291, 320_410, 12_847, 12_847, 12_847, 0, 12_545, 7),
    symptoms=symptoms(
        empty_pages=Symptoms(
            "empty_pages",
            12_552,
            12_545,
            7,
            (sample(1, "[]", '["/home","/account/orders"]'), sample(2, None, PAGES)),
        ),
        zero_events=Symptoms("zero_events", 12_552, 12_545, 7, (sample(1, "0", "12"),)),
        count_mismatch=Symptoms("count_mismatch", 61, 0, 0, (sample(9, "14", "12"),)),
        orphan_session=Symptoms("orphan_session", 302, 0, 0, (sample(3, None, None),)),
        orphan_events=Symptoms(
            "orphan_events", 1, 0, 0, (Sample("68ff", None, None, None, "3 events"),)
        ),
    ),
    corrections=(
        Correction(
            "68e33b8e7b61f174166a0001",
            (
                FieldChange("event_count", "0", "12"),
                FieldChange("pages", "[]", PAGES),
                FieldChange("last_event_at", "2025-10-06T08:00:00.000Z", "2025-10-06T08:14:37.022Z"),
            ),
        ),
    ),
    days=(
        *(
            Day(
                f"{date(2025, 10, 1) + timedelta(days=day)}",
                300 + day * 40 % 370,
                290 + day * 40 % 370,
                {"empty_pages": 290 + day * 40 % 370, "orphan_session": 10},
            )
            for day in range(28)
        ),
        Day(OTHER, 3, 0, {"orphan_session": 3}),
    ),
)
REPAIRED = replace(
    BROKEN,
    verb="fix",
    totals=replace(BROKEN.totals, deferred=0),
    outcomes=Outcomes(12_545, 12_545, 0, 0, 0),
    verification=Verification(45_291, 44_989, 302, 12_545, 0, 0, 0),
)
PARTIAL = replace(
    BROKEN,
    verb="fix",
    outcomes=Outcomes(12_545, 12_540, 3, 1, 1),
    verification=Verification(45_290, 44_983, 307, 12_538, 0, 2, 0),
    left=(
        Left("68e33b8e7b61f174166a0001", "skipped_changed", None),
        Left("68e33b8e7b61f174166a0002", "skipped_gone", None),
        Left("68e33b8e7b61f174166a0003", "failed", "Document failed validation"),
    ),
)
DELETION = replace(
    BROKEN,
    verb=DELETE_ORPHANS,
    totals=replace(BROKEN.totals, planned=302),
    corrections=(),
)
NASTY = (
    "<script>window.hurt = 1</script><img src=x onerror='window.hurt = 1'>"
    "\"'&\x00\x1b[31m\u202egnp.exe\u2066\u200b"
)
LONG = "x" * 1_000_000
SPAN = ("0001-01-01", "1969-12-31", "2025-10-20", "9999-12-31")
HOSTILE = replace(
    PARTIAL,
    run_id=NASTY,
    settings={**SETTINGS, "database": NASTY, "session_fields": {"pages": NASTY}},
    symptoms=symptoms(
        empty_pages=Symptoms(
            "empty_pages",
            3,
            3,
            0,
            (
                Sample(NASTY, NASTY, NASTY, NASTY, NASTY),
                Sample(LONG, LONG, LONG, LONG, LONG),
                Sample("שלום", None, "مرحبا", "Z̸̢̛̗͔̄̀͝a̷͎̓l̶̡̛̝̎g̴o" * 30, None),
            ),
        ),
        duplicate_session=Symptoms(
            "duplicate_session", 1, 0, 0, (Sample(None, NASTY, None, None, NASTY),)
        ),
    ),
    corrections=(Correction(NASTY, (FieldChange("pages", NASTY, LONG),)),),
    days=tuple(Day(day, 1, 1, {"empty_pages": 1}) for day in SPAN),
    left=(Left(NASTY, "failed", NASTY), Left(None, "failed", LONG)),
)
REPORTS = {
    "clean": CLEAN,
    "empty": EMPTY,
    "broken": BROKEN,
    "repaired": REPAIRED,
    "partial": PARTIAL,
    "deletion": DELETION,
    "hostile": HOSTILE,
}
