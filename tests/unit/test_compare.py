"""Compare: what a session is beside its plan, a truth table; then anything, beside a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bson
import pytest
from bson import DatetimeMS, Int64
from hypothesis import event, given
from hypothesis import strategies as st

from session_repair.repair.compare import (
    ABSENT,
    ANOTHER,
    AS_LEFT,
    AS_OBSERVED,
    Layout,
    PlannedSession,
    is_still,
    state_of,
)
from tests.harness.alike import ALIKE, OF_EVERY_TYPE, Typed, raw_document, typed
from tests.harness.documents import Document
from tests.harness.model import (
    FIELDS,
    FLAT,
    KEY,
    LAYOUTS,
    MISSING,
    NESTED,
    NOON,
    at,
    copied,
    drop,
    parents,
    plan_bytes,
    put,
    seen,
    session,
    signature,
    written,
)


def planned(document: Document, paths: Mapping[str, str], new: Document | None) -> PlannedSession:
    """The plan to write these fields, or none to delete the session."""
    return PlannedSession(plan_bytes(document, paths, new), Layout(paths, parents(paths)))


def put_back(plan: PlannedSession, document: Document) -> Document:
    """The document after the undo: the fields, then each parent that is left empty."""
    after = written(document, plan.reverse())
    for parent, update in plan.made_parents().items():
        if at(after, parent) == {}:
            after = written(after, update)
    return after


# The truth table


NEW = {"event_count": 2, "pages": ["/home", "/cart"], "user_id": KEY}


@pytest.mark.parametrize("paths", LAYOUTS.values(), ids=LAYOUTS)
def test_a_session_is_as_observed_as_left_another_or_absent(paths: Mapping[str, str]) -> None:
    before = session(paths)
    plan = planned(before, paths, NEW)
    left = session(paths, **NEW)
    assert plan.key.value == KEY.binary
    assert plan.session_id == "s1"
    assert plan.as_observed == seen(before, paths)
    assert plan.as_left == seen(left, paths)
    assert state_of(plan, None) == ABSENT
    assert state_of(plan, seen(before, paths)) == AS_OBSERVED
    assert state_of(plan, seen(left, paths)) == AS_LEFT
    for name, value in NEW.items():  # some of what was to be written is not all of it
        assert state_of(plan, seen(session(paths, **{name: value}), paths)) == ANOTHER
        half = session(paths, **{it: NEW[it] for it in NEW if it != name})
        assert state_of(plan, seen(half, paths)) == ANOTHER


def test_a_session_that_is_to_be_deleted_is_never_as_left() -> None:
    plan = planned(session(FLAT), FLAT, None)
    assert state_of(plan, seen(session(FLAT), FLAT)) == AS_OBSERVED
    assert state_of(plan, seen(session(FLAT, event_count=1), FLAT)) == ANOTHER
    assert state_of(plan, None) == ABSENT


def test_fields_beside_the_five_change_nothing() -> None:
    plan = planned(session(FLAT), FLAT, NEW)
    more = {"first": True, **session(FLAT), "note": "vip", "event_counts": 9}
    assert state_of(plan, seen(more, FLAT)) == AS_OBSERVED


def plan_of(name: str, value: Typed | None, new: Typed | None = None) -> PlannedSession:
    """A plan of bytes: of a session of which one field is this, to be made another."""
    fields = [("event_count", typed(99))] if new is None else [(name, new)]
    plan = [*raw_members(name, value), ("new", (0x03, raw_document(*fields)))]
    return PlannedSession(raw_document(*plan), Layout(FLAT, []))


def raw_members(name: str, value: Typed | None) -> list[tuple[str, Typed]]:
    others = {it: typed(None) for it in ("event_count", "pages", "first_event_at")}
    if name == "session_id":
        own = [] if value is None else [("session_id", value)]
    else:
        own = [("session_id", typed("s1"))]
        others = {it: other for it, other in others.items() if it != name}
        others |= {} if value is None else {name: value}
    in_order = [(it, others[it]) for it in FIELDS if it in others]
    return [
        ("session", (0x03, raw_document(("v", typed(KEY))))),
        *own,
        ("observed", (0x03, raw_document(*in_order))),
    ]


def raw_seen(name: str, value: Typed | None) -> bytes:
    return raw_document(*raw_members(name, value))[4:-1]


OTHERS: dict[str, tuple[Typed | None, Typed | None]] = {
    **ALIKE,
    "absent and null": (None, typed(None)),
    "absent and undefined": (None, OF_EVERY_TYPE["undefined"]),
    "null and undefined": (typed(None), OF_EVERY_TYPE["undefined"]),
    "absent and an empty list": (None, typed([])),
    "null and an empty list": (typed(None), typed([])),
    "false and 0": (typed(False), typed(0)),
    "a date and its milliseconds": (typed(NOON), typed(Int64(int(NOON)))),
    "an ObjectId and its digits": (typed(KEY), typed(str(KEY))),
    "letters of two forms": (typed("\u00e1"), typed("a\u0301")),
    "no UTF-8 and its sign": (OF_EVERY_TYPE["no UTF-8"], typed("\ufffd")),
}


@pytest.mark.parametrize("name", ["session_id", "event_count", "pages", "user_id"])
@pytest.mark.parametrize("pair", OTHERS.values(), ids=OTHERS)
def test_what_the_server_takes_as_equal_is_another_where_its_bytes_are(
    name: str, pair: tuple[Typed | None, Typed | None]
) -> None:
    for one, other in (pair, pair[::-1]):
        plan = plan_of(name, one)
        assert state_of(plan, raw_seen(name, one)) == AS_OBSERVED
        assert state_of(plan, raw_seen(name, other)) == ANOTHER
        if name == "session_id" or one is None or other is None:
            continue
        plan = plan_of(name, one, other)  # it is to become what the server takes as equal
        assert state_of(plan, raw_seen(name, one)) == AS_OBSERVED
        assert state_of(plan, raw_seen(name, other)) == AS_LEFT


@pytest.mark.parametrize("value", OF_EVERY_TYPE.values(), ids=OF_EVERY_TYPE)
def test_a_value_of_any_type_is_itself_and_no_other_and_is_put_back_to_the_byte(
    value: Typed,
) -> None:
    plan = plan_of("user_id", value, typed("new"))
    for other in [None, *OF_EVERY_TYPE.values()]:
        expected = AS_OBSERVED if other == value else ANOTHER
        assert state_of(plan, raw_seen("user_id", other)) == expected
    assert state_of(plan, raw_seen("user_id", typed("new"))) == AS_LEFT
    assert plan.update()["$set"].raw == bson.encode({"user_id": "new"})
    assert plan.reverse().keys() == {"$set"}
    assert plan.reverse()["$set"].raw == raw_document(("user_id", value))
    as_new = plan_of("user_id", typed("old"), value)
    assert as_new.update()["$set"].raw == raw_document(("user_id", value))


# What nested fields stand in


def test_the_kind_of_each_parent_has_to_be_the_same() -> None:
    """Of three sessions whose five fields are alike absent, none is another."""
    absent = dict.fromkeys((*FIELDS, "session_id"), MISSING)
    bare = session(NESTED, **absent)
    kinds = {
        "missing": bare,
        "null": {**bare, "sums": None},
        "object": {**bare, "sums": {}},
        "inner null": {**bare, "sums": {"seen": None}},
        "inner object": {**bare, "sums": {"seen": {}}},
    }
    for one, before in kinds.items():
        plan = planned(before, NESTED, NEW)
        for other, now in kinds.items():
            expected = AS_OBSERVED if one == other else ANOTHER
            assert state_of(plan, seen(now, NESTED)) == expected, (one, other)


UPDATES: dict[str, tuple[Document, Document, Document, Document]] = {
    # sums and begun as they were; $set of the update; $set and $unset of the reverse
    "in an object": (
        {"sums": {"count": 0, "seen": {"pages": []}}},
        {"sums.count": 2, "sums.seen.pages": ["/a"]},
        {"$set": {"sums.count": 0, "sums.seen.pages": []}},
        {},
    ),
    "absent in an object": (
        {"sums": {"seen": {}}},
        {"sums.count": 2, "sums.seen.pages": ["/a"]},
        {"$unset": {"sums.count": "", "sums.seen.pages": ""}},
        {},
    ),
    "in nothing": (
        {},
        {"sums.count": 2, "sums.seen.pages": ["/a"]},
        {"$unset": {"sums.count": "", "sums.seen.pages": ""}},
        {"sums.seen": {"$unset": {"sums.seen": ""}}, "sums": {"$unset": {"sums": ""}}},
    ),
    "in null": (
        {"sums": None},
        {"sums": {"count": 2, "seen": {"pages": ["/a"]}}},
        {"$unset": {"sums.count": "", "sums.seen.pages": ""}},
        {"sums.seen": {"$unset": {"sums.seen": ""}}, "sums": {"$set": {"sums": None}}},
    ),
    "in null of an object": (
        {"sums": {"count": None, "seen": None}},
        {"sums.seen": {"pages": ["/a"]}, "sums.count": 2},
        {"$set": {"sums.count": None}, "$unset": {"sums.seen.pages": ""}},
        {"sums.seen": {"$set": {"sums.seen": None}}},
    ),
}


@pytest.mark.parametrize(("stored", "update", "reverse", "unmade"), UPDATES.values(), ids=UPDATES)
def test_a_parent_is_made_where_there_is_none_and_taken_back_where_nothing_is_in_it(
    stored: Document, update: Document, reverse: Document, unmade: Document
) -> None:
    before = {"_id": KEY, **stored, "note": 1}
    plan = planned(before, NESTED, {"event_count": 2, "pages": ["/a"]})
    assert bson.decode(plan.update()["$set"].raw) == update
    assert {it: dict(fields) for it, fields in plan.reverse().items()} == reverse
    assert plan.made_parents() == unmade
    assert list(plan.made_parents()) == list(unmade)  # the innermost first
    after = written(before, plan.update())
    assert plan.as_left == seen(after, NESTED)
    assert bson.encode(put_back(plan, after)) == bson.encode(before)


def test_what_is_made_in_null_is_as_the_server_makes_it_in_nothing() -> None:
    new = {"event_count": 2, "pages": ["/a"], "last_event_at": NOON, "first_event_at": NOON}
    nowhere: Document = {"_id": KEY}
    in_null = {**nowhere, "begun": None, "sums": None}
    made = [written(it, planned(it, NESTED, new).update()) for it in (nowhere, in_null)]
    assert bson.encode(made[0]) == bson.encode(made[1])
    assert list(made[0]["sums"]) == ["at", "count", "seen"]


def test_a_parent_in_which_somebody_else_put_something_stays() -> None:
    before = {"_id": KEY, "sums": None}
    plan = planned(before, NESTED, {"event_count": 2})
    after = written(before, plan.update())
    assert after == {"_id": KEY, "sums": {"count": 2}}
    after["sums"]["note"] = "theirs"
    assert put_back(plan, after) == {"_id": KEY, "sums": {"note": "theirs"}}


# Whatever there is

counts = st.sampled_from([MISSING, None, 0, Int64(0), 0.0, -0.0, 1, Int64(1), Int64(2**40)])
pages = st.sampled_from([MISSING, None, [], ["/a"], ["/b", "/a"], "/a", ["/a", None]])
dates = st.sampled_from([MISSING, None, NOON, DatetimeMS(2**60), Int64(int(NOON))])
users = st.sampled_from([MISSING, None, KEY, str(KEY), 5, Int64(5), b"raw", {"a": 1}])
values_of = dict(zip(FIELDS, (counts, pages, dates, dates, users), strict=True))
new_values = {
    "event_count": st.sampled_from([1, Int64(1), 2]),
    "pages": st.sampled_from([["/a"], ["/a", "/b"]]),
    "first_event_at": st.sampled_from([NOON, DatetimeMS(0)]),
    "last_event_at": st.sampled_from([NOON, DatetimeMS(0)]),
    "user_id": st.sampled_from([KEY, 5, Int64(5)]),
}


@st.composite
def sessions(draw: Any, paths: Mapping[str, str]) -> Document:
    """Any session; of what nested fields stand in, some is null, some is empty."""
    values = {name: draw(strategy) for name, strategy in values_of.items()}
    values["session_id"] = draw(st.sampled_from([MISSING, "s1", "s2"]))
    document: Document = {"note": 1}
    for name in draw(st.permutations(list(values))):
        if values[name] is not MISSING:
            put(document, paths[name], values[name])
    for parent in parents(paths):
        above, _, name = parent.rpartition(".")
        owner = at(document, above) if above else document
        if not isinstance(owner, dict):
            continue
        if name not in owner or draw(st.integers(0, 9)) == 0:
            instead = draw(st.sampled_from([MISSING, None, {}, {"note": 2}]))
            owner.pop(name, None)
            if instead is not MISSING:
                owner[name] = instead
    return {"_id": draw(st.sampled_from([KEY, 0, Int64(0), 0.0])), **document}


@st.composite
def plans(draw: Any) -> tuple[Mapping[str, str], Document, Document, Document]:
    """Where the fields stand, a session, what is to be written to it, and one that is there now."""
    paths = draw(st.sampled_from(list(LAYOUTS.values())))
    before = draw(sessions(paths))
    names = draw(st.sets(st.sampled_from(FIELDS), min_size=1))
    new = {name: draw(new_values[name]) for name in FIELDS if name in names}
    now = draw(sessions(paths))
    kind = draw(st.sampled_from(["same", "left", "changed", "any"]))
    if kind != "any":
        now = copied(before)
    if kind == "left":
        now = written(now, planned(before, paths, new).update())
    if kind == "changed":
        for name in draw(st.sets(st.sampled_from(FIELDS), min_size=1, max_size=2)):
            value = draw(values_of[name] | new_values[name])
            path = paths[name]
            above = at(now, path.rpartition(".")[0]) if "." in path else now
            if isinstance(above, dict) and value is not MISSING:
                put(now, path, value)
            elif isinstance(above, dict):
                drop(now, path)
    return paths, before, new, now


@given(plans())
def test_a_session_is_what_a_model_of_it_says(
    made: tuple[Mapping[str, str], Document, Document, Document],
) -> None:
    paths, before, new, now = made
    plan = planned(before, paths, new)
    left = written(before, plan.update())
    if signature(now, paths) == signature(before, paths):
        expected = AS_OBSERVED
    elif signature(now, paths) == signature(left, paths):
        expected = AS_LEFT
    else:
        expected = ANOTHER
    event(expected)
    assert state_of(plan, seen(now, paths)) == expected


@given(plans())
def test_what_is_written_is_what_was_to_be_and_is_put_back_to_the_byte(
    made: tuple[Mapping[str, str], Document, Document, Document],
) -> None:
    paths, before, new, _ = made
    plan = planned(before, paths, new)
    left = written(before, plan.update())
    for name in FIELDS:
        value = new.get(name, at(before, paths[name]))
        assert signature_of(at(left, paths[name])) == signature_of(value)
    assert plan.as_left == seen(left, paths)
    without = [name.partition(".")[0] for name in paths.values()]
    others = [(name, before[name]) for name in before if name not in without]
    assert others == [(name, left[name]) for name in left if name not in without]
    assert bson.encode(put_back(plan, left)) == bson.encode(before)


def signature_of(value: Any) -> bytes | None:
    return None if value is MISSING else bson.encode({"v": value})


def test_a_condition_of_the_server_names_every_field_and_parent() -> None:
    """Of a write without a transaction; what it finds is asked of the server elsewhere."""
    plan = planned(session(NESTED, user_id=MISSING), NESTED, {"event_count": 2, "user_id": 5})
    for is_left, count, user in ((False, 0, MISSING), (True, 2, 5)):
        checks = is_still(plan, is_left)["$expr"]["$and"]
        types = [it["$eq"] for it in checks if isinstance(it["$eq"][0], dict)]
        assert {next(iter(one.values())): kind for one, kind in types} == {
            "$id.of.session": "string",
            "$sums.count": "int",
            "$sums.seen.pages": "array",
            "$begun.at": "date",
            "$sums.at": "date",
            "$user_id": "missing" if user is MISSING else "int",
            **{f"${parent}": "object" for parent in parents(NESTED)},
        }
        equal = [it["$eq"] for it in checks if not isinstance(it["$eq"][0], dict)]
        literals = {path: bson.decode(value.raw)["$literal"] for path, value in equal}
        assert literals["$sums.count"] == count
        assert literals.get("$user_id", MISSING) == user
