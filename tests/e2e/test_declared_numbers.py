"""Declared aggregates of numbers that are large, and of events chosen by what stands in arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import DatetimeMS, Decimal128, Int64

from tests.harness.commands import Command, Ended, reported
from tests.harness.documents import Db, Document, stored_bytes
from tests.harness.model import EXACT, MISSING
from tests.harness.shop import Shop, minute

CONFIG = """
[[aggregates]]
field = "total"
is = "sum"
of = "amount"

[[aggregates]]
field = "least"
is = "min"
of = "amount"

[[aggregates]]
field = "refs"
is = "distinct"
of = "ref"

[[aggregates]]
field = "first_ref"
is = "first"
of = "ref"

[[aggregates]]
field = "latest"
is = "max"
of = "at"

[[aggregates]]
field = "took"
is = "span"
of = "at"

[[aggregates]]
field = "promoted"
is = "count"
where = { tags = ["promo", "sale", "gone"] }

[[aggregates]]
field = "with_shoes"
is = "count"
where = { "items.sku" = "shoes" }
"""
HELD: Document = {"promoted": 0, "with_shoes": 0}
PROMOTED: Document = {"tags": ["promo", "new"], "items": [{"sku": "socks"}, {"sku": "shoes"}]}
LONG = 2**63
FAR = 2**63 // 1000  # the last millisecond that Spark can tell
WEI = "1.234567890123456789"
RIGHT = {"event_count": 1, "pages": ["/a"], "first_event_at": minute(0), "last_event_at": minute(0)}
# By session: what it holds; the amounts of its events, or more of each; what it is to hold. One
# page is of all.
CASES: dict[str, tuple[Document, list[Any], Document]] = {
    # An int is what a total mostly begins with; these are beyond the long that is wider.
    "from int": ({"total": 0, "least": 0}, [f"{LONG}"], {"total": f"{LONG}", "least": f"{LONG}"}),
    "18 places": (
        {**RIGHT, "total": Decimal128(WEI), "least": Decimal128(WEI)},
        [WEI],
        {"total": WEI},
    ),
    "18 places, empty": ({"total": 0, "least": 0}, [WEI], {"total": WEI, "least": WEI}),
    "small": (
        {"total": Decimal128("0"), "least": 0},
        ["1.0000000001", "-1"],
        {"total": "0.0000000001", "least": -1},
    ),
    "smaller": (
        {"total": Decimal128("7"), "least": 0},
        ["1E-18", "2.5E-9"],
        {"total": "0.000000002500000001", "least": "1E-18"},
    ),
    "nothing left": (
        {"total": Decimal128("7.00"), "least": 0},
        ["1.50", "-1.50"],
        {"total": "0", "least": "-1.50"},
    ),
    "held as it was written": (
        {"total": Decimal128("0E-18"), "least": Decimal128("1E+3")},
        ["1E+3"],
        {"total": "1000", "least": "1E+3"},
    ),
    "near a long": (
        {"total": Decimal128(f"{LONG}"), "least": Decimal128("-0.75")},
        ["-0.75", f"{LONG}"],
        {"total": f"{LONG - 1}.25", "least": "-0.75"},
    ),
    "35 digits": (
        {"total": Decimal128("7"), "least": Decimal128("7")},
        [f"{LONG}", "1E-18"],
        {"total": Decimal128("7"), "least": "1E-18"},
    ),
    # Doubles that cancel: what the events say is a matter of their order, the session's is as good.
    "cancel": ({"total": 0.0, "least": -0.3}, [0.1, 0.2, -0.3], {"total": 0.0}),
    "cancel much": ({"total": 0.01, "least": -1e9}, [1e9, 0.01, -1e9], {"total": 0.01}),
    # One value, whatever its type, though its text has not all of its digits.
    "2**60": (
        {**RIGHT, "total": 1, "least": 1, "refs": [2.0**60], "first_ref": 2.0**60},
        [{"amount": 1, "ref": Int64(2**60)}],
        {"refs": [2.0**60], "first_ref": 2.0**60},
    ),
    # A date beside a number, whichever is which: only whoever stored the session knows.
    "date beside number": (
        {"total": 0, "least": 0, "latest": Int64(1_740_830_400_000)},
        [{"amount": 1, "at": minute(0)}],
        {"total": 1, "latest": Int64(1_740_830_400_000), "took": MISSING},
    ),
    "never": (
        {"total": 0, "least": 0, "latest": minute(1)},
        [{"amount": 1, "at": DatetimeMS(2**63 - 1)}, {"amount": 1, "at": minute(2)}],
        {"total": 2, "latest": minute(1), "took": MISSING},
    ),
    "far": (
        {"total": 0, "least": 0, "took": 1},
        [{"amount": 1, "at": DatetimeMS(FAR)}, {"amount": 1, "at": DatetimeMS(-FAR)}],
        {"total": 2, "latest": DatetimeMS(FAR), "took": Int64(2 * FAR)},
    ),
    "from long": (
        {"total": Int64(5), "least": Int64(5)},
        [f"{2 * LONG + 1}"],
        {"total": f"{2 * LONG + 1}", "least": f"{2 * LONG + 1}"},
    ),
    "from decimal": (
        {"total": Decimal128("1"), "least": Decimal128("1")},
        [f"{2 * LONG + 7}", f"{3 * LONG}.50"],
        {"total": f"{5 * LONG + 7}.5", "least": f"{2 * LONG + 7}"},
    ),
    "from double": (
        {"total": 1.0, "least": 1.0},
        [f"{2 * LONG + 7}"],
        {"total": f"{2 * LONG + 7}", "least": f"{2 * LONG + 7}"},
    ),
    "the greatest long": (
        {"total": 0, "least": 0},
        [f"{LONG - 1}"],
        {"total": Int64(LONG - 1), "least": Int64(LONG - 1)},
    ),
    # 120 billion billions have more digits than Spark adds up: they cannot be told, nor left out.
    "beyond": (
        {"total": 0, "least": 0},
        ["6" + "0" * 19] * 2,
        {"total": 0, "least": 5},
    ),
    # Of numbers that are that near each other a sum may be either; a bound is one of the events'.
    "doubles": (
        {"total": 1757145019208.0, "least": 1757145019999.0},
        [1757145019208.0],
        {"total": 1757145019208.0, "least": 1757145019208.0},
    ),
    "longs beyond": (
        {"total": 7, "least": 0},
        [Int64(LONG - 1), 1],
        {"total": 7, "least": 1},
    ),
}


def number(value: Any) -> Any:
    return Decimal128(value) if isinstance(value, str) else value


def decoded_exactly(document: Document) -> Document:
    return bson.decode(bson.encode(document), EXACT)


@dataclass(frozen=True)
class Fixed:
    before: dict[Any, bytes]
    dry: Ended
    code: int
    report: Document
    after: dict[str, Document]


def how(tmp_path: Path, text: str = CONFIG) -> tuple[str, ...]:
    file = tmp_path / "numbers.toml"
    file.write_text(text)
    return "--config", str(file), "--scope", "all", "--max-malformed", "100%"


@pytest.fixture(scope="module")
def fixed(module_db: Db, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Fixed:
    shop = Shop(module_db)
    for name, (held, amounts, _) in CASES.items():
        shop.session(name, **{**HELD, **held})
        amounts = [*amounts, "5"] if name == "beyond" else amounts
        shop.events(name, dict.fromkeys(range(len(amounts)), "/a"))
        for moment, amount in enumerate(amounts):
            # A group of its own, which could be told.
            page = {"page": "/b"} if moment == 2 and name == "beyond" else {}
            more = amount if isinstance(amount, dict) else {"amount": number(amount)}
            told = {**more, **PROMOTED, **page}
            one = {"session_id": name, "timestamp": minute(moment)}
            module_db["events"].update_one(one, {"$set": told})
    module_db["events"].update_one({"session_id": "beyond"}, {"$set": {"tags": "sale"}})
    before = stored_bytes(module_db)
    words = how(tmp_path_factory.mktemp("numbers"))
    dry = command("fix", *words, on=module_db)
    code, report = reported(command, "fix", "--apply", *words, on=module_db)
    found = {it["session_id"]: it for it in module_db.get_collection("sessions", EXACT).find()}
    return Fixed(before, dry, code, report, found)


@pytest.mark.parametrize("name", CASES)
def test_a_number_is_written_as_it_is_or_not_at_all(fixed: Fixed, name: str) -> None:
    right = {field: number(value) for field, value in CASES[name][2].items()}
    found = {field: fixed.after[name].get(field, MISSING) for field in right}
    there = {field: it for field, it in right.items() if it is not MISSING}
    assert {field: it for field, it in found.items() if it is not MISSING} == decoded_exactly(there)
    assert {field: type(it) for field, it in found.items()} == {
        field: type(it) for field, it in {**right, **decoded_exactly(there)}.items()
    }


@pytest.mark.parametrize("name", CASES)
def test_events_are_chosen_by_what_stands_in_an_array_too(fixed: Fixed, name: str) -> None:
    number_of_events = 3 if name == "beyond" else len(CASES[name][1])
    assert (fixed.after[name]["promoted"], fixed.after[name]["with_shoes"]) == (
        number_of_events,
        number_of_events,
    )


def test_what_cannot_be_told_is_said_and_of_whom(fixed: Fixed) -> None:
    odd = {
        (it["collection"], it["field"], it["type"]): it["documents"]
        for it in fixed.report["malformed"]
    }
    assert odd == {
        ("sessions", "total", "beyond long"): 1,
        ("sessions", "total", "decimal of many digits"): 2,
        ("sessions", "latest", "number beside a date"): 1,
        ("events", "at", "date out of range"): 1,
    }
    assert fixed.code == 0
    line = "No event of 'events' is yet one where tags is 'gone', for the aggregate promoted"
    assert [it for it in fixed.dry.err.splitlines() if it.startswith("No event")] == [line]
    assert f"    total: 0 → {LONG}\n" in fixed.dry.out  # to its last digit


@pytest.mark.needs("many_runs")
def test_a_second_run_finds_nothing_to_correct(
    fixed: Fixed, module_db: Db, command: Command, tmp_path: Path
) -> None:
    again = command("fix", *how(tmp_path), on=module_db)
    assert "Would fix 0 sessions" in again.out, again.out
    run = fixed.report["run_id"]
    assert command("undo", run, "--apply", on=module_db).code == 0
    assert stored_bytes(module_db) == fixed.before


def test_an_array_within_an_array_is_not_looked_into(
    db: Db, command: Command, tmp_path: Path
) -> None:
    """Where that is what all events have, the run stops: no session would have one."""
    shop = Shop(db)
    shop.session("s", promoted=3, with_shoes=1)
    shop.events("s", {0: "/a"})
    nested = {"amount": 1, "tags": [["promo"], ["sale"]], "items": [{"sku": "shoes"}]}
    db["events"].update_one({}, {"$set": nested})
    counts = CONFIG[CONFIG.index('[[aggregates]]\nfield = "promoted"') :]
    ended = command("fix", "--apply", *how(tmp_path, counts), on=db)
    assert ended.code == 4
    assert "is of: where tags is 'promo' or 'sale' or 'gone'. Nothing was written." in ended.err
    assert db["sessions"].find_one({}, {"_id": 0, "promoted": 1}) == {"promoted": 3}
