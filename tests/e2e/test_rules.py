"""The rules of a repair, each on a session made by hand: what is corrected, kept, put off."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from bson import Int64, ObjectId
from pymongo.database import Database

from tests.harness.commands import Command, Ended
from tests.harness.documents import Document, decoded, stored_bytes
from tests.harness.shop import ANN, BOB, Shop, made_at, minute

LIKE_JSON = ['{"$oid": "68d000000000000000000001"}', "[1]", "{}, w: {}", 'a"b\\', "/áo-dài\n", ""]


@dataclass(frozen=True)
class Rules:
    """The sessions by name as made, and the collection after each of three runs."""

    made: dict[str, Document]
    states: list[dict[Any, Document]]
    ended: list[Ended]

    def changed(self, run: int) -> dict[str, Document]:
        """The documents, by name, that the run left otherwise than it found them."""
        names = {document["_id"]: name for name, document in self.made.items()}
        found, left = self.states[run], self.states[run + 1]
        assert list(found) == list(left)
        return {names[key]: left[key] for key in left if left[key] != found[key]}

    def final(self, name: str) -> Document:
        return self.states[-1][self.made[name]["_id"]]


FEW_MALFORMED = ("--max-malformed", "2")
ONE, EMPTY, ALL = range(3)  # fix --session-id, fix, fix --scope all; each with --apply


@pytest.fixture(scope="module")
def rules(module_db: Database[Document], command: Command) -> Rules:
    made = {
        **sessions_in_scope(Shop(module_db)),
        **sessions_with_mismatches(Shop(module_db, 1_000)),
        **sessions_left_alone(Shop(module_db, 2_000)),
    }
    only_longs = {"event_count": {"$type": "long"}, "user_id": {"$type": "long"}}
    rule = {"$or": [{"session_id": {"$ne": "longs"}}, only_longs]}
    module_db.command("collMod", "sessions", validator=rule)
    states, ended = [snapshot(module_db)], []
    for options in (["--session-id", "one"], [], ["--scope", "all"]):
        ended.append(command("fix", "--apply", *FEW_MALFORMED, *options, on=module_db))
        states.append(snapshot(module_db))
    return Rules(made, states, ended)


def test_a_session_keeps_the_types_of_its_numbers(rules: Rules) -> None:
    names = ("long zero", "longs", "ints", "null")
    finals = [rules.final(name) for name in names]
    kinds = [(type(it["event_count"]), type(it["user_id"])) for it in finals]
    assert kinds == [(Int64, ObjectId), (Int64, Int64), (int, int), (int, ObjectId)]


def snapshot(db: Database[Document]) -> dict[Any, Document]:
    return {key: decoded(raw) for key, raw in sorted(stored_bytes(db).items(), key=str)}


def sessions_in_scope(shop: Shop) -> dict[str, Document]:
    made = {"one": shop.session("one"), "unsorted": shop.session("unsorted", user_id=BOB)}
    shop.events("one", {0: "/home"})
    shop.events("unsorted", {9: "/cart", 2: "/home", 5: "/shoes", 3: None, 7: "/home"})

    made["same moment"] = shop.session("same moment")
    shop.events("same moment", {4: "/first"})
    shop.events("same moment", {4: "/second"})

    made["null"] = shop.session("null", event_count=None, pages=None, user_id=None)
    made["missing"] = {"_id": shop.id_at(), "session_id": "missing", "more": {"a": [1, None]}}
    shop.db["sessions"].insert_one(made["missing"])
    made["no pages"] = shop.session("no pages", event_count=2, last_event_at=minute(1))
    made["long zero"] = shop.session("long zero", event_count=Int64(0))
    made["text id"] = shop.session("text id", _id='{"$oid": "68d000000000000000000001"}')
    made["number id"] = shop.session("number id", _id=7)
    made["two users"] = shop.session("two users")
    for name in ("null", "missing", "no pages", "long zero", "text id", "number id", "two users"):
        shop.events(name, {0: "/home", 1: "/cart"})
    made["longs"] = shop.session("longs", event_count=Int64(0), user_id=Int64(4))
    shop.events("longs", {0: "/home", 1: "/cart"}, user_id=5)
    made["ints"] = shop.session("ints", user_id=5)
    shop.events("ints", {0: "/home", 1: "/cart"}, user_id=Int64(5))
    shop.events("two users", {2: "/cart"}, user_id=BOB)

    made["like JSON"] = shop.session("like JSON", note='{"$date": 0}')
    shop.events("like JSON", dict(enumerate(LIKE_JSON)))
    made["no page visited"] = shop.session("no page visited")
    shop.events("no page visited", {0: None, 1: None})

    made["older twin"] = shop.session("twins")
    made["younger twin"] = shop.session("twins")
    made["emptier twin"] = shop.session("counted twins")
    made["fuller twin"] = shop.session("counted twins", event_count=1)
    for name in ("twins", "counted twins"):
        shop.events(name, {0: "/home", 1: "/cart"})
    return made


def sessions_with_mismatches(shop: Shop) -> dict[str, Document]:
    filled: Document = {"event_count": 2, "pages": ["/home", "/cart"], "last_event_at": minute(1)}
    wrong: dict[str, Document] = {
        "healthy": {},
        "miscounted": {"event_count": 1},
        "page missing": {"pages": ["/cart"]},
        "wrong dates": {"first_event_at": minute(3), "last_event_at": minute(4)},
        "a millisecond off": {"last_event_at": minute(1) + timedelta(milliseconds=1)},
        "wrong user": {"user_id": BOB},
        "events expired": {
            "event_count": 9,
            "pages": ["/old", "/home"],
            "last_event_at": minute(8),
        },
        "page extra": {"pages": ["/home", "/cart", "/old"]},
    }
    made = {}
    for name, fields in wrong.items():
        made[name] = shop.session(name, **{**filled, **fields})
        shop.events(name, {0: "/home", 1: "/cart"})
    return made


def sessions_left_alone(shop: Shop) -> dict[str, Document]:
    now = datetime.now(timezone.utc)
    made = {
        "orphan": shop.session("orphan"),
        "phantom": shop.session("phantom", event_count=4, pages=["/home"]),
        "malformed": shop.session("malformed", event_count="7"),
        "odd page": shop.session("odd page"),
        "just visited": shop.session("just visited"),
        "late event": shop.session("late event"),
        "just made": shop.session("just made", _id=made_at(now, 1)),
    }
    for name in ("malformed", "late event", "just made"):
        shop.events(name, {0: "/home"})
    shop.events("odd page", {0: "/home"})
    shop.events("odd page", {1: "/cart"}, page=5)
    shop.events("just visited", {0: "/home"}, timestamp=now)
    shop.events("late event", {1: "/cart"}, _id=made_at(now, 2))
    shop.events("no session", {0: "/home"})
    return made


def test_every_run_ends_clean(rules: Rules) -> None:
    assert [(ended.code, ended.complaints) for ended in rules.ended] == [(0, ""), (0, ""), (0, "")]


def test_session_id_touches_that_session_alone(rules: Rules) -> None:
    assert rules.changed(ONE) == {
        "one": {**rules.made["one"], "event_count": 1, "pages": ["/home"]},
    }
    assert "✅ Fixed 1 session\n" in rules.ended[ONE].out


def test_the_default_scope_fills_empty_sessions_and_no_other(rules: Rules) -> None:
    made = rules.made
    home_cart = {"event_count": 2, "pages": ["/home", "/cart"], "last_event_at": minute(1)}
    assert rules.changed(EMPTY) == {
        "unsorted": {
            **made["unsorted"],
            "event_count": 5,
            "first_event_at": minute(2),
            "last_event_at": minute(9),
            "pages": ["/home", "/shoes", "/cart"],
            "user_id": ANN,
        },
        "same moment": {
            **made["same moment"],
            "event_count": 2,
            "first_event_at": minute(4),
            "last_event_at": minute(4),
            "pages": ["/first", "/second"],
        },
        "null": {**made["null"], **home_cart, "user_id": ANN},
        "missing": {**made["missing"], **home_cart, "first_event_at": minute(0), "user_id": ANN},
        "no pages": {**made["no pages"], **home_cart},
        "long zero": {**made["long zero"], **home_cart, "event_count": Int64(2)},
        "longs": {
            **made["longs"],
            **home_cart,
            "event_count": Int64(2),
            "user_id": Int64(5),
        },
        "ints": {**made["ints"], **home_cart},
        "text id": {**made["text id"], **home_cart},
        "number id": {**made["number id"], **home_cart},
        "two users": {
            **made["two users"],
            "event_count": 3,
            "pages": ["/home", "/cart"],
            "last_event_at": minute(2),
        },
        "like JSON": {
            **made["like JSON"],
            "event_count": len(LIKE_JSON),
            "pages": LIKE_JSON,
            "last_event_at": minute(len(LIKE_JSON) - 1),
        },
        "no page visited": {
            **made["no page visited"],
            "event_count": 2,
            "last_event_at": minute(1),
        },
        "older twin": {**made["older twin"], **home_cart},
        "fuller twin": {**made["fuller twin"], **home_cart},
    }


def test_missing_fields_are_added_behind_the_others(rules: Rules) -> None:
    # In the order of their names, as MongoDB has added them since 5.0, whatever that of the update.
    assert list(rules.final("missing")) == [
        *("_id", "session_id", "more"),
        *("event_count", "first_event_at", "last_event_at", "pages", "user_id"),
    ]


def test_fields_keep_their_places(rules: Rules) -> None:
    for name in rules.made.keys() - {"missing"}:
        assert list(rules.final(name)) == list(rules.made[name])


def test_ids_of_any_type_survive(rules: Rules) -> None:
    types = {name: type(rules.final(name)["_id"]) for name in ("one", "text id", "number id")}
    assert types == {"one": ObjectId, "text id": str, "number id": int}


def test_scope_all_corrects_every_mismatch_and_never_shrinks(rules: Rules) -> None:
    made = rules.made
    whole = {"event_count": 2, "pages": ["/home", "/cart"], "last_event_at": minute(1)}
    assert rules.changed(ALL) == {
        "miscounted": {**made["miscounted"], **whole},
        "page missing": {**made["page missing"], **whole},
        "wrong dates": {**made["wrong dates"], **whole, "first_event_at": minute(0)},
        "a millisecond off": {**made["a millisecond off"], **whole},
        "wrong user": {**made["wrong user"], **whole, "user_id": ANN},
        "events expired": {**made["events expired"], "pages": ["/old", "/home", "/cart"]},
    }


@pytest.mark.parametrize(
    "name",
    [
        *("healthy", "page extra", "orphan", "phantom", "malformed", "odd page"),
        *("younger twin", "emptier twin", "just visited", "late event", "just made"),
    ],
)
def test_no_run_touches_the_session_that_is(rules: Rules, name: str) -> None:
    assert rules.final(name) == rules.made[name]


def test_sessions_in_flight_are_reported_as_deferred(rules: Rules) -> None:
    assert "ℹ️  Deferred 3 sessions in flight\n" in rules.ended[EMPTY].out


def test_a_later_verify_counts_what_is_left_by_its_kind(
    rules: Rules, module_db: Database[Document], command: Command
) -> None:
    ended = command("verify", *FEW_MALFORMED, "--scope", "all", "--settle", "0s", on=module_db)
    assert ended.code == 3
    labels = {
        "Sessions whose count differs from their events": 1,  # events expired
        "Sessions whose pages differ from their events": 2,  # events expired, page extra
        "First and last dates that differ from the events": 4,  # events expired, in flight
        "Sessions whose user differs from their events": 1,  # two users
        "Documents that repeat a session_id": 2,
        "Empty sessions without any event": 1,
        "Session ids that only events name": 1,
        "Filled sessions without any event": 1,
        "Sessions with a field of a wrong type, or such events": 2,
    }
    assert {label: ended.figure(label) for label in labels} == labels
    fix = "./spark-submit.sh fix --apply --scope all --settle 0s --max-malformed 2"
    fix += f" --database {module_db.name}"
    assert f"⚠️  3 sessions can be repaired from their events: {fix}\n" in ended.out
