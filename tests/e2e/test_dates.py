"""Dates as epoch numbers: found, repaired in their unit and type, found no more, and undone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64

from tests.harness.commands import Command, reported
from tests.harness.documents import Db, Document, stored_bytes
from tests.harness.epochs import (
    MS,
    S,
    config_of,
    counted,
    milliseconds,
    number,
    type_of,
)
from tests.harness.runs import last_run
from tests.harness.shop import MORNING, Shop, minute

pytestmark = pytest.mark.needs("many_runs")

TICK = timedelta(milliseconds=123)
ALL = ("--scope", "all")
DATED = ("first_event_at", "last_event_at")


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """``config(SESSIONS, EVENTS)``: the option that says how each side keeps its dates."""

    def made(sessions: str, events: str, more: str = "") -> tuple[str, str]:
        file = tmp_path / f"{sessions}-{events}.toml"
        file.write_text(more + config_of(sessions, events))
        return "--config", str(file)

    return made


def fill(db: Db, sessions: Callable[[datetime], Any], events: Callable[[datetime], Any]) -> None:
    """Sessions with three events each: sound ones, empty ones, and some whose dates are wrong."""
    shop = Shop(db)
    right = {"event_count": 3, "pages": ["/a", "/b", "/c"]}
    right |= {"first_event_at": sessions(minute(0) + TICK)}
    right |= {"last_event_at": sessions(minute(2) + TICK)}
    shops: dict[str, Document] = {
        **{f"sound {n}": right for n in range(9)},
        "empty": {"first_event_at": sessions(MORNING), "last_event_at": sessions(MORNING)},
        "null": {"first_event_at": None, "last_event_at": None},
        "late": {**right, "first_event_at": sessions(minute(1) + TICK)},
        "early": {**right, "last_event_at": sessions(minute(1) + TICK)},
        "of another type": {**right, "first_event_at": Int64(5), "last_event_at": 5.5},
        "of a third": {**right, "first_event_at": Decimal128("5.0"), "last_event_at": 7},
        "nearly": {**right, "last_event_at": sessions(minute(2) + TICK + timedelta(seconds=1))},
        "expired": {**right, "event_count": 9, "first_event_at": sessions(minute(1) + TICK)},
    }
    for name, fields in shops.items():
        shop.session(name, **fields)
        shop.events(name, {0: "/a", 1: "/b", 2: "/c"})
    bare = shop.session("bare")
    shop.events("bare", {0: "/a", 1: "/b", 2: "/c"})
    db["sessions"].update_one({"_id": bare["_id"]}, {"$unset": dict.fromkeys(DATED, "")})
    for event in db["events"].find():
        moment = event["timestamp"] + TICK
        db["events"].update_one({"_id": event["_id"]}, {"$set": {"timestamp": events(moment)}})


def repaired(session: Document, events: list[Document], units: tuple[str, str], usual: str) -> Any:
    """The session with the figures of its events, its dates in its own unit and types."""
    should = sorted(milliseconds(it["timestamp"], units[1]) for it in events)
    new: Document = {}
    has_expired = (session["event_count"] or 0) > len(events)
    for name, instant in zip(DATED, (should[0], should[-1]), strict=True):
        stored = session.get(name)
        kind = type_of(stored) or usual
        value = number(instant, units[0], kind)
        kept, own = milliseconds(value, units[0]), milliseconds(stored or 0, units[0])
        is_wider = kept < own if name == DATED[0] else kept > own
        if stored is None or (kept != own and (is_wider or not has_expired)):
            new[name] = value
    if not session["event_count"]:
        new |= {"event_count": 3, "pages": ["/a", "/b", "/c"]}
    return {**session, **dict(sorted(new.items()))}


def expected(db: Db, units: tuple[str, str], usual: str) -> dict[Any, bytes]:
    return {
        it["_id"]: bson.encode(
            repaired(it, list(db["events"].find({"session_id": it["session_id"]})), units, usual)
        )
        for it in db["sessions"].find()
    }


KINDS = [(MS, "long"), (MS, "double"), (S, "int"), (S, "double"), (S, "decimal")]


@pytest.mark.parametrize(("unit", "kind"), KINDS)
def test_numbers_are_repaired_in_their_unit_and_type_and_undone_to_the_byte(
    command: Command, db: Db, config: Any, unit: str, kind: str
) -> None:
    fill(db, counted(unit, kind), counted(unit, kind))
    before, right = stored_bytes(db), expected(db, (unit, unit), kind)
    changed = [key for key in before if before[key] != right[key]]
    assert len(changed) == 9
    how = config(unit, unit)

    code, report = reported(command, "fix", "--apply", *ALL, *how, on=db)
    assert (code, report["outcomes"]["applied"], report["malformed"]) == (0, len(changed), [])
    assert stored_bytes(db) == right

    code, report = reported(command, "verify", *ALL, *how, on=db)
    left = {it["code"]: it["found"] for it in report["symptoms"] if it["found"]}
    assert (code, left) == (0, {"count_mismatch": 1})  # never lowered
    undone = command("undo", last_run(db)["_id"], "--apply", *how, on=db)
    assert (undone.code, stored_bytes(db)) == (0, before)


SIDES = [("date", MS), (MS, S), (S, MS), (S, "date"), (MS, "date")]


def dates_as(dates: str, kind: str) -> Callable[[datetime], Any]:
    return (lambda moment: moment) if dates == "date" else counted(dates, kind)


@pytest.mark.parametrize(("sessions", "events"), SIDES)
def test_each_side_keeps_its_dates_as_it_does(
    command: Command, db: Db, config: Any, sessions: str, events: str
) -> None:
    """A rebuilt date of finer parts than a session can hold is the second that has begun."""
    kind = {"date": "date", MS: "double", S: "int"}[sessions]
    shop = Shop(db)
    shop.session("empty", first_event_at=None, last_event_at=None)
    keep = dates_as(sessions, kind)
    shop.session("sound", first_event_at=keep(minute(0) + TICK), last_event_at=keep(minute(1)))
    for name in ("empty", "sound"):
        shop.events(name, {0: "/a"}, timestamp=dates_as(events, "double")(minute(0) + TICK))
        shop.events(name, {1: "/b"}, timestamp=dates_as(events, "long")(minute(1)))
    filled = {"event_count": 2, "pages": ["/a", "/b"]}
    db["sessions"].update_one({"session_id": "sound"}, {"$set": filled})
    before, how = stored_bytes(db), config(sessions, events)

    assert command("fix", "--apply", *ALL, *how, on=db).code == 0
    dates = (keep(minute(0) + TICK), keep(minute(1)))
    for found in db["sessions"].find():
        kept = tuple(found[name] for name in DATED)
        assert (kept, [type(it) for it in kept]) == (dates, [type(it) for it in dates])
    assert command("verify", *ALL, *how, on=db).code == 0
    assert command("undo", last_run(db)["_id"], "--apply", *how, on=db).code == 0
    assert stored_bytes(db) == before


PARTS = [1760947200.1234567, 1760947200.0005, -0.0, 1760947260.9999999]


@pytest.mark.parametrize("strategy", ["scan", "lookup"])
def test_parts_of_a_millisecond_are_observed_to_the_byte(
    command: Command, db: Db, config: Any, strategy: str
) -> None:
    """As ``time.time()`` writes them; and no reason to correct a date."""
    shop = Shop(db)
    for name, first in zip("abcd", PARTS, strict=True):
        shop.session(name, first_event_at=first, last_event_at=first)
        shop.events(name, {0: "/a"}, timestamp=first)
        shop.events(name, {1: None}, timestamp=1760947300.7658765)
    for collection in ("sessions", "events"):
        db[collection].create_index("session_id")
    before, how = stored_bytes(db), config(S, S)

    words = ("fix", "--apply", "--strategy", strategy, "--settle", "0s", *how)
    code, report = reported(command, *words, on=db)
    assert (code, report["outcomes"]["applied"], report["strategy"]) == (0, 4, strategy)
    for found, first in zip(db["sessions"].find().sort("session_id", 1), PARTS, strict=True):
        assert (found["event_count"], found["pages"]) == (2, ["/a"])
        assert bson.encode({"v": found["first_event_at"]}) == bson.encode({"v": first})
        assert found["last_event_at"] == 1760947300.765
    code, report = reported(command, "verify", *ALL, "--settle", "0s", *how, on=db)
    assert (code, report["totals"]["planned"]) == (0, 0)
    assert command("undo", last_run(db)["_id"], "--apply", *how, on=db).code == 0
    assert stored_bytes(db) == before


NONE: dict[str, list[Any]] = {  # of a side that keeps milliseconds
    "double out of range": [float("nan"), float("inf"), -float("inf"), 1e15],
    "long out of range": [Int64(253_402_300_800_000), Int64(-62_135_596_800_001), Int64(2**62)],
    "decimal out of range": [Decimal128("NaN"), Decimal128("Infinity"), Decimal128("1E400")],
    "date": [MORNING],
    "string": ["1760947200000"],
    "bool": [True],
    "array": [[1760947200000]],
}


@pytest.mark.parametrize("strategy", ["scan", "lookup"])
def test_what_is_no_such_number_is_malformed_and_left_alone(
    command: Command, db: Db, config: Any, strategy: str
) -> None:
    shop, keep = Shop(db), counted(MS, "double")
    shop.session("sound", first_event_at=keep(MORNING), last_event_at=keep(MORNING))
    shop.events("sound", {0: "/a"}, timestamp=keep(MORNING))
    for kind, values in NONE.items():
        for nth, odd in enumerate(values):
            name = f"{kind} {nth}"
            shop.session(name, first_event_at=odd, last_event_at=keep(MORNING))
            shop.events(name, {0: "/a"}, timestamp=keep(MORNING))
            shop.session(f"event of {name}", first_event_at=None, last_event_at=None)
            shop.events(f"event of {name}", {0: "/a"}, timestamp=odd)
    for collection in ("sessions", "events"):
        db[collection].create_index("session_id")
    before = stored_bytes(db)

    how = ("--max-malformed", "100%", "--strategy", strategy, *config(MS, MS))
    code, report = reported(command, "fix", "--apply", *how, on=db)
    told = {
        (it["collection"], it["field"], it["type"]): (it["documents"], len(it["samples"]))
        for it in report["malformed"]
    }
    counts = {kind: (len(values), len(values)) for kind, values in NONE.items()}
    of_sessions = {("sessions", "first_event_at", kind): n for kind, n in counts.items()}
    of_events = {("events", "timestamp", kind): n for kind, n in counts.items()}
    assert told == {**of_sessions, **of_events}
    assert (code, report["outcomes"]["applied"]) == (0, 1)
    now = stored_bytes(db)
    assert [key for key in now if now[key] != before[key]] == [
        db["sessions"].find_one({"session_id": "sound"}, ["_id"])["_id"]  # type: ignore[index]
    ]


REMEDIES = [  # what the settings say, what is there, what would take it
    ("date", MS, "double like epoch_ms", MS),
    ("date", S, "double like epoch_s", S),
    (S, MS, "double like epoch_ms", MS),
    (MS, "date", "date", "date"),
    (S, "date", "date", "date"),
]


@pytest.mark.parametrize(("said", "there", "told", "taken"), REMEDIES)
def test_dates_of_another_kind_are_told_with_the_setting_that_takes_them(
    command: Command, db: Db, config: Any, said: str, there: str, told: str, taken: str
) -> None:
    keep = dates_as(there, "double")
    shop = Shop(db)
    for nth in range(30):
        shop.session(f"{nth}", first_event_at=keep(MORNING), last_event_at=keep(MORNING))
        shop.events(f"{nth}", {0: "/a"}, timestamp=keep(MORNING))
    ended = command("fix", "--apply", *config(said, said), on=db)
    assert ended.code == 4
    assert f"timestamp is {told} in 30 of events" in ended.err
    lines = (f'Or write dates = "{taken}" under [fields.{it}]' for it in ("sessions", "events"))
    assert "".join(f"{line}, which takes such dates. " for line in lines) in ended.err
    db["events"].create_index("session_id")
    db["events"].create_index("timestamp")
    for path in ("session_id", "last_event_at"):
        db["sessions"].create_index(path)
    ended = command("verify", "--since", "2025-10-01", *config(said, said), on=db)
    assert ended.code == 4
    assert f"but one {told}: nothing can be found by it." in ended.err
    assert f'Or write dates = "{taken}" under [fields.events].' in ended.err


def test_what_is_young_or_in_flight_by_a_number_is_left_alone(
    command: Command, db: Db, config: Any
) -> None:
    shop, keep, now = Shop(db), counted(S, "int"), datetime.now(timezone.utc)
    for name, moment in {"old": MORNING, "young": now - timedelta(hours=3), "now": now}.items():
        shop.session(f"orphan {name}", first_event_at=None, last_event_at=keep(moment))
        shop.session(f"empty {name}", first_event_at=None, last_event_at=keep(moment))
        shop.events(f"empty {name}", {0: "/a"}, timestamp=keep(MORNING))
    before, how = stored_bytes(db), config(S, S)

    deleting = ("delete-orphans", "--apply", "--max-delete", "100%", *how)
    code, report = reported(command, *deleting, on=db)
    [left] = [it["left"] for it in report["symptoms"] if it["code"] == "orphan_session"]
    assert (code, report["outcomes"]["applied"], left) == (0, 1, {"young": 1, "in_flight": 1})
    assert db["sessions"].count_documents({"session_id": "orphan old"}) == 0
    assert command("undo", last_run(db)["_id"], "--apply", *how, on=db).code == 0
    assert stored_bytes(db) == before

    code, report = reported(command, "fix", "--apply", *how, on=db)
    assert (report["outcomes"]["applied"], report["totals"]["deferred"]) == (2, 1)
    filled = {it["session_id"] for it in db["sessions"].find({"event_count": 1})}
    assert filled == {"empty old", "empty young"}
