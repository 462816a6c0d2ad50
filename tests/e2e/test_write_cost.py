"""What a repair asks of the server, command by command, and for whom its writes wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pymongo.database import Database

from tests.harness.commands import Command
from tests.harness.documents import JOURNAL, RUNS, Document
from tests.harness.holds import Hook
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


def test_a_batch_waits_twice_for_a_majority_however_large_it_is(
    db: Database[Document], command: Command, before_command: Callable[[Hook], None]
) -> None:
    shop = Shop(db)
    for number in range(25):
        shop.session(f"s{number:02}")
        shop.events(f"s{number:02}", {0: "/home"})
    assert command("fix", "--database", db.name, "--plan").code == 3
    run = db[RUNS].find_one({"verb": "fix"})
    assert run is not None
    sent: list[tuple[Any, ...]] = []

    def note(database: str, one: Mapping[str, Any]) -> None:
        name = next(iter(one))
        if database == db.name and one[name] in (JOURNAL, RUNS) and name in ("aggregate", "update"):
            sent.append(told(one))

    before_command(note)
    assert command("apply", run["_id"], "--database", db.name, "--batch-size", "10").code == 0
    batch = [RENEWAL, MERGE, RENEWAL, OUTCOMES, LOOK, RUN_MOVES]
    # Taken over, fenced off, then the first batch; the last look finds nothing more.
    begin, end = [RUN_MOVES, RUN_MOVES, LOOK, RUN_MOVES], [LOOK, OUTCOMES, RUN_MOVES, RUN_MOVES]
    assert sent == [*begin, *batch, *batch, *batch, *end]
