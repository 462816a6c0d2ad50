"""What a repair asks of the server, command by command, and for whom its writes wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pymongo.database import Database

from tests.harness.commands import Command
from tests.harness.documents import JOURNAL, RUNS, Document
from tests.harness.holds import Hook
from tests.harness.runs import last_run
from tests.harness.shop import Shop

LOOK = (JOURNAL, "aggregate", "local", None)
MERGE = (JOURNAL, "aggregate", "local", 1)
OUTCOMES = (JOURNAL, "aggregate", "majority", None)
RENEWAL = (RUNS, "update", None, 1)
RUN_MOVES = (RUNS, "update", None, "majority")


def told(sent: Mapping[str, Any]) -> tuple[Any, ...]:
    """Collection, command, what its reads are of, whom its writes wait for."""
    name = next(iter(sent))
    read = sent.get("readConcern", {}).get("level")
    writes = name != "aggregate" or any("$merge" in stage for stage in sent["pipeline"])
    return sent[name], name, read, sent.get("writeConcern", {}).get("w") if writes else None


def planned(db: Database[Document], command: Command, sessions: int) -> str:
    """The run that is to repair so many sessions, of one event each."""
    shop = Shop(db)
    for number in range(sessions):
        shop.session(f"s{number:02}")
        shop.events(f"s{number:02}", {0: "/home"})
    assert command("fix", "--database", db.name, "--plan").code == 3
    return str(last_run(db)["_id"])


def test_a_batch_waits_twice_for_a_majority_however_large_it_is(
    db: Database[Document], command: Command, before_command: Callable[[Hook], None]
) -> None:
    run = planned(db, command, 25)
    sent: list[tuple[Any, ...]] = []

    def note(database: str, one: Mapping[str, Any]) -> None:
        name = next(iter(one))
        if database == db.name and one[name] in (JOURNAL, RUNS) and name in ("aggregate", "update"):
            sent.append(told(one))

    before_command(note)
    assert command("apply", run, "--database", db.name, "--batch-size", "10").code == 0
    batch = [RENEWAL, MERGE, RENEWAL, OUTCOMES, LOOK, RUN_MOVES]
    last = [RENEWAL, MERGE, RENEWAL, OUTCOMES, RUN_MOVES]
    # Taken over, fenced off, then the first batch; in the end the outcomes are counted.
    begin, end = [RUN_MOVES, RUN_MOVES, LOOK, RUN_MOVES], [OUTCOMES, RUN_MOVES, RUN_MOVES]
    assert sent == [*begin, *batch, *batch, *last, *end]


def test_a_limit_that_comes_with_the_last_batch_stops_nothing(
    db: Database[Document],
    command: Command,
    before_command: Callable[[Hook], None],
    tmp_path: Path,
) -> None:
    run, pause = planned(db, command, 15), tmp_path / "pause"
    merges = 0

    def pause_at_the_last_merge(_: str, one: Mapping[str, Any]) -> None:
        nonlocal merges
        if one.get("aggregate") == JOURNAL and "$merge" in one["pipeline"][-1]:
            merges += 1
            if merges == 2:
                pause.touch()

    before_command(pause_at_the_last_merge)
    words = (run, "--batch-size", "10", "--pause-file", str(pause))
    assert command("apply", *words, on=db).code == 0
    merges = 0
    pause.unlink()
    assert command("undo", *words, "--apply", on=db).code == 0
    assert (merges, pause.exists(), db["sessions"].count_documents({"pages": []})) == (2, True, 15)


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
