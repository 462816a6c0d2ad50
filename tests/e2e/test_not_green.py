"""Not green: what could not be judged, was not read, or is left wrong is never called right."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from session_repair.home import COMMAND
from tests.harness.commands import Command, Ended, reported
from tests.harness.documents import RUNS, Db, Document, stored_bytes
from tests.harness.runs import last_run
from tests.harness.shop import Shop, minute

SESSIONS = 12
BEYOND = "12 of 12 sessions read are malformed, --max-malformed 5% allows 1"
LIKE = "long like epoch_ms in 12 of sessions"
MET = f"first_event_at is {LIKE}; last_event_at is {LIKE}"


@dataclass(frozen=True)
class Told:
    """What each verb says of sessions whose dates are all numbers."""

    verify: tuple[int, Document]
    shown: Ended
    dry: Ended
    apply: Ended
    delete: Ended
    health: Ended
    run: Document
    is_untouched: bool
    collections: set[str]


@pytest.fixture(scope="module")
def told(module_db: Db, command: Command) -> Told:
    shop, epoch = Shop(module_db), 1_740_830_400_000
    for number in range(SESSIONS):
        shop.session(f"s{number}", first_event_at=epoch, last_event_at=epoch)
        shop.events(f"s{number}", {0: "/home"})
    before, on = stored_bytes(module_db), module_db
    return Told(
        verify=reported(command, "verify", on=on),
        shown=command("verify", on=on),
        dry=command("fix", on=on),
        delete=command("delete-orphans", "--apply", on=on),
        apply=command("fix", "--apply", on=on),
        health=command("health", on=on),
        run=last_run(on),
        is_untouched=stored_bytes(on) == before,
        collections=set(on.list_collection_names()),
    )


def test_nothing_that_looks_at_malformed_sessions_alone_is_green(told: Told) -> None:
    assert (told.verify[0], told.verify[1]["verdict"]) == (3, 3)
    assert (told.shown.code, told.dry.code) == (3, 3)
    for ended in (told.shown, told.dry):
        assert "✅" not in ended.out
        assert f"⚠️  It cannot be told whether all is right: {BEYOND}\n   {MET}\n" in ended.out
        assert "Name other fields under [fields.sessions] in the config file." in ended.out


def test_what_was_read_and_is_malformed_is_counted(told: Told) -> None:
    totals = told.verify[1]["totals"]
    names = ("sessions_read", "sessions_malformed", "events_read", "events_malformed", "planned")
    assert [totals[name] for name in names] == [12, 12, 12, 0, 0]


def test_what_writes_is_stopped_before_its_first_write(told: Told) -> None:
    for ended in (told.apply, told.delete):
        assert (ended.code, ended.out) == (4, "")
        assert f"{BEYOND} ({MET}). Nothing was written." in ended.err
    assert told.is_untouched
    assert told.collections == {"sessions", "events", RUNS}
    assert (told.run["state"], told.run["verdict"]) == ("planning", 4)


def test_health_is_degraded_and_says_why(told: Told) -> None:
    answer = json.loads(told.health.out)
    assert (told.health.code, answer["status"], answer["verdict"]) == (3, "degraded", 3)
    start = f"the last run, {told.run['_id']}, was stopped: {BEYOND} ({MET})"
    assert answer["reason"].startswith(start)


def test_a_session_that_is_named_and_may_not_shrink_is_told_and_so_is_what_is_missing(
    command: Command, db: Db
) -> None:
    shop = Shop(db)
    shop.session("s1", event_count=17, pages=["/home"], last_event_at=minute(13))
    shop.events("s1", dict.fromkeys(range(14), "/home"))
    names = ("--session-id", "s1", "--session-id", "s2")
    before = stored_bytes(db)
    ended = command("fix", "--apply", "--scope", "all", *names, on=db)
    assert (ended.code, stored_bytes(db)) == (0, before)
    assert "✅" not in ended.out
    assert ended.out.endswith(
        "⚠️  What --session-id names is not all right, and is left alone\n"
        "⚠️  No session has 1 of the 2 ids that --session-id names: s2\n"
        "Left alone, and what changes that:\n"
        "       1  count_mismatch  never shrink: events may have expired: "
        f"{COMMAND} fix --scope all --allow-shrink {' '.join(names)} --database {db.name}\n"
        "          count_mismatch  s1  17 → 14\n"
    )
    report = last_run(db)["report"]
    left = {it["code"]: it["left"] for it in report["symptoms"] if it["left"]}
    assert (left, report["missing"]) == ({"count_mismatch": {"shrink": 1}}, ["s2"])


def test_ids_of_another_type_in_all_events_make_no_session_an_orphan(
    command: Command, db: Db
) -> None:
    """No event can belong to any of them: one of the fields is a wrong one."""
    shop = Shop(db)
    for number in range(SESSIONS):
        shop.session(f"s{number}")
        shop.events(number, {0: "/home"})
    before = stored_bytes(db)
    scanned = command("delete-orphans", "--apply", "--max-delete", "100%", on=db)
    said = (
        "the sessions of 'sessions' have string in 'session_id', the events of 'events' int "
        "in 'session_id', and none has what the others have"
    )
    assert (scanned.code, said in scanned.err, stored_bytes(db)) == (4, True, before)
    for name in ("sessions", "events"):
        db[name].create_index("session_id")
    for words in (("fix", "--strategy", "lookup"), ("verify",)):
        ended = command(*words, on=db)
        assert (ended.code, said in ended.err) == (4, True)
    for named in ("7", 8.0):  # one that an event spells, one that an event names
        db["sessions"].update_one({"session_id": "s7"}, {"$set": {"session_id": named}})
        assert command("verify", on=db).code == (0 if named == "7" else 3)
        db["sessions"].update_one({"session_id": named}, {"$set": {"session_id": "s7"}})
    assert command("verify", on=db).code == 4
    db["events"].update_many({}, {"$set": {"session_id": {"of": "s1"}}})
    looked_up = command("fix", "--strategy", "lookup", on=db)
    assert looked_up.code == 4
    assert "no event of 'events' has an id in 'session_id', but one object" in looked_up.err


def test_a_look_up_counts_the_sessions_that_it_cannot_begin_with(command: Command, db: Db) -> None:
    shop = Shop(db)
    for number in range(3):
        shop.session(f"s{number}")
        shop.events(f"s{number}", {0: "/home"})
        shop.session(number + 0.5)
    for name in ("sessions", "events"):
        db[name].create_index("session_id")
    code, report = reported(command, "fix", "--strategy", "lookup", on=db)
    totals = report["totals"]
    assert (code, totals["planned"]) == (3, 3)
    assert (totals["sessions_read"], totals["sessions_malformed"]) == (6, 3)
    (odd,) = report["malformed"]
    assert (odd["field"], odd["type"], odd["documents"]) == (
        "session_id",
        "double that no long equals",
        3,
    )


def test_where_events_spell_all_ids_in_another_type_nothing_is_green(
    db: Db, command: Command
) -> None:
    shop = Shop(db)
    for number in range(SESSIONS):
        shop.session(str(7_000 + number))
        shop.events(str(7_000 + number), {0: "/home"})
        named = {"session_id": str(7_000 + number)}
        db["events"].update_one(named, {"$set": {"session_id": 7_000 + number}})
    before = stored_bytes(db)
    beyond = (
        "12 of 12 sessions read are named by events in another type, --max-malformed 5% allows 1"
    )
    shown = command("verify", on=db)
    assert (shown.code, "✅ Nothing" in shown.out, beyond in shown.out) == (3, False, True)
    applied = command("fix", "--apply", "--strategy", "scan", on=db)
    assert (applied.code, beyond in applied.err) == (4, True), applied.told
    assert "Ids are joined by value and type: convert those of one side." in applied.err
    assert stored_bytes(db) == before
