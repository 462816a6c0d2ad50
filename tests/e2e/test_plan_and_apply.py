"""A plan is made at one time and applied at another: that plan, whole and unchanged, or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from session_repair.mongo.lease import LEASE_ID
from tests.harness.commands import Command, run_into
from tests.harness.documents import JOURNAL, RUNS, SESSIONS, Db, differing, hash_of
from tests.harness.guide import BROKEN
from tests.harness.runs import outcomes, run_documents, the_run
from tests.oracle import recomputed_documents


def test_a_plan_writes_nothing_to_sessions_and_apply_carries_it_out(
    shop: Db, command: Command
) -> None:
    expected, before = recomputed_documents(shop), hash_of(shop)
    ended = command("fix", "--plan", on=shop)
    assert ended.code == 3, ended.told
    run = the_run(shop)
    assert (run["state"], run["planned"]) == ("planned", BROKEN)
    assert outcomes(shop, run["_id"]) == {"none": BROKEN}
    assert hash_of(shop) == before
    ended = command("apply", run["_id"], on=shop)
    assert ended.code == 0, ended.told
    assert outcomes(shop, run["_id"]) == {"applied": BROKEN}
    assert differing(shop, expected) == []


def test_an_applied_plan_is_not_applied_again(planned: Db, command: Command) -> None:
    run = the_run(planned)["_id"]
    assert command("apply", run, on=planned).code == 0
    after = hash_of(planned)
    ended = command("apply", run, on=planned)
    assert (ended.code, f"run {run} is done, not planned" in ended.told) == (2, True)
    assert hash_of(planned) == after


# What is refused


def assert_refused(
    db: Db, command: Command, why: str, *arguments: str, verb: str = "apply"
) -> None:
    """Exit 2 for that reason, no session changed, no row decided, the run still planned."""
    before, journal = hash_of(db), hash_of(db, JOURNAL)
    ended = command(verb, *(arguments or (the_run(db)["_id"],)), on=db)
    assert why in ended.told
    assert ended.code == 2
    assert hash_of(db) == before
    assert hash_of(db, JOURNAL) == journal
    assert the_run(db)["state"] == "planned"


def test_an_unknown_run_is_refused(planned: Db, command: Command) -> None:
    assert_refused(planned, command, "there is no run 'r1'", "r1")


@pytest.mark.parametrize("verb", ["apply", "resume"])
def test_an_old_plan_is_refused(planned: Db, command: Command, verb: str) -> None:
    made = the_run(planned)["planned_at"]
    planned[RUNS].update_many({}, {"$set": {"planned_at": made - timedelta(hours=24)}})
    assert_refused(planned, command, "--plan-ttl allows 1d. Plan again.", verb=verb)


def test_a_plan_is_old_after_the_time_that_plan_ttl_says(planned: Db, command: Command) -> None:
    run = the_run(planned)["_id"]
    assert_refused(planned, command, "--plan-ttl allows 1ms", run, "--plan-ttl", "1ms")
    assert command("apply", run, "--plan-ttl", "1h", on=planned).code == 0


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ('settle = "1h"', "settle"),
        ('scope = "all"', "scope"),
        ("allow_shrink = true", "allow_shrink"),
        ('[fields.sessions]\npages = "meta.pages"', "fields.sessions.pages"),
        ('[fields.events]\npage = "url"', "fields.events.page"),
        ('[fields.sessions]\ndates = "epoch_ms"', "fields.sessions.dates"),
        ('[fields.events]\ndates = "epoch_s"', "fields.events.dates"),
        ('[collections]\nsessions = "archive"', "collections.sessions"),
        ('[collections]\nevents = "archive"', "collections.events"),
        ('[collections]\njournal = "archive"', "collections.journal"),
    ],
)
@pytest.mark.parametrize("verb", ["apply", "resume"])
def test_a_plan_made_with_other_settings_is_refused(
    planned: Db, command: Command, tmp_path: Path, config: str, name: str, verb: str
) -> None:
    file = tmp_path / "other.toml"
    file.write_text(config + "\n")
    run = the_run(planned)["_id"]
    why = f"run {run} was planned with {name} = "
    assert_refused(planned, command, why, run, "--config", str(file), verb=verb)


def edit_a_value(db: Db) -> None:
    db[JOURNAL].update_one({}, {"$inc": {"plan.new.event_count": 1}})


def edit_a_type(db: Db) -> None:
    as_long = {"plan": {"new": {"event_count": {"$toLong": "$plan.new.event_count"}}}}
    db[JOURNAL].update_one({}, [{"$set": as_long}])


def edit_an_observation(db: Db) -> None:
    db[JOURNAL].update_one({}, {"$unset": {"plan.observed.pages": True}})


def edit_the_session(db: Db) -> None:
    sound = db[SESSIONS].find_one({"event_count": {"$gt": 0}}, {"_id": 1})
    assert sound is not None
    db[JOURNAL].update_one({}, {"$set": {"plan.session.v": sound["_id"]}})


def delete_a_row(db: Db) -> None:
    db[JOURNAL].delete_one({})


def empty_a_row(db: Db) -> None:
    db[JOURNAL].update_one({}, {"$unset": {"plan": True}})


def add_a_row(db: Db) -> None:
    row = db[JOURNAL].find_one()
    assert row is not None
    db[JOURNAL].insert_one({**row, "_id": row["_id"] + "x"})


def add_a_row_without_a_plan(db: Db) -> None:
    db[JOURNAL].insert_one({"_id": the_run(db)["_id"] + ":1:x"})


def exchange_two_rows(db: Db) -> None:
    one, other = db[JOURNAL].find().limit(2)
    db[JOURNAL].replace_one({"_id": one["_id"]}, {**other, "_id": one["_id"]})
    db[JOURNAL].replace_one({"_id": other["_id"]}, {**one, "_id": other["_id"]})


@pytest.mark.parametrize("verb", ["apply", "resume"])
@pytest.mark.parametrize(
    "edit",
    [
        edit_a_value,
        edit_a_type,
        edit_an_observation,
        edit_the_session,
        delete_a_row,
        empty_a_row,
        add_a_row,
        add_a_row_without_a_plan,
        exchange_two_rows,
    ],
)
def test_an_edited_plan_is_refused(
    planned: Db, command: Command, edit: Callable[[Db], None], verb: str
) -> None:
    edit(planned)
    assert_refused(planned, command, "Plan again.", verb=verb)


# What happened in between


def test_what_changed_or_went_since_the_plan_is_skipped_and_the_rest_applied(
    planned: Db, command: Command
) -> None:
    expected = recomputed_documents(planned)
    run = the_run(planned)["_id"]
    rows = [row["plan"]["session"]["v"] for row in planned[JOURNAL].find().limit(5)]
    changed, counted, filled, retyped, gone = rows
    sessions = planned[SESSIONS]
    sessions.update_one({"_id": changed}, {"$set": {"pages": ["/live"], "event_count": 1}})
    sessions.update_one({"_id": counted}, {"$inc": {"event_count": 1}})
    sessions.update_one({"_id": filled}, {"$unset": {"pages": True}})
    sessions.update_one({"_id": retyped}, {"$set": {"event_count": "0"}})
    sessions.delete_one({"_id": gone})
    left = {key: sessions.find_one({"_id": key}, {"pages": 1, "event_count": 1}) for key in rows}
    ended = command("apply", run, on=planned)
    assert ended.code == 5
    assert "✅ Fixed 78 sessions" in ended.told
    assert outcomes(planned, run) == {"applied": 78, "skipped_changed": 4, "skipped_gone": 1}
    assert the_run(planned)["progress"]["counts"] == outcomes(planned, run)
    assert the_run(planned)["verdict"] == 5
    assert set(differing(planned, expected)) == set(rows)
    for key, document in left.items():
        assert sessions.find_one({"_id": key}, {"pages": 1, "event_count": 1}) == document


def test_a_plan_made_with_options_is_applied_without_repeating_them(
    shop: Db, command: Command
) -> None:
    sessions = shop[SESSIONS]
    wrong = sessions.find_one({"event_count": {"$gt": 3}}, {"session_id": 1, "event_count": 1})
    assert wrong is not None
    sessions.update_one({"_id": wrong["_id"]}, {"$set": {"event_count": 1}})
    before = hash_of(shop)
    options = ("--scope", "all", "--settle", "1h")
    ended = command("fix", "--plan", *options, "--session-id", wrong["session_id"], on=shop)
    assert ended.code == 3, ended.told
    assert hash_of(shop) == before
    run = the_run(shop)
    assert run["planned"] == 1
    ended = command("apply", run["_id"], on=shop)
    assert ended.code == 0, ended.told
    healed = sessions.find_one({"_id": wrong["_id"]}, {"event_count": 1})
    assert healed == {"_id": wrong["_id"], "event_count": wrong["event_count"]}
    assert sessions.count_documents({"event_count": 0}) == BROKEN + 2


def test_a_plan_of_before_dates_had_a_setting_is_applied_and_undone(
    planned: Db, command: Command
) -> None:
    before, expected, run = hash_of(planned), recomputed_documents(planned), the_run(planned)["_id"]
    unnamed = {"settings.session_dates": "", "settings.event_dates": ""}
    assert planned[RUNS].update_one({"_id": run}, {"$unset": unnamed}).modified_count == 1
    assert command("apply", run, on=planned).code == 0
    assert differing(planned, expected) == []
    assert command("verify", "--run", run, on=planned).code == 0
    assert command("undo", run, "--apply", on=planned).code == 0
    assert hash_of(planned) == before


# What may become of the output


OUTPUTS = ["| head -n 1", "2>&1 | head -n 1", "> /dev/full", "> /dev/full 2>&1", ">&- 2>&-"]


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_output_that_is_closed_or_full_changes_nothing_about_a_run(
    planned: Db, mongo_uri: str, output: str
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    assert run_into(output, mongo_uri, planned, "apply", run, "--batch-size", "10", "-vv") == 0
    assert differing(planned, expected) == []
    assert (the_run(planned)["state"], the_run(planned)["verdict"]) == ("done", 0)


def test_the_run_document_holds_no_secret(planned: Db, mongo_uri: str) -> None:
    (run,) = run_documents(planned)
    assert "mongodb://" not in json.dumps(run, default=str)
    assert mongo_uri not in json.dumps(run, default=str)


def test_the_verdict_of_a_run_is_told_by_an_exit_code_once_it_has_ended(
    planned: Db, command: Command
) -> None:
    run = the_run(planned)["_id"]

    def verdict() -> tuple[int, str]:
        ended = command("runs", run, "--verdict", on=planned)
        return ended.code, ended.told

    assert command("runs", "--verdict", on=planned).code == 2  # whose?
    assert command("runs", "r20200101-000000-abcdef", "--verdict", on=planned).code == 2
    code, told = verdict()
    assert (code, f"run {run} has no verdict: it is planned" in told) == (2, True)
    broken = {"$set": {"error": "KeyboardInterrupt: ", "verdict": 130}}
    planned[RUNS].update_one({"_id": run}, broken)
    assert verdict()[0] == 130
    lease = {"holder": run, "token": 9, "expires_at": datetime(2999, 1, 1, tzinfo=timezone.utc)}
    planned[RUNS].update_one({"_id": LEASE_ID}, {"$set": lease}, upsert=True)
    assert verdict()[0] == 2  # it is at work again: what it recorded is the end before
    planned[RUNS].delete_one({"_id": LEASE_ID})
    changed = planned[JOURNAL].find_one({"run_id": run})
    assert changed is not None
    theirs = {"$set": {"pages": ["/x"]}}
    planned[SESSIONS].update_one({"session_id": changed["plan"]["session_id"]}, theirs)
    assert command("apply", run, on=planned).code == 5
    code, told = verdict()
    assert (code, f"{BROKEN - 1} corrected, 1 skipped_changed" in told) == (5, True)
    assert command("undo", run, "--apply", on=planned).code == 0
    assert verdict()[0] == 0
