"""Runs: a document per run with its settings, state, progress and verdict."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pymongo
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from session_repair import __version__
from session_repair.errors import BrokenOff, Exit, Interrupted, LeaseHeld, Refused, RepairError
from session_repair.logs import name_run, notice
from session_repair.mongo.lease import LEASE_ID
from session_repair.mongo.newest import LAST, RUNS, WROTE, newest
from session_repair.mongo.store import Store
from session_repair.settings import PARTIAL, describe
from session_repair.typed import typed

Document = dict[str, Any]

# planning: its journal is not whole, nothing was written to sessions. planned: its journal is
# frozen. stopped: so it is, but with more than a limit allows, and only who raises that has it
# applied. applying: some batches are done. undoing: some may be undone. done, undone: at an end.
PLANNING, PLANNED, STOPPED = "planning", "planned", "stopped"
APPLYING, DONE = "applying", "done"
UNDOING, UNDONE = "undoing", "undone"
APPLICABLE = (PLANNED, STOPPED)
RESUMABLE = (PLANNING, *APPLICABLE, APPLYING)
OPEN = (*RESUMABLE, UNDOING)
JOURNAL_FORMAT = 3  # of a run's journal rows and of its progress


def is_partial(settings: Mapping[str, Any], report: Mapping[str, Any]) -> bool:
    """Whether a run was about some sessions or findings only.

    Since ``last-success`` it is about all, as its report says, where there was no success yet.
    """
    asked = {name for name in PARTIAL if settings.get(name)}
    is_windowless = "window" in report and report["window"] is None
    return bool(asked - {"since", "until"} if is_windowless else asked)


def refuse_foreign(store: Store) -> None:
    """Raise Refused where the journal or the runs hold documents that are not of this job.

    They would expire with the journal. All _ids of the job's begin with the letter of its runs, but
    for the lease's, so the index of _id tells at once.
    """
    is_other = {"$or": [{"_id": {"$not": {"$gte": "r"}, "$ne": LEASE_ID}}, {"_id": {"$gte": "s"}}]}
    for collection in (store.journal, store.runs):
        if store.database.command("count", collection.name, query=is_other, limit=1)["n"]:
            raise Refused(
                f"{collection.full_name} holds documents of others. Name a collection that is "
                "the job's alone under [collections] in the config file."
            )


def new_run_id(now: datetime) -> str:
    """The id of a run that begins now; from now on the log names it.

    Starts with a letter, so that no _id made of it is ever read as JSON; sorts by time.
    """
    run_id = f"r{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    name_run(run_id)
    return run_id


@dataclass(frozen=True)
class Run:
    """One run as the database knows it; every method is one atomic update of its document.

    ``token`` is that of the lease under which it is worked on. Whoever works on it later has a
    higher one, and then an earlier holder can write nothing into the document any more.
    """

    store: Store
    run_id: str
    token: int | None = None

    @property
    def collection(self) -> Collection[Document]:
        return self.store.runs

    def typed(self, verb: str, *words: str) -> str:
        """The command of the verb on this run, for a shell."""
        return typed(self.store.settings.reached_by, verb, self.run_id, *words)

    @staticmethod
    def begin(
        store: Store,
        verb: str,
        now: datetime,
        run_id: str,
        token: int,
        goal: str = DONE,
    ) -> Run:
        """A run that is about to read, and ends in the state ``goal``.

        The settings are kept without the connection string.
        """
        import pyspark  # only verbs with Spark begin a run

        store.runs.insert_one(
            {
                "_id": run_id,
                "token": token,
                "verb": verb,
                "state": PLANNING,
                "goal": goal,
                "journal_format": JOURNAL_FORMAT,
                "attempt": 0,
                "settings": describe(store.settings),
                "asked": {name: describe(store.settings)[name] for name in store.settings.asked},
                "versions": {
                    "session_repair": __version__,
                    "spark": pyspark.__version__,
                    "pymongo": pymongo.version,
                    "python": platform.python_version(),
                },
                "started_at": now,
            }
        )
        return Run(store, run_id, token)

    @staticmethod
    def find(store: Store, run_id: str, among: Document = RUNS) -> Run:
        """The run with this id; from now on the log names it. Raises Refused when there is none.

        ``last`` is the newest of those ``among`` which it is looked for, and is told.
        """
        is_last = run_id == LAST
        runs = newest(store, among if is_last else {"_id": run_id}, [])
        if (found := next(runs, None)) is None:
            wrote = " that has written anything" if among is WROTE else ""
            listing = typed(store.settings.reached_by, "runs")
            which = f"run{wrote} yet. See" if is_last else f"run {run_id!r}. Find it with"
            raise Refused(f"there is no {which}: {listing}")
        run = Run(store, found["_id"])
        if is_last:
            notice(f"The last run{' that wrote' if among is WROTE else ''} is {run.run_id}")
        name_run(run.run_id)
        return run

    def read(self) -> Document:
        found = self.collection.find_one({"_id": self.run_id})
        if found is None:
            raise Refused(f"run {self.run_id!r} has no document any more.")
        return found

    def held_by(self, token: int, part: str) -> Run:
        """The run as the holder of the lease with this token works on that part of it."""
        begun = {f"{part}.token": token, f"{part}.waiting": None}
        held = {"$max": {"token": token}, "$set": begun}
        self.collection.update_one({"_id": self.run_id}, held)
        return replace(self, token=token)

    def mine(self) -> Document:
        """The filter that finds the document while nobody else has taken over the run."""
        return {"_id": self.run_id, "token": self.token}

    def record(self, *stamps: str, **fields: Any) -> None:
        """Set fields of the run, and the stamps to the server's time. Raises LeaseHeld."""
        values: Document = dict.fromkeys(("updated_at", *stamps), "$$NOW")
        values |= {name: {"$literal": value} for name, value in fields.items()}
        recorded = self.collection.update_one(self.mine(), [{"$set": values}])
        if recorded.matched_count == 0:
            raise self.taken_over()

    def taken_over(self) -> LeaseHeld:
        return LeaseHeld(
            f"run {self.run_id} was taken over by another process, and this one wrote nothing "
            f"more. See {self.typed('runs')}"
        )

    def plan_anew(self) -> int:
        """The number of the attempt to plan that begins now; rows of earlier ones never count."""
        attempt: int = self.read()["attempt"] + 1
        self.record(attempt=attempt, **{"progress.reading": None})
        return attempt

    def note(self, **told: Any) -> None:
        """Say how far the planning is; a plan that is whole begins its own progress."""
        self.record(**{f"progress.{name}": value for name, value in told.items()})

    def planned(self, planned: int, digest: str, report: Document, state: str) -> None:
        """The plan is whole and frozen, to be applied or ``stopped``."""
        self.record(
            "planned_at",
            state=state,
            planned=planned,
            digest=digest,
            report=report,
            progress={"after": "", "counts": {}},
            error=None,
        )

    def move(
        self,
        part: str,
        was: str,
        now: str,
        counts: Mapping[str, int],
        session: ClientSession | None,
        **fields: Any,
    ) -> None:
        """Say that all rows up to one are done, and what became of those since it ``was`` another.

        Raises LeaseHeld when somebody else works on the run. Without a transaction it may be said
        again, where it cannot be known whether it was heard.
        """
        values: Document = {
            "updated_at": "$$NOW",
            f"{part}.previous": {"$literal": was},
            f"{part}.after": {"$literal": now},
            f"{part}.first_at": {"$ifNull": [f"${part}.first_at", "$$NOW"]},
            f"{part}.last_at": "$$NOW",
        }
        values |= {name: {"$literal": value} for name, value in fields.items()}
        values |= added(part, counts)
        here = {**self.mine(), f"{part}.after": was or {"$in": ["", None]}}
        moved = self.collection.update_one(here, [{"$set": values}], session=session).matched_count
        if not moved and (session or not self.has_moved(part, was, now)):
            raise self.taken_over()

    def has_moved(self, part: str, was: str, now: str) -> bool:
        """Whether this very holder of the lease has moved it so: the answer was lost."""
        so = {**self.mine(), f"{part}.previous": was, f"{part}.after": now}
        return self.collection.find_one(so, ["_id"]) is not None

    def recount(self, part: str, counts: Mapping[str, int], session: ClientSession | None) -> None:
        """Count some rows otherwise. Raises LeaseHeld when somebody else works on the run."""
        again = [{"$set": added(part, counts)}]
        if self.collection.update_one(self.mine(), again, session=session).matched_count == 0:
            raise self.taken_over()

    def end(self, state: str, report: Document, verdict: int) -> None:
        self.record("ended_at", state=state, verdict=verdict, report=report, error=None)


def fence(collection: Collection[Document], token: int) -> None:
    """From now on no earlier holder of the lease can write into the document of an open run."""
    ours = {"verb": {"$exists": True}, "state": {"$in": OPEN}}
    collection.update_many(ours, {"$max": {"token": token}})


def added(part: str, counts: Mapping[str, int]) -> Document:
    """The counts of a part of a run's document with these added to them."""
    return {
        f"{part}.counts.{name}": {"$add": [{"$ifNull": [f"${part}.counts.{name}", 0]}, count]}
        for name, count in counts.items()
    }


def reached(document: Document, part: str) -> str:
    """The _id of the last row that is done of a run's ``progress`` or ``undo``; else empty."""
    after: str = (document.get(part) or {}).get("after", "")
    return after


def counted(document: Document, part: str) -> dict[str, int]:
    """What became of the rows that are done of a run's ``progress`` or ``undo``, by name."""
    counts: dict[str, int] | None = (document.get(part) or {}).get("counts")
    return counts or {}


@contextmanager
def recorded_errors(run: Run, finish: str) -> Iterator[None]:
    """What ends the run early is written into its document, as far as MongoDB can be reached.

    Where it breaks off, with the command to ``finish`` it with.
    """
    try:
        yield
    except BaseException as error:
        told = Interrupted("interrupted.") if isinstance(error, KeyboardInterrupt) else error
        verdict = getattr(told, "exit_code", Exit.UNEXPECTED)
        if isinstance(told, RepairError):
            told.run_id = run.run_id
        if isinstance(told, BrokenOff):
            told.args = (f"{str(told).rstrip('.')}. Finish it with: {finish}",)
        with suppress(PyMongoError, LeaseHeld):
            run.record(error=f"{type(told).__name__}: {told}"[:500], verdict=int(verdict))
        if told is error:
            raise
        raise told from None
