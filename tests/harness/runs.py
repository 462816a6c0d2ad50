"""What the runs on a database say of themselves: their documents, outcomes, batches, lease."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from typing import Any

from tests.harness.documents import JOURNAL, RUNS, SESSIONS, Db, Document

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def run_documents(db: Db) -> list[Document]:
    """The documents of all runs, the oldest first."""
    return list(db[RUNS].find({"verb": {"$exists": True}}).sort("started_at", 1))


def the_run(db: Db) -> Document:
    """The document of the only run."""
    (run,) = run_documents(db)
    return run


def last_run(db: Db) -> Document:
    return run_documents(db)[-1]


def outcomes(db: Db, run_id: str | None = None) -> Counter[str]:
    """The journal rows by outcome, of one run or of all; 'none' has none yet.

    That of a row is its mark, else whether a batch that has ended held it.
    """
    wanted = [run for run in run_documents(db) if run_id in (None, run["_id"])]
    counts: Counter[str] = Counter()
    for run in wanted:
        ended = run.get("progress", {}).get("after", "")
        for row in db[JOURNAL].find({"run_id": run["_id"]}, {"outcome": 1}):
            counts[row.get("outcome", "applied" if row["_id"] <= ended else "none")] += 1
    return counts


def is_balanced(counts: Document) -> bool:
    """Every planned correction has one outcome."""
    done = ("applied", "already_right", "skipped_changed", "skipped_gone", "failed")
    return bool(sum(counts[name] for name in done) == counts["planned"])


def is_planned(db: Db) -> bool:
    """The plan is frozen: next comes the first batch."""
    return any(run["state"] == "planned" for run in run_documents(db)[-1:])


def is_applying(db: Db) -> bool:
    """The first batch was committed."""
    return any(run["state"] == "applying" for run in run_documents(db)[-1:])


def is_copied(db: Db) -> bool:
    """Documents were deleted, and copied into the journal: a batch of them has been committed."""
    return db[JOURNAL].find_one({"before": {"$exists": True}}) is not None


def batch_ends(db: Db, run_id: str) -> list[str]:
    """The last rows of the batches of a run in their order, as the oplog tells them.

    Each batch is a transaction, in which the run's progress moves. Those before the run was put
    back as it had been are of another test.
    """
    ns = f"{db.name}.{RUNS}"
    made = {"op": "i", "ns": ns, "o._id": run_id}
    entries = db.client["local"]["oplog.rs"].find({"$or": [{"o.applyOps.o2._id": run_id}, made]})
    ends: list[str] = []
    for entry in entries.sort("$natural", 1):
        if entry["op"] == "i":
            ends = []
            continue
        for write in entry["o"]["applyOps"]:
            if write["ns"] == ns:  # of the lease, or of the run: its first batch sets all at once
                diff = write["o"].get("diff", {})
                whole = diff.get("u", {}).get("progress", {})
                moved = diff.get("sprogress", {}).get("u", {})
                ends += [it["after"] for it in (whole, moved) if "after" in it]
    return ends


def batches(db: Db) -> list[int]:
    """The sizes of the batches of the last run in their order."""
    rows = [row["_id"] for row in db[JOURNAL].find({}, {"_id": 1}).sort("_id", 1)]
    ends = [rows.index(end) + 1 for end in batch_ends(db, last_run(db)["_id"])]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def planned_keys(db: Db, run_id: str | None = None) -> list[Any]:
    """The _ids of the planned sessions of one run, or of all, in the order of their writes."""
    wanted = {} if run_id is None else {"run_id": run_id}
    rows = db[JOURNAL].find(wanted, {"plan.session": 1}).sort("_id", 1)
    return [row["plan"]["session"]["v"] for row in rows]


def plan_of(db: Db, key: Any) -> Document:
    """What the journal says of a session."""
    row = db[JOURNAL].find_one({"plan.session.v": key})
    assert row is not None
    return dict(row["plan"])


def heal(db: Db, key: Any) -> None:
    """What the run would do to the session, done by somebody else."""
    db[SESSIONS].update_one({"_id": key}, {"$set": plan_of(db, key)["new"]})


def writes_to(db: Db, collection: str = SESSIONS) -> int:
    """How often documents of the collection were written, as the oplog tells."""
    ns = f"{db.name}.{collection}"
    oplog = db.client["local"]["oplog.rs"]
    alone = oplog.count_documents({"ns": ns, "op": {"$in": ["i", "u", "d"]}})
    inside: list[Document] = [{"$match": {"o.applyOps.ns": ns}}, {"$unwind": "$o.applyOps"}]
    grouped = oplog.aggregate([*inside, {"$match": {"o.applyOps.ns": ns}}, {"$count": "n"}])
    return alone + sum(it["n"] for it in grouped)


def lease_of(db: Db) -> Document:
    lease = db[RUNS].find_one({"_id": "lease"})
    assert lease is not None
    return lease


def let_the_lease_expire(db: Db) -> None:
    """What a minute without a word does: the lease is free, and the server ended what was open."""
    if session := lease_of(db).get("session"):
        db.client.admin.command("killSessions", [{"id": session}])
    db[RUNS].update_one({"_id": "lease"}, {"$set": {"expires_at": LONG_AGO}})
