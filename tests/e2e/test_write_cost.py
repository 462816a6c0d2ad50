"""What a repair asks of the server, command by command, and for whom its writes wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.harness.commands import Command
from tests.harness.documents import JOURNAL, RUNS, SESSIONS, Document
from tests.harness.holds import Hook
from tests.harness.runs import last_run
from tests.harness.shop import Shop

pytestmark = pytest.mark.needs("many_runs")

COMMIT = ("commitTransaction", None, "majority")
ROWS_THERE = ("aggregate", JOURNAL, None)
BATCH = [
    ("update", RUNS, None),  # the lease
    ("aggregate", SESSIONS, None),
    ROWS_THERE,
    ("update", SESSIONS, None),
    ("update", RUNS, None),  # the progress
    COMMIT,
]
UNDO_BATCH = [it for it in BATCH if it != ROWS_THERE]  # it keeps nothing
NEXT_ROWS = ("find", JOURNAL, None)
OF_LAG = ("hello", "replSetGetStatus", "replSetGetConfig")  # every three seconds
WRITES = ("insert", "update", "delete", "findAndModify", "commitTransaction")


@dataclass
class Sent:
    """The commands that a verb sends: their names, collections and whom their writes wait for."""

    database: str
    everything: list[tuple[str, str | None, Any]] = field(default_factory=list)
    batches: list[list[tuple[str, str | None, Any]]] = field(default_factory=list)
    levels: set[str] = field(default_factory=set)  # of the reads of all transactions
    writes: list[list[Document]] = field(default_factory=list)  # of sessions, by command

    def note(self, database: str, sent: Mapping[str, Any]) -> None:
        name = next(iter(sent))
        is_commit = name == "commitTransaction"
        if database not in (self.database, "admin") or name in OF_LAG:
            return
        collection = sent.get("collection") if name == "getMore" else sent[name]
        collection = None if is_commit else collection
        one = (name, collection, sent.get("writeConcern", {}).get("w"))
        self.everything.append(one)
        if sent.get("autocommit") is not False:
            return
        if sent.get("startTransaction"):
            self.batches.append([])
            self.levels.add(sent["readConcern"]["level"])
        self.batches[-1].append(one)
        if collection == SESSIONS and name != "aggregate" and name != "find":
            kind = {"insert": "documents", "update": "updates", "delete": "deletes"}[name]
            self.writes.append(list(sent[kind]))


def planned(db: Database[Document], command: Command, sessions: int) -> str:
    """The run that is to repair so many sessions, of one event each."""
    shop = Shop(db)
    for number in range(sessions):
        shop.session(f"s{number:02}")
        shop.events(f"s{number:02}", {0: "/home"})
    assert command("fix", "--database", db.name, "--plan").code == 3
    return str(last_run(db)["_id"])


def test_a_batch_is_a_transaction_that_waits_once_for_a_majority_however_large_it_is(
    db: Database[Document], command: Command, before_command: Callable[[Hook], None]
) -> None:
    run = planned(db, command, 25)
    for words, batch in ((("apply", run), BATCH), (("undo", run, "--apply"), UNDO_BATCH)):
        sent = Sent(db.name)
        before_command(sent.note)
        assert command(*words, "--database", db.name, "--batch-size", "10").code == 0
        assert (sent.batches, sent.levels) == ([batch] * 3, {"snapshot"})
        assert [len(writes) for writes in sent.writes] == [10, 10, 5]
        first, last = sent.everything.index(batch[0]), len(sent.everything)
        last -= sent.everything[::-1].index(COMMIT)
        between = [it for it in sent.everything[first:last] if it not in batch]
        assert between == [NEXT_ROWS] * 2
        # Before: the lease is made and taken, the run taken over, all others fenced off.
        waited = [it for it in sent.everything if it[0] in WRITES and it[2] == "majority"]
        begin = [("insert", RUNS), ("findAndModify", RUNS), ("update", RUNS), ("update", RUNS)]
        end = [("update", RUNS)] * 2  # the run has ended, the lease is given back
        batches = [("commitTransaction", None)] * 3
        assert [it[:2] for it in waited] == [*begin, *batches, *end]


def test_a_full_batch_is_read_by_one_answer_of_the_journal_and_one_of_the_sessions(
    db: Database[Document], command: Command, before_command: Callable[[Hook], None]
) -> None:
    """A cursor's first answer has 101 documents where nobody asks for more."""
    run = planned(db, command, 260)
    for words, batch in ((("apply", run), BATCH), (("undo", run, "--apply"), UNDO_BATCH)):
        sent = Sent(db.name)
        before_command(sent.note)
        assert command(*words, "--database", db.name).code == 0
        assert sent.batches == [batch] * 2
        assert [len(writes) for writes in sent.writes] == [250, 10]
        first = sent.everything.index(batch[0])
        last = len(sent.everything) - sent.everything[::-1].index(COMMIT)
        assert sent.everything[first - 1 : last] == [NEXT_ROWS, *batch, NEXT_ROWS, *batch]


def test_only_rows_that_were_not_applied_are_written_again(
    db: Database[Document], command: Command, before_command: Callable[[Hook], None]
) -> None:
    run = planned(db, command, 25)
    plans = db[JOURNAL].find().sort("_id", 1)
    names = [row["plan"]["session_id"] for row in plans]
    db[SESSIONS].delete_many({"session_id": {"$in": names[11:13]}})
    db[SESSIONS].update_one({"session_id": names[13]}, {"$set": {"event_count": 7}})
    sent = Sent(db.name)
    before_command(sent.note)
    assert command("apply", run, "--database", db.name, "--batch-size", "10").code == 5
    marks = [("update", JOURNAL, None)] * 2  # one command for each outcome
    assert sent.batches == [BATCH, [*BATCH[:4], *marks, *BATCH[4:]], BATCH]
    assert [len(writes) for writes in sent.writes] == [10, 7, 5]


def test_a_batch_of_which_nothing_is_to_be_written_writes_no_session(
    db: Database[Document], command: Command, before_command: Callable[[Hook], None]
) -> None:
    run = planned(db, command, 5)
    db[SESSIONS].delete_many({})
    sent = Sent(db.name)
    before_command(sent.note)
    assert command("apply", run, "--database", db.name).code == 5
    assert sent.batches == [[*BATCH[:2], ("update", JOURNAL, None), *BATCH[4:]]]


def test_a_deletion_keeps_the_documents_of_a_batch_by_one_command(
    db: Database[Document],
    command: Command,
    before_command: Callable[[Hook], None],
    tmp_path: Path,
) -> None:
    shop = Shop(db)
    shop.session("sound", event_count=1, pages=["/home"])
    shop.events("sound", {0: "/home"})
    for number in range(12):
        shop.session(f"o{number:02}")
    pause = tmp_path / "pause"
    pause.touch()
    words = ("--apply", "--max-delete", "100%", "--pause-file", str(pause))
    assert command("delete-orphans", *words, on=db).code == 5  # planned, no more
    look = ("aggregate", "events", None)
    read = [("find", SESSIONS, None), ("aggregate", SESSIONS, None)]
    kept, deleted = ("update", JOURNAL, None), ("delete", SESSIONS, None)
    batch = [BATCH[0], look, *read, deleted, kept, *BATCH[4:]]
    sent = Sent(db.name)
    before_command(sent.note)
    run = last_run(db)["_id"]
    assert command("apply", run, "--batch-size", "10", on=db).code == 0
    assert (sent.batches, sent.levels) == ([batch] * 2, {"snapshot"})
    assert [len(writes) for writes in sent.writes] == [10, 2]
    again = [NEXT_ROWS, ("aggregate", "events", None)]  # a look after each commit
    first = sent.everything.index(COMMIT)
    assert sent.everything[first + 1 : first + 3] == again

    sent = Sent(db.name)
    before_command(sent.note)
    assert command("undo", run, "--apply", "--batch-size", "10", on=db).code == 0
    there = ("find", SESSIONS, None)
    inserted = ("insert", SESSIONS, None)
    assert sent.batches == [[BATCH[0], there, inserted, *BATCH[4:]]] * 2


def test_a_limit_that_comes_with_the_last_batch_stops_nothing(
    db: Database[Document],
    command: Command,
    before_command: Callable[[Hook], None],
    tmp_path: Path,
) -> None:
    run, pause = planned(db, command, 15), tmp_path / "pause"
    writes = 0

    def pause_at_the_last_write(_: str, one: Mapping[str, Any]) -> None:
        nonlocal writes
        if one.get("update") == SESSIONS:
            writes += 1
            if writes == 2:
                pause.touch()

    before_command(pause_at_the_last_write)
    words = (run, "--batch-size", "10", "--pause-file", str(pause))
    assert command("apply", *words, on=db).code == 0
    assert (writes, pause.exists()) == (2, True)
    writes = 0
    pause.unlink()
    assert command("undo", *words, "--apply", on=db).code == 0
    assert (writes, pause.exists(), db["sessions"].count_documents({"pages": []})) == (2, True, 15)


def test_rows_of_a_task_that_ran_before_are_written_over_and_keep_what_came_after(
    db: Database[Document], command: Command, before_command: Callable[[Hook], None]
) -> None:
    shop = Shop(db)
    session, _ = shop.session("first"), shop.session("second")
    for name in ("first", "second"):
        shop.events(name, {0: "/home"})
    there: list[str] = []

    def write_before(_: str, one: Mapping[str, Any]) -> None:
        """A row such as a task leaves that is lost before it can say so; its plan is of then."""
        if one.get("createIndexes") == JOURNAL and not there:
            there.append(f'{last_run(db)["_id"]}:1:{{"v": {{"$oid": "{session["_id"]}"}}}}')
            db[JOURNAL].insert_one({"_id": there[0], "plan": {"of": "then"}, "mark": "kept"})

    before_command(write_before)
    assert command("fix", "--database", db.name, "--plan").code == 3
    rows = {row.pop("_id"): row for row in db[JOURNAL].find()}
    assert rows[there[0]].pop("mark") == "kept"
    written = rows.pop(there[0])
    [other] = rows.values()
    assert (written["plan"]["session_id"], other["plan"]["session_id"]) == ("first", "second")
    assert written["plan"].keys() == other["plan"].keys()
    assert written.keys() == other.keys() == {"run_id", "plan", "expires_at"}
    assert written["plan"]["new"] == other["plan"]["new"]
