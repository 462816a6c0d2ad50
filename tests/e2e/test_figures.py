"""Figures: each says what it counts, the same in every place, and they add up.

A database of all that is counted twice or for another thing easily.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas
import pytest
from bson import Decimal128
from pymongo.database import Database

from session_repair.health.counts import count_empty
from session_repair.mongo.connection import connected
from session_repair.reasons import REASONS
from session_repair.settings import Settings
from tests.harness.commands import Command, Ended
from tests.harness.documents import Document, joined, put_in_place
from tests.harness.shop import Shop
from tests.unit.test_page import left_rows

pytestmark = pytest.mark.needs("many_runs")

# Neither empty nor filled: of sessions whose other field is as given.
ODD_COUNTS = (7.0, "9", Decimal128("4"), 0.0, -0.0, float("nan"), Decimal128("0"), [0], [None])
ODD_PAGES: tuple[Any, ...] = ("/home", [None, "/a"], [[]], [[], "/a"], {})


@dataclass(frozen=True)
class Figures:
    """What the verbs said of it, one after the other: verify, two dry runs, fix --apply."""

    ended: dict[str, Ended]
    json: dict[str, Document]
    folder: Path
    empty_before: int | None
    empty_after: int | None

    def totals(self, name: str, *keys: str) -> list[int | None]:
        return [self.json[name]["totals"][key] for key in keys]

    def found(self, name: str, code: str) -> int | None:
        return {it["code"]: it["found"] for it in self.json[name]["symptoms"]}[code]

    def summary(self, name: str) -> pandas.DataFrame:
        rows = pandas.read_parquet(self.folder / "report" / "summary")
        return rows[rows["run_id"].astype(str) == self.json[name]["run_id"]]


def fill(db: Database[Document]) -> None:
    shop = Shop(db)
    for number in range(15):  # empty, with an event each
        shop.session(f"empty {number}")
        shop.events(f"empty {number}", {number: "/a"})
    for number in range(20):
        shop.session(f"sound {number}", event_count=1, pages=["/a"])
        shop.events(f"sound {number}", {0: "/a"})
    for number, count in enumerate(ODD_COUNTS):  # one in two of them has no page either
        shop.session(f"count {number}", event_count=count, pages=["/a"] * (number % 2))
        shop.events(f"count {number}", {0: "/a"})
    for number, pages in enumerate(ODD_PAGES):
        shop.session(f"pages {number}", event_count=number % 2, pages=pages)
        shop.events(f"pages {number}", {0: "/a"})
    twice: tuple[tuple[Document, Document], ...] = (
        ({"event_count": 0}, {"event_count": 3}),
        ({"pages": ["/a"]}, {"pages": []}),
    )
    for values in twice:
        filled = shop.session("twice", event_count=1, pages=["/a"])
        other = {name: it for name, it in filled.items() if name not in values[0]}
        name = f"{', '.join(values[0])} twice"
        put_in_place(db, filled["_id"], joined({**other, "session_id": name}, *values))
    shop.session(None, event_count=0, pages=["/a"])
    shop.session("orphan")
    for number in range(3):
        shop.session(f"phantom {number}", event_count=2, pages=["/a"])
    shop.session("phantom without a count", pages=["/a"])
    shop.session("no page", event_count=1)
    shop.events("no page", {0: None})
    shop.events("lost", {0: "/a", 1: "/b"})
    shop.events("lost", {2: 5})  # type: ignore[dict-item]
    shop.events("lost too", {0: "/a"})
    shop.events(None, {0: "/a", 1: "/b"})
    for name in ("sessions", "events"):
        db[name].create_index("session_id")


# 58 sessions. Without a page: 15, of the odd counts five, the orphan, and "no page".
SESSIONS, WITHOUT_PAGE = 15 + 20 + 9 + 5 + 2 + 1 + 1 + 3 + 1 + 1, 15 + 5 + 1 + 1
# Without a count: 15, of the odd pages three, the one without a session_id, the orphan, a phantom.
WITHOUT_COUNT = 15 + 3 + 1 + 1 + 1
EMPTY = 15 + 5 + 3 + 1 + 1 + 1 + 1
MALFORMED, UNTOLD = 9 + 5 + 2 + 1, 4 + 2 + 2  # of these the others are malformed in the other field
AFTER = EMPTY - 15


@pytest.fixture(scope="module")
def figures(
    module_db: Database[Document],
    command: Command,
    mongo_uri: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Figures:
    folder = tmp_path_factory.mktemp("figures")
    fill(module_db)
    ended, told = {}, {}

    def act(name: str, verb: str, *options: str) -> None:
        file = folder / f"{name}.json"
        options = (*options, "--json", str(file), "--max-malformed", "100%")
        ended[name] = command(verb, *options, on=module_db)
        told[name] = json.loads(file.read_text())

    def empty_now() -> int | None:
        with connected(Settings(uri=mongo_uri, database=module_db.name)) as store:
            return count_empty(store, timedelta(minutes=1)).count

    report = ("--report", f"{folder}/report")
    pages = ("--html", f"{folder}/page.html", "--metrics", f"{folder}/metrics")
    before = empty_now()
    odd = ("--max-malformed", "100%")
    act("verify", "verify", *odd, *report, *pages)
    act("scan", "fix", *odd, "--strategy", "scan")
    act("lookup", "fix", *odd, "--strategy", "lookup", *report)
    act("fix", "fix", *odd, "--strategy", "scan", "--apply")
    return Figures(ended, told, folder, before, empty_now())


def test_no_verb_complains(figures: Figures) -> None:
    assert {name: (it.code, it.complaints) for name, it in figures.ended.items()} == {
        "verify": (3, ""),
        "scan": (3, ""),
        "lookup": (3, ""),
        "fix": (0, ""),
    }


@pytest.mark.parametrize("name", ["verify", "scan", "lookup"])
def test_what_is_of_a_wrong_type_is_neither_empty_nor_filled_by_either_way(
    figures: Figures, name: str
) -> None:
    keys = ("sessions", "names_no_page", "counts_nothing", "potentially_empty", "planned")
    assert figures.totals(name, *keys) == [SESSIONS, WITHOUT_PAGE, WITHOUT_COUNT, EMPTY, 15]
    # Where a field stands twice, and the other is not empty, a look-up does not look.
    assert figures.found(name, "malformed") == MALFORMED - (name == "lookup")


def test_health_counts_the_same_before_and_after(figures: Figures) -> None:
    assert (figures.empty_before, figures.empty_after) == (EMPTY, AFTER)


def test_either_way_says_how_many_malformed_it_met(figures: Figures) -> None:
    for name, met in (("lookup", MALFORMED - 1), ("scan", MALFORMED)):
        assert f"\n  {met:>6}  malformed  a wrong type, or too large" in figures.ended[name].out


def test_the_closing_lines_add_up(figures: Figures) -> None:
    with_events = 20 + 15
    lines = figures.ended["fix"].out.partition("=== Verification ===\n")[2].splitlines()
    assert lines[:5] == [
        f"Total sessions: {SESSIONS}",
        f"Sessions with events: {with_events}",
        "Filled sessions without events: 3",
        f"Sessions malformed in pages or count: {UNTOLD}",
        f"Empty sessions remaining: {AFTER}",
    ]
    assert with_events + 3 + UNTOLD + AFTER == SESSIONS
    verification = figures.json["fix"]["verification"]
    assert {name: verification[name] for name in ("with_events", "filled_without_events")} == {
        "with_events": with_events,
        "filled_without_events": 3,
    }
    assert figures.totals("lookup", "filled_without_events") == [None]


def test_events_without_a_session_are_told_by_id_and_by_event_and_are_no_sessions(
    figures: Figures,
) -> None:
    shown = figures.ended["verify"].out
    assert "  ⚠️  3 session ids have events but no session: 6 events\n" in shown
    assert "orphan_events  lost  3 events, event page: int\n" in shown
    assert "1 of events: page is int, as in " in shown
    assert figures.found("verify", "orphan_events") == 3
    assert figures.totals("verify", "events_without_session") == [6]
    assert sum(day["sessions"] for day in figures.json["verify"]["days"]) == (
        SESSIONS - 21  # twenty are sound, and "no page"
    )
    assert sum(day["found"].get("orphan_events", 0) for day in figures.json["verify"]["days"]) == 3
    page = (figures.folder / "page.html").read_text("utf-8")
    assert "No session has the 3 session ids of 6 events." in page
    left = {
        (it["code"], REASONS[why].why, REASONS[why].remedy or "no option"): count
        for it in figures.json["verify"]["symptoms"]
        for why, count in it["left"].items()
    }
    assert left_rows(page) == left
    assert len(left) > 3
    metrics = (figures.folder / "metrics").read_text("utf-8")
    assert re.findall(r"^session_repair_events_without_session\{.*\} (.*)$", metrics, re.M) == [
        "6.0"
    ]
    rows = pandas.read_parquet(figures.folder / "report" / "findings")
    rows = rows[rows["run_id"].astype(str) == figures.json["verify"]["run_id"]]
    assert dict(rows[rows["session"].isna()]["code"].value_counts()) == {"orphan_events": 3}


def test_what_a_look_up_did_not_read_is_null_in_the_summary(figures: Figures) -> None:
    of_scan, of_lookup = (figures.summary(name) for name in ("verify", "lookup"))
    unknown = set(of_lookup[of_lookup["value"].isna()]["metric"])
    assert set(of_lookup["metric"]) == set(of_scan["metric"])
    assert {it for it in unknown if not it.startswith("found.")} == {
        "events",
        "events_without_session",
        "filled_without_events",
    }
    told = {it["code"]: it["found"] for it in figures.json["lookup"]["symptoms"]}
    assert {it for it in unknown if it.startswith("found.")} == {
        f"found.{code}" for code, count in told.items() if count is None
    }
    assert of_scan["value"].notna().all()


@pytest.mark.parametrize("name", ["verify", "lookup"])
def test_the_summary_says_of_which_database_and_how_it_was_read(
    figures: Figures, module_db: Database[Document], name: str
) -> None:
    rows = figures.summary(name)
    strategy = "lookup" if name == "lookup" else "scan"
    told: dict[str, Any] = {it: set(rows[it]) for it in ("database", "scope", "strategy", "names")}
    (names,) = told.pop("names")
    assert told == {"database": {module_db.name}, "scope": {"empty"}, "strategy": {strategy}}
    settings = figures.json[name]["settings"]
    assert json.loads(names) == {
        it: settings[it] for it in ("sessions", "events", "session_fields", "event_fields")
    }
