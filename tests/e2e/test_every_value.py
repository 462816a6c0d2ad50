"""Whatever the two collections hold: found as foreseen, repaired to the byte, and undone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bson
import pyarrow.dataset
import pytest
from bson import json_util
from pymongo.database import Database

from tests.e2e.anything import Shop, many_shops
from tests.harness.commands import Command
from tests.harness.documents import JOURNAL, RUNS, Document, raw_documents
from tests.harness.epochs import MS, S, config_of, with_numbers
from tests.oracle import DATE, EXACT, foresee, key_of

# The other tests with any documents plan as for few rows.
pytestmark = [pytest.mark.needs("many_runs"), pytest.mark.usefixtures("adaptive")]

KEPT = ("first_event_at", "last_event_at")
OF_REPORT = json_util.CANONICAL_JSON_OPTIONS

APPLY = ("--apply", "--scope", "all", "--max-malformed", "100%")


def fill(db: Database[Document], shop: Shop) -> None:
    for name in (JOURNAL, RUNS, "sessions", "events"):
        db.drop_collection(name)
    db["sessions"].insert_many(shop.sessions)
    db["events"].insert_many(shop.events)


def bytes_of(db: Database[Document]) -> dict[bytes, bytes]:
    """Every session as the server holds it, by its _id of whatever type."""
    return {key_of(document["_id"]): document.raw for document in raw_documents(db)}


def assert_same(actual: dict[bytes, bytes], expected: dict[bytes, bytes]) -> None:
    """The same documents to the byte; the fields that differ are shown."""
    assert actual.keys() == expected.keys()
    differing = []
    for key, raw in expected.items():
        if actual[key] != raw:
            is_, should = bson.decode(actual[key], EXACT), bson.decode(raw, EXACT)
            names = [it for it in {**is_, **should} if is_.get(it) != should.get(it)]
            differing.append([(it, is_.get(it), should.get(it)) for it in names])
    assert differing == []


def findings_in(report: Path) -> list[Document]:
    """The rows of the newest run but for their dates, which Python may not know."""
    table = pyarrow.dataset.dataset(report / "findings", partitioning="hive").to_table(
        columns=["session", "session_type", "session_id", "code", "action", "outcome"]
    )
    return table.to_pylist()


def session_key(row: Document) -> bytes:
    """The _id that the report tells as text."""
    if row["session_type"] == "objectId":
        return key_of(bson.ObjectId(row["session"]))
    return key_of(json_util.loads(f'{{"v": {row["session"]}}}', json_options=OF_REPORT)["v"])


@dataclass(frozen=True)
class Bench:
    """Where an example is tried."""

    command: Command
    db: Database[Document]
    folders: pytest.TempPathFactory


@pytest.fixture
def bench(
    command: Command,
    db: Database[Document],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bench:
    return Bench(command, db, tmp_path_factory)


@pytest.mark.parametrize("may_be_odd", [False, True], ids=["ObjectIds", "any _ids"])
def test_whatever_there_is_is_found_repaired_and_undone(bench: Bench, may_be_odd: bool) -> None:
    find_repair_and_undo(bench, many_shops(3, may_be_odd))


@pytest.mark.parametrize(
    ("units", "usual"),
    [((MS, MS), "double"), ((S, S), "int"), ((S, MS), "double"), ((S, S), "decimal")],
)
def test_so_it_is_where_dates_are_numbers(bench: Bench, units: tuple[str, str], usual: str) -> None:
    shop = many_shops(2)
    sessions = with_numbers(shop.sessions, KEPT, units[0], usual)
    events = with_numbers(shop.events, ["timestamp"], units[1], "double")
    find_repair_and_undo(bench, Shop(sessions, events), units, usual)


def find_repair_and_undo(
    bench: Bench, shop: Shop, units: tuple[str, str] = (DATE, DATE), usual: str = DATE
) -> None:
    """All findings are as foreseen, all documents after the repair, and none is left to repair."""
    command, db = bench.command, bench.db
    fill(db, shop)
    before, foreseen = bytes_of(db), foresee(db, units, usual)
    report = bench.folders.mktemp("report")
    config = report / "dates.toml"
    config.write_text(config_of(*units))
    where = ("--database", db.name, "--config", str(config))
    fixed = command("fix", *where, *APPLY, "--report", str(report))
    assert (fixed.code, fixed.complaints) == (0, "")

    found: dict[bytes, dict[str, str]] = {key: {} for key in before}
    without_session: dict[str | None, set[str]] = {}
    for row in findings_in(report):
        if row["session"] is None:
            without_session.setdefault(row["session_id"], set()).add(row["code"])
        else:
            found[session_key(row)][row["code"]] = row["action"]
            assert row["outcome"] == ("applied" if row["action"] == "correct" else None)
    assert found == foreseen.codes
    assert without_session == foreseen.without_session
    assert_same(bytes_of(db), foreseen.documents)

    again = command("fix", *where, *APPLY)
    assert (again.code, again.figure("Read back as planned")) == (0, 0)
    assert_same(bytes_of(db), foreseen.documents)

    (run,) = db[RUNS].find({"planned": {"$gt": 0}})
    assert command("undo", run["_id"], *where, "--apply").code == 0
    assert_same(bytes_of(db), before)
