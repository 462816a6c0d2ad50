"""Declared aggregates by their names: misspelt ones stop a run, new ones are filled in."""

from __future__ import annotations

from pathlib import Path

import pytest
from bson import ObjectId

from tests.harness.commands import Command
from tests.harness.documents import JOURNAL, Db, Document, fingerprint, stored_bytes
from tests.harness.shop import ANN, MORNING, Shop, made_at, minute

PURCHASES = """
[[aggregates]]
field = "purchases"
is = "count"
where = { event_type = "purchase" }

[[aggregates]]
field = "revenue"
is = "sum"
of = "amount"

[[aggregates]]
field = "landing_page"
is = "first"
of = "page"

[[aggregates]]
field = "types"
is = "distinct"
of = "event_type"
"""


def put_events(db: Db, session_id: str, first: int) -> None:
    for n, (kind, amount) in enumerate([("view", None), ("purchase", 5), ("purchase", 2.5)]):
        event: Document = {
            "_id": made_at(minute(n), first + n),
            "session_id": session_id,
            "user_id": ANN,
            "timestamp": minute(n),
            "page": f"/{n}",
            "event_type": kind,
        }
        db["events"].insert_one(event if amount is None else {**event, "amount": amount})


BASICS: Document = {
    "event_count": 3,
    "pages": ["/0", "/1", "/2"],
    "first_event_at": minute(0),
    "last_event_at": minute(2),
}
DECLARED: Document = {
    "purchases": 2,
    "revenue": 7.5,
    "landing_page": "/0",
    "types": ["view", "purchase"],
}


@pytest.fixture
def store(db: Db) -> Db:
    """Sessions that are right, empty, and wrong in their count; none keeps a revenue yet."""
    shop, known = Shop(db, 1_000), {n: it for n, it in DECLARED.items() if n != "revenue"}
    for n in range(4):
        shop.session(f"right{n}", **BASICS, **known)
        shop.session(f"empty{n}", **(known if n else {"types": None}))
        shop.session(f"wrong{n}", **{**BASICS, "event_count": 2}, **known)
        for nth, name in enumerate(("right", "empty", "wrong")):
            put_events(db, f"{name}{n}", 100 * n + 10 * nth)
    for name in ("sessions", "events"):
        db[name].create_index("session_id")
    return db


def config(tmp_path: Path, text: str = PURCHASES) -> tuple[str, str]:
    path = tmp_path / "store.toml"
    path.write_text(text)
    return "--config", str(path)


@pytest.mark.parametrize("verb", [("verify",), ("fix", "--apply", "--scope", "all")])
@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ('"purchase" }', '"purchse" }', "that the aggregate purchases is of: where event_type is"),
        ("{ event_type", "{ event_typ", "no event of 'events' has the field 'event_typ'"),
        ('of = "amount"', 'of = "amuont"', "no event of 'events' has the field 'amuont'"),
        ('"landing_page"', '"landing"', "no session of 'sessions' has the field 'landing'"),
    ],
    ids=["value", "where", "of", "field"],
)
def test_what_no_document_has_stops_a_run_before_it_reads(
    store: Db,
    command: Command,
    tmp_path: Path,
    verb: tuple[str, ...],
    right: str,
    wrong: str,
    reason: str,
) -> None:
    before = fingerprint(store)[0]
    text = PURCHASES.replace(right, wrong, 1)
    ended = command(*verb, *config(tmp_path, text), "--allow-absent", "revenue", on=store)
    assert (ended.code, reason in ended.err) == (4, True), ended.told
    assert {name: fingerprint(store)[0][name] for name in before} == before


def test_a_new_aggregate_is_filled_in_everywhere_and_nothing_else(
    store: Db, command: Command, tmp_path: Path
) -> None:
    before = {it["_id"]: it for it in store["sessions"].find()}
    only = ("--scope", "all", "--only", "revenue_mismatch", "--allow-absent", "revenue")
    ended = command("fix", "--apply", *only, *config(tmp_path), on=store)
    assert ended.code == 0, ended.told
    filled = {key: {**it, "revenue": 7.5} for key, it in before.items()}
    assert {it["_id"]: it for it in store["sessions"].find()} == filled
    assert ended.figure("Read back as planned") == 12


@pytest.mark.needs("many_runs")
def test_a_look_up_plans_what_a_scan_plans(store: Db, command: Command, tmp_path: Path) -> None:
    plans, before = [], stored_bytes(store)
    for strategy in ("scan", "lookup"):
        given = ("--plan", "--strategy", strategy, "--allow-absent", "revenue")
        ended = command("fix", *given, *config(tmp_path), on=store)
        assert ended.code == 3, ended.told
        plans.append({it["plan"]["session"]["v"]: it["plan"] for it in store[JOURNAL].find()})
        store[JOURNAL].delete_many({})
    assert stored_bytes(store) == before
    assert plans[0] == plans[1]
    empty = {it["_id"]: it["session_id"] for it in store["sessions"].find({"event_count": 0})}
    assert {key: it["session_id"] for key, it in plans[0].items()} == empty
    first = next(plan for plan in plans[0].values() if plan["session_id"] == "empty0")
    assert first["observed"] == {
        "event_count": 0,
        "pages": [],
        "first_event_at": MORNING,
        "last_event_at": MORNING,
        "user_id": ANN,
        "types": None,
    }
    last = {"last_event_at": minute(2)}
    counted = {"event_count": 3, "pages": BASICS["pages"], **last}
    assert first["new"] == {**counted, **DECLARED}
    others = next(plan for plan in plans[0].values() if plan["session_id"] == "empty1")
    assert others["new"] == {**counted, "revenue": 7.5}
    assert isinstance(others["session"]["v"], ObjectId)
