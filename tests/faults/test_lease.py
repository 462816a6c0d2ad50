"""A holder of the lease that died or was paused for a minute, or while it planned."""

from __future__ import annotations

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from tests.harness.commands import PATIENCE, Command, started
from tests.harness.documents import JOURNAL, SESSIONS, Db, differing, hash_of
from tests.harness.holds import Hold, Point, before_move, endless_transactions
from tests.harness.runs import let_the_lease_expire, planned_keys, the_run
from tests.harness.stops import (
    BETWEEN_BATCHES,
    SMALL,
    assert_as_one_clean_run,
    kill_at,
    pause_at,
    wake,
)
from tests.oracle import recomputed_documents

LEASE_TIME = 60.0


def test_a_holder_paused_in_real_time_cannot_write_after_a_minute(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    with started(mongo_uri, planned.name, "apply", run, *SMALL) as process:
        pause_at(BETWEEN_BATCHES, hold, planned, process)
        before = hash_of(planned)
        assert command("resume", run, on=planned).code == 6  # still its lease
        time.sleep(LEASE_TIME + 5)
        code, told = wake(process)
        assert code == 6
        assert re.search("lost the lease", told), told
    assert hash_of(planned) == before
    assert command("resume", run, on=planned).code == 0
    assert differing(planned, expected) == []


def test_a_minute_after_its_holder_died_the_lease_and_its_sessions_are_free_for_who_asks(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    key = planned_keys(planned)[12]
    with ThreadPoolExecutor() as threads, endless_transactions(planned):
        kill_at(before_move(2), hold, mongo_uri, planned, is_carried_out=True)
        note = {"$set": {"note": "live"}}
        written = threads.submit(planned[SESSIONS].update_one, {"_id": key}, note)
        assert command("resume", run, on=planned).code == 6  # still its lease
        time.sleep(LEASE_TIME)
        assert not written.done()
        taken = threads.submit(command, "resume", run, on=planned)
        ended = taken.result(timeout=PATIENCE)
        written.result(timeout=PATIENCE)
    assert ended.code == 0, ended.told
    assert planned[SESSIONS].update_one({"_id": key}, {"$unset": {"note": 1}}).modified_count == 1
    assert_as_one_clean_run(planned, expected)


def test_a_planner_that_was_paused_cannot_set_the_ended_run_back(
    shop: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected = recomputed_documents(shop)
    hold.at(shop, Point("find", JOURNAL), seconds=3)  # the journal is written
    with started(mongo_uri, shop.name, "fix", "--apply", *SMALL) as process:
        hold.wait()
        process.signal(signal.SIGSTOP)
        hold.let_go()
        run = the_run(shop)["_id"]
        let_the_lease_expire(shop)
        assert command("resume", run, on=shop).code == 0
        document, before = the_run(shop), hash_of(shop)
        assert wake(process)[0] == 6
    assert hash_of(shop) == before
    assert the_run(shop) == document
    assert (document["state"], document["verdict"]) == ("done", 0)
    assert differing(shop, expected) == []
