"""Two ways to read: by scan and by look-up the same is planned, and what is not known is absent."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from session_repair.mongo import lookup
from session_repair.mongo.connection import connected
from session_repair.repair.strategy import choose
from session_repair.settings import Settings
from tests.e2e.anything import Shop as AnyShop
from tests.e2e.anything import many_shops
from tests.e2e.test_every_value import fill
from tests.harness.commands import Command
from tests.harness.documents import JOURNAL, Document, raw_documents
from tests.harness.epochs import MS, S, config_of, with_numbers
from tests.harness.shop import MORNING, Shop, made_at
from tests.oracle import EXACT, MISSING, id_of, is_right, key_of

pytestmark = pytest.mark.needs("many_runs")

KNOWN = ("empty_pages", "zero_events", "orphan_session")
READ = ("sessions_read", "sessions_malformed", "events_read", "events_malformed")
TOTALS = ("sessions", "names_no_page", "counts_nothing", "potentially_empty", "planned", "deferred")


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Suspects with one session_id stand in one group, and in two."""
    monkeypatch.setattr(lookup, "SUSPECTS_AT_ONCE", 2)


def index(db: Database[Document]) -> None:
    for name in ("sessions", "events"):
        db[name].create_index("session_id")


def plans(db: Database[Document]) -> dict[bytes, bytes]:
    """What the journal wants of each session, to the byte, by the session's _id."""
    rows = [row["plan"] for row in raw_documents(db, JOURNAL)]
    return {key_of(plan["session"]["v"]): plan.raw for plan in rows}


def report_of(command: Command, db: Database[Document], folder: Path, *words: str) -> Document:
    """The JSON of a run of the verb that complains of nothing."""
    verb, *options = words
    file = folder / "report.json"
    ended = command(verb, *options, "--database", db.name, "--json", str(file))
    assert (ended.complaints, ended.code in (0, 3)) == ("", True), ended.err
    report: Document = json.loads(file.read_text())
    return report


def corrections(report: Document) -> dict[str, tuple[int, int]]:
    return {it["code"]: (it["to_correct"], it["deferred"]) for it in report["symptoms"]}


def counts(report: Document) -> dict[str, int | None]:
    return {it["code"]: it["found"] for it in report["symptoms"]}


def told(figures: dict[str, int | None]) -> dict[str, int]:
    """Those that are known."""
    return {name: count for name, count in figures.items() if count is not None}


def samples(report: Document) -> dict[str, Any]:
    """The samples of what both ways know."""
    return {it["code"]: it["samples"] for it in report["symptoms"] if it["code"] in KNOWN}


def of_wrong_type(db: Database[Document]) -> int:
    """How many sessions that can be looked up have pages or a count of a wrong type."""
    sessions = db.get_collection("sessions", EXACT).find()
    found = [it for it in sessions if id_of(it) is not None]
    fields = ("pages", "event_count")
    return sum(not all(is_right(it, one.get(it, MISSING), True) for it in fields) for one in found)


def test_scan_and_look_up_plan_the_same(
    command: Command, db: Database[Document], tmp_path: Path
) -> None:
    plan_both_ways(command, db, tmp_path, many_shops(4))


def test_scan_and_look_up_plan_the_same_where_dates_are_numbers(
    command: Command, db: Database[Document], tmp_path: Path
) -> None:
    shop, file = many_shops(2), tmp_path / "dates.toml"
    sessions = with_numbers(shop.sessions, ["first_event_at", "last_event_at"], S, "double")
    events = with_numbers(shop.events, ["timestamp"], MS, "long")
    file.write_text(config_of(S, MS))
    shop = AnyShop(sessions, events)
    plan_both_ways(command, db, tmp_path, shop, "--config", str(file))


def plan_both_ways(
    command: Command, db: Database[Document], tmp_path: Path, shop: AnyShop, *how: str
) -> None:
    fill(db, shop)
    index(db)
    anything = ("--max-malformed", "100%", *how)
    planning = ("fix", "--plan", *anything, "--strategy")
    reports, planned = [], []
    for strategy in ("scan", "lookup"):
        db.drop_collection(JOURNAL)
        found = report_of(command, db, tmp_path, *planning, strategy)
        assert found["strategy"] == strategy
        reports.append(found)
        planned.append(plans(db))
    scan, lookup = reports
    assert planned[0] == planned[1]
    assert len(planned[0]) == scan["totals"]["planned"] == lookup["totals"]["planned"]
    assert corrections(lookup) == corrections(scan)
    assert lookup["corrections"] == scan["corrections"]
    assert told(lookup["totals"]).keys() == {*TOTALS, *READ}
    assert [lookup["totals"][name] for name in TOTALS] == [scan["totals"][name] for name in TOTALS]
    assert all(lookup["totals"][name] <= scan["totals"][name] for name in READ)
    known = told(counts(lookup))
    # Of the malformed it tells those that it met: all whose pages or count are of a wrong type.
    assert of_wrong_type(db) <= known.pop("malformed", 0) <= (counts(scan)["malformed"] or 0)
    assert known == {code: counts(scan)[code] for code in KNOWN}
    assert samples(lookup) == samples(scan)
    for more in ((), ("--duplicates",)):
        verb = ("delete-orphans", "--max-delete", "100%", *anything, *more)
        by_scan = report_of(command, db, tmp_path, *verb, "--strategy", "scan")
        by_lookup = report_of(command, db, tmp_path, *verb, "--strategy", "lookup")
        assert by_lookup["totals"]["planned"] == by_scan["totals"]["planned"]
        orphans = counts(by_lookup).pop("orphan_session")
        assert orphans == counts(by_scan)["orphan_session"]


@pytest.fixture
def shop(db: Database[Document]) -> Shop:
    """Nine sound sessions, an empty one of two events, and an orphan."""
    made = Shop(db)
    for number in range(9):
        made.session(f"sound {number}", event_count=1, pages=["/home"])
        made.events(f"sound {number}", {0: "/home"})
    made.session("broken")
    made.events("broken", {0: "/home", 1: "/cart"})
    made.session("orphan")
    return made


def test_what_a_look_up_cannot_know_is_absent(
    db: Database[Document], shop: Shop, command: Command, tmp_path: Path
) -> None:
    index(db)
    report = report_of(command, db, tmp_path, "fix")
    assert report["strategy"] == "lookup"
    assert report["totals"] == {
        "sessions": 11,
        "events": None,
        "names_no_page": 2,
        "counts_nothing": 2,
        "potentially_empty": 2,
        "events_without_session": None,
        "planned": 1,
        "deferred": 0,
        "filled_without_events": None,
        "sessions_read": 2,
        "sessions_malformed": 0,
        "events_read": 2,
        "events_malformed": 0,
    }
    assert {code: count for code, count in counts(report).items() if count is not None} == {
        "empty_pages": 1,
        "zero_events": 1,
        "orphan_session": 1,
    }


def way(uri: str, db: Database[Document], verb: str, **options: Any) -> str:
    """The way in which the verb would read, and why, as it says so before it starts Spark."""
    with connected(Settings(uri=uri, database=db.name, **options)) as store:
        reading = choose(store, verb, None)
    return f"{reading.strategy}: {reading.reason}"


def test_all_is_read_where_all_is_wanted(
    db: Database[Document], shop: Shop, mongo_uri: str
) -> None:
    index(db)
    assert way(mongo_uri, db, "verify") == "scan: verify looks at all sessions"
    every = way(mongo_uri, db, "fix", scope="all")
    assert every == "scan: --scope all looks at all sessions"
    assert way(mongo_uri, db, "fix", strategy="scan") == "scan: as asked for"


def test_a_scope_in_the_config_file_is_none_of_a_deletion(
    db: Database[Document], shop: Shop, command: Command, tmp_path: Path
) -> None:
    index(db)
    (tmp_path / "all.toml").write_text('scope = "all"\n')
    ended = command("delete-orphans", "--config", str(tmp_path / "all.toml"), on=db)
    assert (ended.code, ended.err) == (0, "Strategy lookup: 2 of 11 sessions are empty\n")


def test_the_way_to_read_follows_from_indexes_and_the_number_of_suspects(
    db: Database[Document], shop: Shop, mongo_uri: str
) -> None:
    def told(**options: Any) -> str:
        return way(mongo_uri, db, "fix", **options)

    assert told() == "scan: no index of events begins with session_id"
    db["events"].create_index("session_id")
    assert told() == "scan: no index of sessions begins with session_id"
    db["sessions"].create_index("session_id")
    assert told() == "lookup: 2 of 11 sessions are empty"
    for number in range(6):
        shop.session(f"more {number}")
    assert told() == "scan: 8 of 17 sessions are empty, too many to look up"
    assert told(session_ids=("broken",)) == "lookup: 1 session is named"


def test_a_run_for_one_session_says_nothing_of_the_others_and_names_one_that_is_not_there(
    db: Database[Document], shop: Shop, command: Command
) -> None:
    for number in range(4):
        shop.session(f"more {number}")
        shop.events(f"more {number}", {0: "/home"})
    fixed = command("fix", "--apply", "--session-id", "broken", on=db)
    assert (fixed.code, fixed.complaints) == (0, "")
    assert fixed.out.endswith(
        "✅ Fixed 1 session\nℹ️  Found 0 orphan sessions (no events)\n" + "=" * 60 + "\n\n"
        "=== Verification ===\n"
        "Read back as planned: 1\n\n"
        "✅ All fixable sessions in this scope (--scope empty, --session-id broken) have been "
        "fixed!\n"
    )
    for words in (("verify",), ("fix", "--apply")):
        ended = command(*words, "--session-id", "brokn", on=db)
        assert ended.out.endswith("⚠️  No session has the id that --session-id names: brokn\n")
        assert "✅ All" not in ended.out


@pytest.mark.parametrize(
    "options",
    [
        {"hidden": True},
        {"partialFilterExpression": {"page": {"$exists": True}}},
        {"collation": {"locale": "en", "strength": 2}},
    ],
)
def test_an_index_that_may_find_other_events_is_not_used(
    db: Database[Document], shop: Shop, command: Command, options: dict[str, Any]
) -> None:
    db["sessions"].create_index([("session_id", 1), ("client_id", 1)])
    db["events"].create_index("session_id", **options)
    db["events"].create_index([("timestamp", 1), ("session_id", 1)])
    ended = command("fix", "--database", db.name, "--strategy", "lookup")
    line = f'db.getSiblingDB("{db.name}").getCollection("events").createIndex({{"session_id": 1}})'
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "fix: --strategy lookup is not possible: no index of events begins with session_id. "
        f"{line}\n"
    )


def test_an_index_that_is_still_being_built_is_not_used(
    db: Database[Document], shop: Shop, command: Command
) -> None:
    """The server lists it, and would scan the events once for each session."""
    db["sessions"].create_index("session_id")
    admin, point = db.client.admin, "hangAfterStartingIndexBuild"
    entered = admin.command("configureFailPoint", point, mode="alwaysOn")["count"]
    building = Thread(target=db["events"].create_index, args=["session_id"])
    building.start()
    try:
        admin.command("waitForFailPoint", point, timesEntered=entered + 1, maxTimeMS=60_000)
        assert "session_id_1" in db["events"].index_information()
        ended = command("fix", "--database", db.name, "--strategy", "lookup")
    finally:
        admin.command("configureFailPoint", point, mode="off")
        building.join()
    assert (ended.code, ended.out) == (2, "")
    assert "no index of events begins with session_id" in ended.err


@pytest.mark.parametrize("words", [("verify",), ("fix", "--scope", "all")])
def test_a_look_up_of_all_there_is_is_refused(
    db: Database[Document], shop: Shop, command: Command, words: tuple[str, ...]
) -> None:
    index(db)
    ended = command(*words, "--database", db.name, "--strategy", "lookup")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"{words[0]}: --strategy lookup is not possible: ")


def test_two_empty_copies_bring_their_events_once(
    db: Database[Document], command: Command, tmp_path: Path
) -> None:
    shop = Shop(db)
    name = "68f0000000000000000000aa"
    first, _second = shop.session(name), shop.session(name)
    shop.events(name, {0: "/home", 1: "/cart"})
    index(db)
    ended = command("fix", "--database", db.name, "--apply", "--strategy", "lookup")
    assert (ended.code, ended.complaints) == (0, "")
    fixed = db["sessions"].find_one({"event_count": {"$gt": 0}})
    assert fixed is not None
    assert (fixed["_id"], fixed["event_count"]) == (first["_id"], 2)
    assert db["sessions"].count_documents({"event_count": 0}) == 1


def test_an_array_that_holds_the_session_id_is_nobodys(
    db: Database[Document], command: Command
) -> None:
    """A look-up of a string finds the arrays that hold it, in sessions and in events."""
    shop = Shop(db)
    orphan = shop.session("a")
    copy = {**orphan, "_id": made_at(MORNING, 77), "session_id": ["a"]}
    db["sessions"].insert_one(copy)
    db["events"].insert_one({"_id": ObjectId(), "session_id": ["a"], "timestamp": MORNING})
    shop.events("b", {0: "/home"})
    index(db)
    for strategy in ("scan", "lookup"):
        ended = command("delete-orphans", "--database", db.name, "--strategy", strategy)
        assert (ended.code, ended.complaints) == (0, "")
        assert "Found 1 orphan session (no events)" in ended.out
