"""What the fault tests share: broken data, an oracle in plain Python, holds inside the server."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

import delete_orphan_sessions
import fix_empty_sessions
import resume_run
from session_repair.cli import commands as without_spark
from tests.faults.runs import batch_ends
from tests.faults.runs import outcomes as outcomes_of

Document = dict[str, Any]
Db = Database[Document]
Main = Callable[[Sequence[str]], int]

JOURNAL, RUNS = "session_repair_journal", "session_repair_runs"
APP = "session-repair"
PATIENCE = 300.0  # seconds; a busy machine takes its time
MAINS: dict[str, Main] = {
    "fix": fix_empty_sessions.main,
    "delete-orphans": delete_orphan_sessions.main,
    "resume": resume_run.main,
}


@dataclass(frozen=True)
class Verbs:
    """The commands in this process, on one database; each call is one run of one verb."""

    database: str
    folder: Path

    @staticmethod
    def on(uri: str, database: str, folder: Path) -> Verbs:
        (folder / "uri").write_text(uri)
        return Verbs(database, folder)

    def __call__(self, verb: str, *options: str) -> int:
        """The exit code of the verb."""
        wanted = [*options, "--database", self.database, "--uri-file", str(self.folder / "uri")]
        if verb in MAINS:
            return int(MAINS[verb](wanted))
        return int(without_spark.main([verb, *wanted]))

    def reported(self, verb: str, *options: str) -> tuple[int, Document]:
        """The exit code, and the report that --json wrote."""
        file = self.folder / "report.json"
        file.unlink(missing_ok=True)
        code = self(verb, *options, "--json", str(file))
        return code, json.loads(file.read_text())


def rebuilt(db: Db) -> dict[str, Document]:
    """What every session with events should say, by session_id; counted here, event by event."""
    events: dict[str, list[Document]] = defaultdict(list)
    for event in db["events"].find():
        events[event["session_id"]].append(event)
    for of_session in events.values():
        of_session.sort(key=lambda event: (event["timestamp"], event["_id"]))
    return {
        session_id: {
            "event_count": len(of_session),
            "pages": list(dict.fromkeys(it["page"] for it in of_session if "page" in it)),
            "first_event_at": of_session[0]["timestamp"],
            "last_event_at": of_session[-1]["timestamp"],
        }
        for session_id, of_session in events.items()
    }


def differing(db: Db, *, in_order: bool = True) -> list[str]:
    """The sessions that are not what their events say; those without events must be empty."""
    right = rebuilt(db)
    nothing = {"event_count": 0, "pages": []}
    found = []
    for session in db["sessions"].find():
        wanted = right.pop(session["session_id"], nothing)
        stored = {name: session[name] for name in wanted}
        if not in_order and sorted(stored["pages"]) == sorted(wanted["pages"]):
            stored["pages"] = wanted["pages"]
        if stored != wanted:
            found.append(session["session_id"])
    return [*found, *right]  # what is left has events and no session


def outcomes(db: Db, run_id: str | None = None) -> Counter[str]:
    """The journal rows by outcome, of one run or of all; 'none' has none yet."""
    wanted = {"_id": run_id} if run_id else {"verb": {"$exists": True}}
    counts = (outcomes_of(db, run["_id"]) for run in db[RUNS].find(wanted, {"_id": 1}))
    return sum(map(Counter, counts), Counter())


def batches(db: Db) -> list[int]:
    """The sizes of the batches of the last run in their order."""
    rows = [row["_id"] for row in db[JOURNAL].find({}, {"_id": 1}).sort("_id", 1)]
    ends = [rows.index(end) + 1 for end in batch_ends(db, last_run(db)["_id"])]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def is_begun(db: Db) -> bool:
    """A batch is begun: next comes its change."""
    progress = last_run(db).get("progress", {"after": "", "begun": ""})
    return bool(progress["begun"] > progress["after"])


def is_copied(db: Db) -> bool:
    """Documents that are to be deleted were copied into the journal: next comes their change."""
    return db[JOURNAL].find_one({"before": {"$exists": True}}) is not None


def is_planned(db: Db) -> bool:
    """The plan is frozen: next comes the copy of the first batch."""
    run = db[RUNS].find_one({"verb": {"$exists": True}}, sort=[("_id", -1)])
    return run is not None and run["state"] == "planned"


def last_run(db: Db) -> Document:
    run = db[RUNS].find_one({"verb": {"$exists": True}}, sort=[("_id", -1)])
    assert run is not None
    return run


def is_balanced(counts: Document) -> bool:
    """Every planned correction has one outcome."""
    done = ("applied", "skipped_changed", "skipped_gone", "changed_meanwhile", "failed")
    return bool(sum(counts[name] for name in done) == counts["planned"])


@dataclass(frozen=True)
class Hold:
    """A fail point that makes the server wait before it answers certain commands of the job."""

    admin: Database[Document]
    entered: int

    def wait(self, times: int = 1) -> None:
        """Until the server has held so many commands."""
        wanted = self.entered + times
        self.admin.command(
            "waitForFailPoint", "failCommand", timesEntered=wanted, maxTimeMS=int(PATIENCE * 1000)
        )

    def until(self, holds: Callable[[], object]) -> None:
        """Until the job has come so far; a command that is held then leaves time to act."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, "the job never came to the point to be held at"
            time.sleep(0.05)

    def release(self) -> None:
        """Hold no further command; returns when what is held already has waited its time."""
        self.admin.command("configureFailPoint", "failCommand", mode="off")


@contextmanager
def held(
    client: MongoClient[Document],
    *commands: str,
    seconds: float,
    on: str | None = None,
    mode: Any = "alwaysOn",
) -> Iterator[Hold]:
    """Hold these commands of the job, on one collection (``database.name``) where ``on`` says."""
    data: Document = {
        "failCommands": list(commands),
        "appName": APP,
        "blockConnection": True,
        "blockTimeMS": int(seconds * 1000),
    }
    if on is not None:
        data["namespace"] = on
    admin = client["admin"]
    answer = admin.command("configureFailPoint", "failCommand", mode=mode, data=data)
    hold = Hold(admin, answer["count"])
    try:
        yield hold
    finally:
        hold.release()
