"""What the server says of a session: to the byte what a plan says of it, whatever it holds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import bson
import pytest
from bson import DatetimeMS, Int64
from bson.raw_bson import RawBSONDocument

from session_repair.mongo.bson_bytes import Element, elements
from session_repair.mongo.store import Store
from session_repair.repair.compare import (
    ANOTHER,
    AS_LEFT,
    AS_OBSERVED,
    Layout,
    PlannedSession,
    is_still,
    state_of,
)
from session_repair.repair.correction import seen_sessions
from session_repair.settings import Settings
from tests.harness.alike import (
    ALIKE,
    ARRAY_NAMED_OTHERWISE,
    OF_EVERY_TYPE,
    Typed,
    raw_document,
    typed,
)
from tests.harness.documents import SESSIONS, Db, Document
from tests.harness.model import (
    FIELDS,
    FLAT,
    KEY,
    LAYOUTS,
    MISSING,
    NESTED,
    NOON,
    drop,
    parents,
    plan_bytes,
    put,
    seen,
    session,
    signature,
)


def seen_by_the_server(
    db: Db, documents: list[bytes], paths: Mapping[str, str] = FLAT
) -> dict[bytes, bytes]:
    """What the server says of each of these sessions, by the bytes of its _id."""
    db.drop_collection(SESSIONS)
    db[SESSIONS].insert_many([RawBSONDocument(it) for it in documents])
    store = Store(db, Settings(uri="", session_fields=paths))
    keys = [key_of(document) for document in documents]
    found = seen_sessions(store, keys, None)
    return {document: found[key] for document, key in zip(documents, keys, strict=True)}


def key_of(document: bytes) -> Element:
    return next(it for it in elements(document) if it.name == b"_id").named("v")


NUMBERED = typed(["/home", "/a"])


def test_a_value_of_any_type_in_any_field_is_said_as_it_is(db: Db) -> None:
    made: dict[bytes, bytes] = {}
    for field, value in itertools.product(("session_id", *FIELDS), OF_EVERY_TYPE.values()):
        fields = {"session_id": typed("s1"), **{it: typed(None) for it in FIELDS}, field: value}
        own = ("session_id", fields.pop("session_id"))
        key = ("_id", typed(len(made)))
        document = raw_document(("before", typed(1)), key, *fields.items(), own, ("z", typed(1)))
        if value == ARRAY_NAMED_OTHERWISE:  # the server says the members under their numbers
            own = (own[0], NUMBERED) if field == "session_id" else own
            fields |= {field: NUMBERED} if field in fields else {}
        observed = (0x03, raw_document(*((it, fields[it]) for it in FIELDS)))
        named = ("session", (0x03, raw_document(("v", key[1]))))
        made[document] = raw_document(named, own, ("observed", observed))[4:-1]
    assert seen_by_the_server(db, list(made)) == made


def test_an_id_of_any_type_finds_its_session_and_no_other(db: Db) -> None:
    """Those that may be an _id; of those that the server takes as equal there is one."""
    never = ("array", "regex", "undefined")
    ids = [it for name, it in OF_EVERY_TYPE.items() if not name.startswith(("empty reg", *never))]
    documents = [raw_document(("_id", it), ("event_count", typed(0))) for it in ids]
    found = seen_by_the_server(db, documents)
    for document, key in zip(documents, ids, strict=True):
        expected = ("session", (0x03, raw_document(("v", key))))
        observed = ("observed", (0x03, raw_document(("event_count", typed(0)))))
        assert found[document] == raw_document(expected, observed)[4:-1]


@pytest.mark.parametrize("paths", LAYOUTS.values(), ids=LAYOUTS)
def test_absent_is_not_null_and_what_nested_fields_stand_in_is_said(
    db: Db, paths: Mapping[str, str]
) -> None:
    documents = [{**it, "_id": number} for number, it in enumerate(variants(paths))]
    found = seen_by_the_server(db, [bson.encode(it) for it in documents], paths)
    assert list(found.values()) == [seen(it, paths) for it in documents]


def variants(paths: Mapping[str, str]) -> list[Document]:
    """Sound sessions that differ in one field, in two, or in what fields stand in."""
    values: dict[str, list[Any]] = {
        "session_id": [MISSING, "s2"],
        "event_count": [MISSING, None, Int64(0), 2, Int64(2)],
        "pages": [MISSING, None, ["/a"], ["/a", "/b"]],
        "last_event_at": [MISSING, None, DatetimeMS(int(NOON) + 1)],
        "user_id": [MISSING, KEY, str(KEY), 5, Int64(5), b"raw"],
    }
    made = [session(paths)]
    made += [session(paths, **{name: it}) for name in values for it in values[name]]
    for count, page in itertools.product(values["event_count"], values["pages"]):
        made.append(session(paths, event_count=count, pages=page))
    for parent in parents(paths):
        for instead in (MISSING, None, {}):
            document = session(paths)
            drop(document, parent)
            if instead is not MISSING:
                put(document, parent, instead)
            made.append(document)
    return made


# What stands twice

SOUND = [*((name, typed(None)) for name in FIELDS), ("session_id", typed("s1"))]
TWO: Typed = (0x03, raw_document(("x", typed(1)), ("x", typed(2))))


@pytest.mark.parametrize("name", ["session_id", *FIELDS])
def test_a_session_in_which_a_field_stands_twice_is_never_as_it_was_seen(db: Db, name: str) -> None:
    value = typed("s1") if name == "session_id" else typed(None)
    fields = [("_id", typed(KEY)), *SOUND]
    sound, twice = raw_document(*fields), raw_document(*fields, (name, value))
    [as_seen] = seen_by_the_server(db, [sound]).values()
    [as_twice] = seen_by_the_server(db, [twice]).values()
    members = list(elements(bytes(4) + as_seen + b"\0"))
    plan = raw_document(*((it.name.decode(), (it.kind, it.value)) for it in members))
    planned = PlannedSession(plan, Layout(FLAT, []))
    assert state_of(planned, as_seen) == AS_OBSERVED
    assert as_twice.startswith(as_seen)  # a projection shows the first of the two
    assert state_of(planned, as_twice) == ANOTHER


INSIDE = {
    "one of others": (("note", typed(1)), ("note", typed(2))),
    "one inside another": (("note", TWO),),
}


@pytest.mark.parametrize("more", INSIDE.values(), ids=INSIDE)
def test_other_fields_may_stand_twice(db: Db, more: tuple[tuple[str, Typed], ...]) -> None:
    fields = [("_id", typed(KEY)), *SOUND]
    [without] = seen_by_the_server(db, [raw_document(*fields)]).values()
    [found] = seen_by_the_server(db, [raw_document(*fields, *more)]).values()
    assert found == without


PLACES = {
    "at the top": (lambda more: [("sums", sums()), *more], "sums", True),
    "what it stands in": (lambda more: [("sums", sums(*more))], "seen", True),
    "in what it stands in": (lambda more: [("sums", sums(seen=more))], "pages", True),
    "another beside it": (lambda more: [("sums", sums(*more, *more))], "note", False),
    "another beside what it stands in": (lambda more: [("sums", sums()), *more * 2], "n", False),
}


def sums(*more: tuple[str, Typed], seen: Any = ()) -> Typed:
    inner = (0x03, raw_document(("pages", typed([])), *seen))
    fields = [("count", typed(0)), ("seen", inner), ("at", typed(NOON))]
    return 0x03, raw_document(*fields, *more)


@pytest.mark.parametrize(("place", "name", "is_ours"), PLACES.values(), ids=PLACES)
def test_what_a_nested_field_stands_in_may_not_stand_twice_either(
    db: Db, place: Any, name: str, is_ours: bool
) -> None:
    rest = [("id", typed({"of": {"session": "s1"}})), ("begun", typed({"at": NOON}))]
    more = [(name, typed({"pages": []}) if name in ("sums", "seen") else typed([]))]
    once = raw_document(("_id", typed(KEY)), ("sums", sums()), *rest)
    twice = raw_document(("_id", typed(KEY)), *place(more), *rest)
    [as_seen] = seen_by_the_server(db, [once], NESTED).values()
    [found] = seen_by_the_server(db, [twice], NESTED).values()
    assert found.startswith(as_seen)
    assert (found != as_seen) is is_ours


# What a write without a transaction asks for


@pytest.mark.parametrize("paths", LAYOUTS.values(), ids=LAYOUTS)
def test_the_condition_of_a_write_that_stands_alone_finds_what_its_bytes_say(
    db: Db, paths: Mapping[str, str]
) -> None:
    documents = [{**it, "_id": number} for number, it in enumerate(variants(paths))]
    db[SESSIONS].insert_many([RawBSONDocument(bson.encode(it)) for it in documents])
    states = set()
    for before in documents[::3]:
        plan = plan_bytes(before, paths, {"event_count": 2, "pages": ["/a"]})
        planned = PlannedSession(plan, Layout(paths, parents(paths)))
        for is_left, state in ((False, AS_OBSERVED), (True, AS_LEFT)):
            found = {it["_id"] for it in db[SESSIONS].find(is_still(planned, is_left), ["_id"])}
            expected = set()
            for now in documents:
                # Its condition is of one session: the _id is asked for beside it.
                as_if = {**now, "_id": before["_id"]}
                if state_of(planned, seen(as_if, paths)) == state:
                    expected.add(now["_id"])
            if signature(before, paths)[2:4] == [bson.encode({"v": 2}), bson.encode({"v": ["/a"]})]:
                continue  # left as it was
            assert found == expected
            states |= {(state, bool(found))}
    assert states >= {(AS_OBSERVED, True), (AS_LEFT, True)}


# What the server takes as equal


def test_values_that_only_their_bytes_tell_apart_are_equal_to_the_server(db: Db) -> None:
    pairs = [
        raw_document(("_id", typed(name)), ("a", one), ("b", other))
        for name, (one, other) in ALIKE.items()
    ]
    db[SESSIONS].insert_many([RawBSONDocument(it) for it in pairs])
    equal = db[SESSIONS].find({"$expr": {"$eq": ["$a", "$b"]}}, ["_id"])
    assert sorted(it["_id"] for it in equal) == sorted(ALIKE)
