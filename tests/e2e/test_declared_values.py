"""Declared aggregates of every kind, with values of every type: found, repaired and undone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import DatetimeMS, ObjectId
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from tests.harness.commands import Command
from tests.harness.declared import (
    TWELVE,
    WRONG,
    Declared,
    Untold,
    dates,
    decimals,
    doubles,
    ints,
    is_absent,
    is_beside,
    is_same,
    is_sound,
    mended,
    said,
    scalars,
    texts,
)
from tests.harness.documents import RUNS, Db, Document, stored_bytes
from tests.harness.examples import examples
from tests.harness.model import EXACT, MISSING, at, written

pytestmark = pytest.mark.needs("many_runs")

ANN = ObjectId("68d000000000000000000001")
KEPT_AS_THEY_ARE = ("min", "max", "first", "last", "single")
NOON = 1_740_830_400_000
OF_VALUES: dict[str, list[st.SearchStrategy[Any]]] = {
    "amount": [ints, doubles, decimals],
    "tag": [texts, ints],
    "at": [dates],
}


@st.composite
def sessions(draw: Callable[..., Any], number: int) -> tuple[Document, list[Document]]:
    """A session, mostly of wrong values, and its events."""
    of = {name: draw(st.sampled_from(kinds)) for name, kinds in OF_VALUES.items()}
    of["via"] = draw(st.sampled_from([texts, scalars]))
    of["page"] = texts
    is_odd = draw(st.integers(0, 9)) == 0
    events = []
    for n in range(draw(st.integers(1, 5))):
        event: Document = {
            "_id": ObjectId(f"67c2f000{number:08x}{n:08x}"),
            "session_id": f"s{number}",
            "user_id": ANN,
            "timestamp": DatetimeMS(NOON + draw(st.sampled_from([0, 1, 500, 1_000, 7_250]))),
            "event_type": draw(st.sampled_from(["purchase", "refund", "view"])),
        }
        for name, values in of.items():
            if draw(st.integers(0, 3)):
                event[name] = draw(values)
        if is_odd:
            event[draw(st.sampled_from(["amount", "tag", "at", "via"]))] = draw(
                st.sampled_from(WRONG)
            )
        events.append(event)
    return session_of(draw, number, events), events


def in_order(events: list[Document]) -> list[Document]:
    return sorted(events, key=lambda it: (int(it["timestamp"]), it["_id"]))


def basics(events: list[Document]) -> Document:
    times = [it["timestamp"] for it in in_order(events)]
    pages = [it["page"] for it in in_order(events) if "page" in it]
    return {
        "event_count": len(events),
        "pages": list(dict.fromkeys(pages)),
        "first_event_at": times[0],
        "last_event_at": times[-1],
        "user_id": ANN,
    }


def session_of(draw: Callable[..., Any], number: int, events: list[Document]) -> Document:
    right = basics(events)
    empty = {"event_count": 0, "pages": []}
    expired = {"event_count": len(events) + 2}
    lies = draw(st.sampled_from([{}, {}, empty, expired]))
    session: Document = {"_id": ObjectId(f"67c2f001{number:016x}"), "session_id": f"s{number}"}
    session |= {**right, **lies}
    stats: Document = {}
    for it in TWELVE:
        value = draw(st.one_of(st.just(MISSING), st.none(), stored(it, events), stored(it, events)))
        if value is MISSING:
            continue
        if it.path.startswith("stats."):
            stats[it.path.removeprefix("stats.")] = value
        else:
            session[it.path] = value
    if stats or draw(st.booleans()):
        session["stats"] = stats
    return session


def stored(declared: Declared, events: list[Document]) -> st.SearchStrategy[Any]:
    """What a session may hold of it: the right value, or another; seldom one of a wrong type."""
    numbers = ints | doubles | decimals
    of_kind: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys(("count", "sum", "span"), numbers),
        **dict.fromkeys(("min", "max"), numbers | dates),
        **dict.fromkeys(("first", "last", "single"), scalars | doubles),
        "distinct": st.lists(texts | ints | st.just(events[0]["_id"]), max_size=3),
    }
    others = of_kind[declared.kind]
    try:
        right = said(declared, in_order(events))
    except Untold:
        right = MISSING
    known = others if right is MISSING else st.just(right) | st.just(right) | others
    return st.one_of(*[known] * 20, st.just({"a": 1}))


def foreseen(session: Document, events: list[Document]) -> tuple[dict[str, str], Document]:
    """The findings of what is declared, with their actions, and the document after the repair."""
    held = {it: at(session, it.path) for it in TWELVE}
    odd = [it for it, value in held.items() if not is_stored(it, value)]
    if odd:
        return {"malformed": "report"}, session
    found: dict[str, str] = {}
    new: Document = {}
    has_expired = session["event_count"] > len(events)
    for it, value in held.items():
        try:
            should = said(it, in_order(events))
        except Untold:
            found["malformed"] = "report"
            continue
        if it.kind in KEPT_AS_THEY_ARE and is_beside(value, should):
            found["malformed"] = "report"
            continue
        if it.kind == "single" and should is MISSING and has_several(it, events):
            found["channel_conflict"] = "report"
        if should is MISSING or is_same(it, value, should):
            continue
        left = mended(it, value, should, has_expired)
        found[it.code] = "report" if left is MISSING else "correct"
        if left is not MISSING:
            new[it.path] = left
    if not session["event_count"]:
        new |= {name: it for name, it in basics(events).items() if session[name] != it}
    return found, written(session, {"$set": new}) if new else session


def has_several(declared: Declared, events: list[Document]) -> bool:
    values = [at(it, str(declared.of)) for it in events]
    return not all(map(is_absent, values))


def is_stored(declared: Declared, value: Any) -> bool:
    if is_absent(value):
        return True
    if declared.kind == "distinct":
        return isinstance(value, list) and all(is_sound("distinct", it) for it in value)
    kind = "sum" if declared.kind in ("count", "span") else declared.kind
    return is_sound(kind, value)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("declared") / "twelve.toml"
    path.write_text("\n\n".join(it.toml for it in TWELVE))
    return str(path)


def test_twelve_of_every_kind_are_found_repaired_and_undone(
    db: Db, command: Command, config: str, tmp_path: Path, spark: SparkSession
) -> None:
    made = examples(sessions, 120)
    db.get_collection("sessions", EXACT).insert_many([session for session, _ in made])
    db.get_collection("events", EXACT).insert_many([it for _, events in made for it in events])
    before = stored_bytes(db)
    right = {session["_id"]: foreseen(session, events) for session, events in made}
    given = ("--config", config, "--settle", "0s", "--max-malformed", "100%", "--scope", "all")
    report = f"file://{tmp_path}/report"
    fixed = command("fix", "--apply", *given, "--report", report, on=db)
    assert fixed.code == 0, fixed.told
    found: dict[Any, dict[str, str]] = {key: {} for key in right}
    of_basics = {"empty_pages", "zero_events", "count_mismatch"}
    for row in spark.read.parquet(f"{report}/findings").collect():
        if row["code"] not in of_basics:
            found[ObjectId(row["session"])][row["code"]] = row["action"]
    after = stored_bytes(db)
    for key, (codes, document) in right.items():
        assert (key, found[key]) == (key, codes)
        assert (key, bson.decode(after[key], EXACT)) == (
            key,
            bson.decode(bson.encode(document), EXACT),
        )
        assert after[key] == bson.encode(document)
    again = command("fix", "--apply", *given, on=db)
    assert (again.code, again.figure("Read back as planned")) == (0, 0), again.told
    assert stored_bytes(db) == after
    (run,) = db[RUNS].find({"planned": {"$gt": 0}})
    undone = command("undo", run["_id"], "--apply", on=db)
    assert undone.code == 0, undone.told
    assert stored_bytes(db) == before
