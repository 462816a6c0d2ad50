"""Windows: what is active is looked at, whole; all windows together find what a full run finds."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from bson import Binary
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from session_repair.mongo.connection import connected
from session_repair.mongo.window import count_active
from session_repair.repair.preflight import take_preflight
from session_repair.repair.survey import survey
from session_repair.repair.watermark import window_of
from session_repair.rules.ids import name_of_id
from session_repair.settings import Settings
from tests.harness.commands import Command, reported
from tests.harness.documents import RUNS, Db, Document, fingerprint
from tests.harness.runs import last_run
from tests.harness.shop import ANN, BOB, MORNING, Shop, made_at

pytestmark = pytest.mark.needs("many_runs")

DAY = timedelta(days=1)
FIRST = datetime(2025, 10, 1, tzinfo=timezone.utc)
DAYS, SESSIONS = 12, 160
Finding = tuple[str, str | None, str | None]


def index(db: Db) -> None:
    db["events"].create_index("session_id")
    db["events"].create_index("timestamp")
    db["sessions"].create_index("session_id")
    db["sessions"].create_index("last_event_at")


def text_of(number: int) -> str:
    return f"s{number}"


def any_of(number: int, is_event: bool = False) -> Any:
    """An id of one of several types; of a number the events have another one."""
    made = [text_of(number), made_at(FIRST, number), number, Binary(number.to_bytes(16, "big"), 4)]
    return float(number) if is_event and number % 4 == 2 else made[number % 4]


def name_of(session_id: Any) -> str:
    is_number = isinstance(session_id, int | float)
    if isinstance(session_id, Binary):
        return str(session_id.as_uuid())
    return str(int(session_id) if is_number else session_id)


def fill(db: Db, seed: int, may_be_any: bool = False) -> None:
    """Sessions of every kind, over days, some of them for days; some events arrive days late."""
    chance = random.Random(seed)
    number = 0
    events: list[Document] = []
    for name in range(SESSIONS):
        start = FIRST + chance.random() * (DAYS - 4) * DAY
        length = chance.choice([timedelta(minutes=30), timedelta(minutes=30), 3 * DAY])
        times = sorted(start + chance.random() * length for _ in range(chance.randrange(6)))
        own, its = (any_of(name), any_of(name, True)) if may_be_any else (text_of(name),) * 2
        for at in times:
            number += 1
            late = chance.choice([timedelta(0)] * 4 + [chance.random() * 2 * DAY])
            event: Document = {
                "_id": made_at(at + late, number),
                "session_id": its,
                "user_id": chance.choice([ANN, ANN, ANN, BOB]),
                "timestamp": at if chance.random() < 0.95 else None,
                "page": chance.choice(["/", "/cart", None, 7]),
            }
            events.append(event)
        for _ in range(chance.choice([0, 1, 1, 1, 1, 2])):
            number += 1
            is_right = chance.random() < 0.5
            pages = list(dict.fromkeys(e["page"] for e in events if e["session_id"] == its))
            db["sessions"].insert_one(
                {
                    "_id": made_at(start, number),
                    "session_id": own,
                    "user_id": chance.choice([ANN, None]),
                    "event_count": len(times) if is_right else chance.choice([0, 9, "0"]),
                    "pages": pages if is_right else chance.choice([[], ["/old"]]),
                    "first_event_at": times[0] if times else start,
                    "last_event_at": times[-1] if times else chance.choice([start, None]),
                }
            )
    chance.shuffle(events)
    db["events"].insert_many(events)


def active_in(db: Db, since: datetime, until: datetime) -> set[Any]:
    """The session_ids that are active in the window, by plain Python."""

    def is_in(moment: datetime | None) -> bool:
        return moment is not None and since <= moment < until

    found = set()
    for path, collection in (("timestamp", "events"), ("last_event_at", "sessions")):
        for document in db[collection].find():
            if is_in(document[path]) or is_in(document["_id"].generation_time):
                found.add(document["session_id"])
    return found


@pytest.fixture
def found_of(spark: SparkSession, mongo_uri: str, db: Db) -> Any:
    """What a survey finds: the findings by session, and how many sessions it read."""

    def found(**options: Any) -> tuple[dict[tuple[str | None, str | None], list[Finding]], int]:
        settings = Settings(uri=mongo_uri, database=db.name, scope="all", **options)
        with connected(settings) as store:
            preflight = take_preflight(store, "verify")
            done = survey(spark, store, preflight, "verify", "r1")
        name = name_of_id(F.col("session_id")).alias("session_id")
        rows = done.corrected.select("session_key", name, "findings", "changes").collect()
        done.release()
        findings = {
            (row["session_key"], row["session_id"]): [
                row["changes"],
                *[
                    (it["code"], it["stored"], it["rebuilt"], it["action"])
                    for it in row["findings"]
                ],
            ]
            for row in rows
        }
        return findings, done.report.totals.sessions

    return found


def check_windows(db: Db, found_of: Any, seed: int, may_be_any: bool = False) -> None:
    fill(db, seed, may_be_any)
    index(db)
    full, sessions = found_of()
    assert sessions == db["sessions"].count_documents({})
    together: dict[Any, Any] = {}
    ends = [FIRST, *(FIRST + chance * DAY for chance in (3, 4, 8)), FIRST + (DAYS + 3) * DAY]
    for since, until in pairwise(ends):
        window, read = found_of(since=since.isoformat(), until=until)
        active = active_in(db, since, until)
        names = {name_of(session_id) for session_id in active}
        assert {name for _, name in window} <= names
        assert read == db["sessions"].count_documents({"session_id": {"$in": list(active)}})
        # Each session is judged by all of its events, those outside of the window too.
        assert window == {key: it for key, it in full.items() if key[1] in names}
        together |= window
    assert together == full
    codes = {finding[0] for findings in full.values() for finding in findings[1:]}
    assert len(codes) >= 11, codes


@pytest.mark.parametrize("may_be_any", [False, True], ids=["text", "ids of any type"])
def test_all_windows_together_find_what_a_full_run_finds(
    db: Db, found_of: Any, may_be_any: bool
) -> None:
    check_windows(db, found_of, 1, may_be_any)


def test_windows_over_numbers_find_what_those_over_dates_find(db: Db, found_of: Any) -> None:
    fill(db, seed=1)
    index(db)
    ends = [FIRST, *(FIRST + chance * DAY for chance in (3.2, 4, 8)), FIRST + (DAYS + 3) * DAY]
    windows = [{"since": a.isoformat(), "until": b} for a, b in pairwise(ends)]
    of_dates = [found_of(**window) for window in windows]
    to_ms = {name: {"$toLong": f"${name}"} for name in ("first_event_at", "last_event_at")}
    to_s = {"timestamp": {"$divide": [{"$toLong": "$timestamp"}, 1000]}}
    db["sessions"].update_many({}, [{"$set": to_ms}])
    db["events"].update_many({}, [{"$set": to_s}])
    dates = {"session_dates": "epoch_ms", "event_dates": "epoch_s"}
    assert [found_of(**window, **dates) for window in windows] == of_dates
    assert all(sessions for _, sessions in of_dates)


def test_what_a_window_reads_is_estimated_by_its_share_of_the_sessions(
    db: Db, mongo_uri: str
) -> None:
    fill(db, seed=1)
    index(db)
    since, until = FIRST + 3 * DAY, FIRST + 4 * DAY
    settings = Settings(uri=mongo_uri, database=db.name, since=since.isoformat(), until=until)
    with connected(settings) as store:
        preflight = take_preflight(store, "verify")
    sessions, events = (db[name].count_documents({}) for name in ("sessions", "events"))
    active = len(active_in(db, since, until))
    assert 0 < active < sessions / 2
    assert preflight.documents == active + ceil(active * events / sessions)


def test_a_success_of_before_dates_had_a_setting_is_one(db: Db, command: Command) -> None:
    shop = Shop(db)
    shop.session("old")
    shop.events("old", {0: "/home"})
    index(db)
    since_success = ("fix", "--apply", "--since", "last-success")
    assert reported(command, *since_success, on=db)[1]["window"] is None
    unnamed = {"settings.session_dates": "", "settings.event_dates": ""}
    assert db[RUNS].update_many({"verb": "fix"}, {"$unset": unnamed}).modified_count == 1
    assert reported(command, *since_success, on=db)[1]["window"] is not None
    # As numbers the same documents have never been looked at.
    assert db[RUNS].update_many({}, {"$set": {"settings.event_dates": "epoch_s"}}).modified_count
    assert reported(command, *since_success, on=db)[1]["window"] is None


def moment_text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def test_a_repair_goes_on_from_the_last_success(db: Db, command: Command) -> None:
    """Only success moves it, and no backfill does; what came late or waited is looked at again."""
    shop = Shop(db)
    shop.session("old")
    shop.events("old", {0: "/home"})
    recent = datetime.now(timezone.utc) - 1.5 * DAY
    shop.session("waiting", _id=made_at(recent, 901), first_event_at=recent, last_event_at=recent)
    shop.events("waiting", {3: "/waiting"}, _id=made_at(recent, 902), timestamp=recent)
    index(db)
    since_success = ("fix", "--apply", "--since", "last-success")

    patient = ("--settle", "2d", "--lookback", "2d", "--confirm-delay", "1s")
    code, report = reported(command, *since_success, *patient, on=db)
    assert (code, report["window"]) == (0, None)  # there was none: all was looked at
    assert (report["totals"]["planned"], report["totals"]["deferred"]) == (1, 1)
    first = last_run(db)["report"]["server_time"]

    shop.session("late")
    shop.events("late", {1: "/late"}, _id=shop.id_at(first - timedelta(hours=2)))
    shop.session("older", _id=made_at(MORNING, 900))
    shop.events("older", {2: "/older"})
    backfill = ("--since", "2025-10-20", "--until", "2025-10-20T08:00:30")
    code, report = reported(command, "fix", "--apply", *backfill, on=db)
    assert (code, report["totals"]["sessions"]) == (0, 3)
    assert report["outcomes"]["applied"] == 2
    assert report["window"] == {
        "since": "2025-10-20T00:00:00.000Z",
        "until": "2025-10-20T08:00:30.000Z",
    }

    code, report = reported(command, *since_success, on=db)
    left_open = 2 * DAY + timedelta(seconds=1)  # by the first, whatever --lookback says now
    assert report["window"]["since"] == moment_text(first - left_open)
    assert (code, report["totals"]["sessions"], report["outcomes"]["applied"]) == (0, 2, 1)
    repaired = last_run(db)["_id"]
    mended = {"session_id": "waiting", "event_count": 1, "pages": ["/waiting"]}
    assert db["sessions"].count_documents(mended) == 1
    second = last_run(db)["report"]["window"]["until"]

    db[RUNS].update_one({"_id": last_run(db)["_id"]}, {"$set": {"verdict": 5}})
    code, report = reported(command, *since_success, "--lookback", "3d", on=db)
    assert report["window"]["since"] == moment_text(first - 3 * DAY)
    code, report = reported(command, "verify", "--since", "last-success", on=db)
    reached = last_run(db)["report"]["window"]["until"]
    assert reached > second
    assert report["window"]["since"] == moment_text(reached - DAY)

    # What an undo takes back no earlier run has seen.
    assert command("undo", repaired, "--apply", on=db).code == 0
    code, report = reported(command, "verify", "--since", "last-success", on=db)
    assert (code, report["window"], report["totals"]["planned"]) == (3, None, 1)


@pytest.mark.parametrize(
    ("since", "until", "active"),
    [
        ("1969-01-01", None, 1),
        ("30000d", None, 1),
        ("999999999d", None, 1),
        ("2025-10-20", datetime(2200, 1, 1, tzinfo=timezone.utc), 1),
        ("2025-10-20T10:00+02:00", None, 1),
        ("2025-10-20T08:00-02:00", None, 0),
    ],
)
def test_a_window_may_reach_beyond_the_years_of_object_ids_and_comes_in_any_zone(
    db: Db, mongo_uri: str, since: str, until: datetime | None, active: int
) -> None:
    Shop(db).session("a")
    settings = Settings(uri=mongo_uri, database=db.name, since=since, until=until)
    with connected(settings) as store:
        window = window_of(store, datetime(2026, 1, 1, tzinfo=timezone.utc))
        assert window is not None
        assert count_active(store, window) == active
    if "T" in since:
        hour = "08" if active else "10"
        assert str(window).startswith(f"2025-10-20T{hour}:00:00Z until ")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--until", "2025-10-20"), "--until ends a window. Begin it with --since."),
        (("--since", "2025-10-21", "--until", "2025-10-20"), "2025-10-21T00:00:00Z is not before"),
        (("--since", "7x"), "write 2025-10-20 or 2025-10-20T15:00, a duration such as 7d"),
        (("--since", "7d", "--session-id", "a"), "Leave out one."),
        (("--since", "7d", "--strategy", "scan"), "Leave out --strategy scan."),
        (("--since", "last-success", "--lookback", "5m"), "--lookback is shorter than --settle"),
        (
            ("--since", "7d"),
            "2 of them it would read all 3 documents. Create them, or leave out --since: "
            'db.getSiblingDB("{db}").getCollection("events").createIndex({{"timestamp": 1}}); '
            'db.getSiblingDB("{db}").getCollection("sessions").createIndex({{"last_event_at": 1}})',
        ),
    ],
)
def test_a_window_that_cannot_be_looked_at_is_refused(
    db: Db, command: Command, options: tuple[str, ...], complaint: str
) -> None:
    shop = Shop(db)
    shop.session("a")
    shop.events("a", {0: "/", 1: "/"})
    for name in ("sessions", "events"):
        db[name].create_index("session_id")
    before = fingerprint(db)
    ended = command("verify", *options, on=db)
    assert (ended.code, ended.out) == (2, "")
    assert complaint.format(db=db.name) in ended.err
    assert fingerprint(db) == before
