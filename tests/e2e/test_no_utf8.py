"""Text that is not UTF-8: it is told apart from the text that it is shown as, and joins nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from tests.harness.commands import Command, reported
from tests.harness.documents import Document, raw_documents, stored_bytes, with_bytes
from tests.harness.shop import ANN, MORNING, Shop, minute

NO_UTF8 = "text that is not UTF-8"
LENIENT = ("--max-malformed", "100%")
ILL_FORMED = [  # cut off, alone, too long, a surrogate, too large, beside a true U+FFFD
    *(b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\x80", b"\xff", b"\xc0\xaf", b"\xe0\x80\xaf"),
    *(b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbf\xbd\xe9", b"\xe2\xef\xbf\xbd\x82\xac"),
]
SOUND = ["\ufffd", "a\ufffdb\ufffd\ufffd", "a😀é€", "", "~\u0000~"]


class OddShop(Shop):
    """What it inserts has for each ``~`` the byte E9, Latin-1's é, or for several other ones."""

    odd = b"\xe9"

    def add(self, name: str, document: Document) -> Any:
        self.db[name].insert_one(with_bytes(document, self.odd))
        return document["_id"]

    def session(self, session_id: Any, **fields: Any) -> Any:
        empty = {"event_count": 0, "pages": [], "first_event_at": MORNING, "user_id": ANN}
        usual = {"session_id": session_id, "last_event_at": MORNING, **empty}
        return self.add("sessions", {"_id": self.id_at(), **usual, **fields})

    def event(self, session_id: Any, page: Any, number: int = 0, user: Any = ANN) -> Any:
        at = minute(number)
        event = {"session_id": session_id, "timestamp": at, "page": page, "user_id": user}
        return self.add("events", {"_id": self.id_at(at), **event})


@dataclass(frozen=True)
class Odd:
    """The _ids of what was made by name, and what was told of it."""

    db: Database[Document]
    command: Command
    made: dict[str, ObjectId]
    bytes_before: dict[Any, bytes]
    events: dict[str, ObjectId]


def fill(db: Database[Document]) -> tuple[dict[str, ObjectId], dict[str, ObjectId]]:
    """Twelve sessions, of which four are sound and are to be corrected, and their events."""
    shop, other = OddShop(db), OddShop(db, 1_000)
    made = {
        "true": shop.session("a\ufffd"),
        "looks alike": shop.session("a~"),
        "true page": shop.session("true page"),
        "odd page": shop.session("odd page"),
        "odd user": shop.session("odd user", user_id=None),
        "its own user": shop.session("own user", user_id="Ann~"),
        "its own pages": shop.session("own pages", pages=["/x", "/caf~"], event_count=1),
        "true user": shop.session("true user", user_id="Ann\ufffd"),
        "orphan": shop.session("orphan\ufffd"),
        "kept": shop.session("kept"),
        "many": shop.session("many"),
        "sound": shop.session("sound"),
    }
    shop.event("a\ufffd", "/own", 1)
    events = {
        "of a lookalike": shop.event("a~", "/foreign", 2),
        "page": shop.event("odd page", "/caf~", 2),
        "user": shop.event("odd user", "/a", 1, "Ann~"),
        "of no orphan": shop.event("orphan~", "/a", 1),
        "of several": shop.event(["kept", "x~"], "/a", 1),
    }
    other.odd = b"\xff"
    events["of another"] = other.event("a~", "/foreign too", 3)
    for number, other.odd in enumerate(ILL_FORMED):
        events[f"ill-formed {number}"] = other.event("many", f"/{'~' * len(other.odd)}")
    other.odd = b"never there"
    for number, page in enumerate(SOUND):
        other.event("sound", page, number)
    shop.event("odd page", "/home", 1)
    shop.event("true page", "/caf\ufffd", 1)
    shop.event("own user", "/a", 1)
    shop.event("own pages", "/x", 1)
    shop.event("true user", "/a", 1, "Ann\ufffd")
    for name in ("sessions", "events"):
        db[name].create_index("session_id")
    return made, events


@pytest.fixture(scope="module")
def odd(module_db: Database[Document], command: Command) -> Odd:
    made, events = fill(module_db)
    return Odd(module_db, command, made, stored_bytes(module_db), events)


@pytest.fixture(scope="module")
def verified(odd: Odd) -> Document:
    code, report = reported(odd.command, "verify", on=odd.db)
    assert code == 3
    return report


@pytest.fixture(scope="module")
def fixed(odd: Odd, verified: Document) -> dict[str, Any]:
    """What the sessions are after two repairs, by the name of each: one by look-up, one by scan."""
    for options in (("--strategy", "lookup"), ("--strategy", "scan", "--scope", "all")):
        ended = odd.command("fix", "--apply", *options, *LENIENT, on=odd.db)
        assert (ended.code, ended.complaints) == (0, "")
    names = {key: name for name, key in odd.made.items()}
    return {names[it["_id"]]: it for it in raw_documents(odd.db)}


def test_each_field_is_told_with_the_documents_that_hold_it(odd: Odd, verified: Document) -> None:
    told = {(it["collection"], it["field"], it["type"]): it for it in verified["malformed"]}
    made, events = odd.made, odd.events
    expected = {
        ("sessions", "session_id"): [made["looks alike"]],
        ("sessions", "user_id"): [made["its own user"]],
        ("sessions", "pages"): [made["its own pages"]],
        ("events", "session_id"): [
            events[it] for it in ("of a lookalike", "of another", "of no orphan")
        ],
        ("events", "page"): [
            id for name, id in events.items() if name == "page" or name.startswith("ill-formed")
        ],
        ("events", "user_id"): [events["user"]],
    }
    assert {
        key: (it["documents"], {held["$oid"] for held in it["samples"]}) for key, it in told.items()
    } == {
        **{(*key, NO_UTF8): (len(ids), {*map(str, ids)}) for key, ids in expected.items()},
        ("events", "session_id", "array"): (1, {str(events["of several"])}),
    }


def test_what_is_only_like_it_is_sound_and_nothing_else_is_to_be_corrected(
    verified: Document,
) -> None:
    found = {it["code"]: (it["found"], it["to_correct"]) for it in verified["symptoms"]}
    assert found["malformed"] == (6, 0)
    assert found["empty_pages"] == found["zero_events"] == (4, 4)
    assert found["orphan_session"] == (2, 0)
    assert found["orphan_events"] == (1, 0)
    totals, events = verified["totals"], 11 + 1 + len(ILL_FORMED) + len(SOUND)
    assert (totals["sessions"], totals["events"], totals["planned"]) == (12, events, 4)
    assert (totals["names_no_page"], totals["counts_nothing"]) == (11, 11)


def test_true_text_gets_what_its_own_events_say(fixed: dict[str, Any]) -> None:
    assert fixed["true"]["pages"] == ["/own"]
    assert (fixed["true"]["event_count"], fixed["true"]["user_id"]) == (1, ANN)
    assert fixed["true page"]["pages"] == ["/caf\ufffd"]
    assert (fixed["true user"]["pages"], fixed["true user"]["user_id"]) == (["/a"], "Ann\ufffd")
    assert fixed["sound"]["pages"] == SOUND


def test_no_other_session_is_written(odd: Odd, fixed: dict[str, Any]) -> None:
    after = {name: it.raw for name, it in fixed.items()}
    changed = {name for name, key in odd.made.items() if after[name] != odd.bytes_before[key]}
    assert changed == {"true", "true page", "true user", "sound"}


@pytest.mark.needs("many_runs")
def test_an_orphan_is_deleted_beside_events_that_only_look_like_its_own(
    odd: Odd, fixed: dict[str, Any]
) -> None:
    limit = ("--max-delete", "100%", *LENIENT)
    ended = odd.command("delete-orphans", "--apply", "--strategy", "scan", *limit, on=odd.db)
    assert (ended.code, ended.complaints) == (0, "")
    gone = set(odd.made.values()) - set(stored_bytes(odd.db))
    assert gone == {odd.made["orphan"]}


def test_an_option_that_is_no_utf8_is_refused(odd: Odd) -> None:
    ended = odd.command("verify", "--session-id", "a\udcff", on=odd.db)
    told = "verify: --session-id is not text in UTF-8. Write it again, in a terminal for UTF-8.\n"
    assert (ended.code, ended.told) == (2, told)


READING_AGAIN = "text is shown with U+FFFD: reading again"


@pytest.mark.needs("many_runs")
def test_only_where_text_is_shown_with_a_mark_all_is_read_twice(
    command: Command, db: Database[Document]
) -> None:
    shop = OddShop(db)
    shop.session("s")
    shop.event("s", "/caf\u00e9\u0000", 1)
    assert READING_AGAIN not in command("verify", "-v", on=db).err
    shop.event("s", "/caf\ufffd", 2)
    ended = command("verify", "-v", on=db)
    assert ended.err.count(READING_AGAIN) == 1
    assert "malformed  s" not in ended.out
