"""verify --run: the sessions of a run some time later. Did it stay repaired?"""

from __future__ import annotations

from datetime import timedelta

from bson import ObjectId

from tests.harness.commands import Command, reported
from tests.harness.documents import JOURNAL, SESSIONS, Db, hash_of, raw_documents
from tests.harness.guide import BROKEN
from tests.harness.runs import the_run


def test_a_run_is_looked_at_again_and_only_what_others_changed_by_its_events(
    planned: Db, command: Command
) -> None:
    run = the_run(planned)["_id"]
    refused = command("verify", "--run", run, on=planned)
    assert (refused.code, f"run {run} is planned, not done" in refused.err) == (2, True)
    named = command("verify", "--run", run, "--session-id", "x", on=planned)
    assert (named.code, "--run names the sessions." in named.err) == (2, True)
    before = {it["_id"]: it for it in raw_documents(planned)}
    assert command("apply", run, on=planned).code == 0
    rows = list(planned[JOURNAL].find().sort("_id", 1))
    keys = [row["plan"]["session"]["v"] for row in rows]
    after, journal = hash_of(planned), hash_of(planned, JOURNAL)

    ended = command("verify", "--run", run, on=planned)
    assert ended.code == 0, ended.told
    assert ended.figure("As the run left them") == BROKEN
    assert "✅ It stayed repaired" in ended.out
    assert (hash_of(planned), hash_of(planned, JOURNAL)) == (after, journal)

    # One is deleted, one gets an event that is counted, one an event that is not.
    planned[SESSIONS].delete_one({"_id": keys[0]})
    for key in keys[1:3]:
        event = planned["events"].find_one({"session_id": before[key]["session_id"]})
        assert event is not None
        later = event["timestamp"] + timedelta(days=1)
        planned["events"].insert_one({**event, "_id": ObjectId(), "timestamp": later})
    planned[SESSIONS].update_one({"_id": keys[1]}, {"$inc": {"event_count": 1}})
    planned[SESSIONS].update_one({"_id": keys[2]}, {"$set": {"pages": [], "seen": True}})
    code, report = reported(command, "verify", "--run", run, "--settle", "0s", on=planned)
    assert "symptoms" in report, report
    seen = {symptom["code"]: symptom["found"] for symptom in report["symptoms"]}
    assert (code, report["totals"]["sessions"], report["totals"]["planned"]) == (3, 2, 1)
    assert {name: number for name, number in seen.items() if number} == {
        "empty_pages": 1,
        "count_mismatch": 1,
        "last_event_mismatch": 2,
    }

    # An old value is back.
    planned[SESSIONS].replace_one({"_id": keys[1]}, before[keys[1]])
    planned[SESSIONS].replace_one({"_id": keys[2]}, before[keys[2]])
    ended = command("verify", "--run", run, on=planned)
    told = ("As the run left them", "Put back to what they were before", "Gone")
    assert [ended.figure(label) for label in told] == [BROKEN - 3, 2, 1]
    assert (ended.code, "Somebody writes old values" in ended.out) == (3, True)
    code, report = reported(command, "verify", "--run", run, on=planned)
    assert (code, report["days"], report["corrections"], report["malformed"]) == (3, [], [], [])
    assert {it["found"] for it in report["symptoms"]} == {None}  # nobody looked for them
    known = {name: number for name, number in report["totals"].items() if number is not None}
    assert known == {"sessions": BROKEN, "planned": 2, "deferred": 0}
    for key in keys[1:3]:
        planned[SESSIONS].delete_one({"_id": key})
    ended = command("verify", "--run", run, on=planned)
    assert (ended.code, ended.figure("Gone")) == (0, 3)
    assert "Somebody deletes sessions" in ended.out
    assert "✅" not in ended.out

    planned[JOURNAL].delete_one({"_id": rows[9]["_id"]})
    ended = command("verify", "--run", run, on=planned)
    assert (ended.code, f"holds {BROKEN - 1} rows" in ended.err) == (2, True)
