"""Proposals: what values are the same, which field is which aggregate, and how that is written."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterable
from typing import Any

import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId
from hypothesis import example, given, settings
from hypothesis import strategies as st

from session_repair.aggregates import MOST, read_aggregates
from session_repair.dates import DATE, EPOCH_MS, EPOCH_S
from session_repair.proposal.dating import dates_of
from session_repair.proposal.declared import Declared, declared
from session_repair.proposal.guess import Choice, Fields, Link, links
from session_repair.proposal.naming import OF_EVENTS, OF_SESSIONS, best_named, fit_of_collection
from session_repair.proposal.toml import Proposal, config_of, file_of
from session_repair.proposal.trials import Bench, Found, Trial, Whole
from session_repair.proposal.values import Sample, flat, is_nothing, is_same

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEY = ObjectId("68d000000000000000000001")
MORNING = 1_760_947_200_000  # milliseconds
SAME: list[tuple[Any, Any, bool]] = [
    (1, Int64(1), True),
    (1, 1.0, True),
    (1, Decimal128("1.00"), True),
    (0.1 + 0.2, 0.3, True),
    (0.3, Decimal128("0.3"), True),
    (0.3, 0.301, False),
    (1, True, False),
    (1, "1", False),
    (float("nan"), 1.0, False),
    (Decimal128("NaN"), Decimal128("1"), False),
    ("a", "a", True),
    ("a", "b", False),
    (KEY, ObjectId(str(KEY)), True),
    (KEY, str(KEY), False),
    (DatetimeMS(5), DatetimeMS(5), True),
    (DatetimeMS(5), 5, False),
    (Binary(b"ab", 4), Binary(b"ab", 4), True),
    (Binary(b"ab", 4), Binary(b"ab", 3), False),
    (None, None, True),
    (None, 0, False),
]


@pytest.mark.parametrize(("one", "other", "expected"), SAME)
def test_values_are_the_same_as_mongodb_sees_it(one: Any, other: Any, expected: bool) -> None:
    assert (is_same(one, other), is_same(other, one)) == (expected, expected)


def test_what_says_no_more_than_if_it_were_absent_is_nothing() -> None:
    nothing: list[Any] = [None, 0, 0.0, Int64(0), Decimal128("0"), "", []]
    something: list[Any] = [False, 1, "0", [0], KEY, DatetimeMS(0), {}, Decimal128("0.1")]
    assert all(map(is_nothing, nothing))
    assert not any(map(is_nothing, something))


def test_the_fields_of_a_document_are_told_by_their_paths() -> None:
    document = {"a": {"b": {"c": 1}, "d": {}}, "e": [{"f": 1}], "$g": 1, "h.i": 1, "": 1}
    assert flat(document) == {"a.b.c": 1, "a.d": {}, "e": [{"f": 1}]}


def sample(*documents: dict[str, Any]) -> Sample:
    return Sample("some", tuple(map(flat, documents)))


DATED: list[tuple[list[Any], str | None]] = [
    ([DatetimeMS(MORNING)] * 9 + ["odd"], DATE),
    ([float(MORNING)] * 9 + [None], EPOCH_MS),
    ([Int64(MORNING), MORNING / 1], EPOCH_MS),
    ([MORNING // 1000], EPOCH_S),
    ([Decimal128("1760947200.5"), 1_760_947_200.5], EPOCH_S),
    ([5, 1_760_947_200], None),
    ([5, 1_760_947_200, 1_760_947_200], EPOCH_S),
    ([DatetimeMS(MORNING), MORNING, MORNING], EPOCH_MS),
    ([float("nan"), Decimal128("NaN"), True, "1760947200"], None),
    ([], None),
]


@pytest.mark.parametrize(("values", "expected"), DATED)
def test_dates_are_told_by_the_types_and_sizes_of_most(
    values: list[Any], expected: str | None
) -> None:
    assert dates_of(sample(*({"at": it} for it in values)), "at") == expected


def test_the_session_id_is_unique_among_sessions_and_shared_with_events() -> None:
    """A user is shared as well, but has several sessions; a number from 1 on is like any other."""
    sessions = [{"_id": n, "key": f"k{n}", "user": n // 3, "events": 1} for n in range(30)]
    other = [{"_id": n, "user": n // 6, "seq": n % 9} for n in range(60)]
    events: list[dict[str, Any]] = [{**it, "session": f"k{it['_id'] // 2}"} for it in other]
    best, *_ = links(sample(*sessions), sample(*events))
    assert best == Link("key", "session", 30)
    by_id = [{**it, "session": it["_id"] // 2} for it in other]
    best, *_ = links(sample(*sessions), sample(*by_id))
    assert best == Link("_id", "session", 30)
    assert links(sample({"a": 1}), sample({"b": "x"})) == []


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["session_events", "user_sessions"], ("user_sessions", "session_events")),
        (["pageviews", "visits", "users"], ("visits", "pageviews")),
        (["Hits", "browsingSessions"], ("browsingSessions", "Hits")),
    ],
)
def test_collections_are_known_by_their_last_word(
    names: list[str], expected: tuple[str, str]
) -> None:
    best = [max(names, key=lambda it: fit_of_collection(it, side)) for side in SIDES]
    assert tuple(best) == expected


SIDES = (OF_SESSIONS, OF_EVENTS)


def test_a_field_that_is_named_for_nothing_of_the_kind_is_none() -> None:
    assert best_named("user_id", ["customerId", "device"]) == "customerId"
    assert best_named("pages", ["meta.visitedPages", "tags"]) == "meta.visitedPages"
    assert best_named("user_id", ["device", "color"]) is None


# Aggregates

NONE = Choice(None)
FIELDS = Fields(
    sessions={
        "session_id": Choice("_id"),
        "user_id": NONE,
        "event_count": Choice("n"),
        "first_event_at": NONE,
        "last_event_at": NONE,
        "pages": NONE,
    },
    events={
        "session_id": Choice("s"),
        "user_id": NONE,
        "timestamp": Choice("at"),
        "page": Choice("page"),
    },
    session_dates=DATE,
    event_dates=DATE,
)
BUY = ("kind", ("buy",))
TRIALS = [
    Trial("count", where=BUY),
    Trial("count", where=("is_new", (True,))),
    Trial("sum", "amount"),
    Trial("sum", "amount", BUY),
    Trial("min", "amount"),
    Trial("max", "amount", BUY),
    Trial("max", "at", BUY),
    Trial("min", "at", BUY),
    Trial("first", "page"),
    Trial("last", "page"),
    Trial("last", "page", BUY),
    Trial("single", "device"),
    Trial("distinct", "page"),
    Trial("distinct", "_id"),
    Trial("distinct", "amount"),
    Trial("span", "at", unit="ms"),
    Trial("span", "at", unit="s"),
]


def some_events(chance: random.Random, session: int) -> tuple[dict[str, Any], ...]:
    moment, made, device = MORNING + session * 10**7, [], chance.choice("abcde")
    for number in range(chance.randrange(1, 8)):
        moment += chance.randrange(1, 10**6)
        event: dict[str, Any] = {
            "_id": ObjectId((session * 100 + number).to_bytes(12, "big")),
            "at": DatetimeMS(moment),
            "kind": chance.choice(["buy", "see", "see", "leave"]),
            "is_new": chance.random() < 0.3,
            "device": device,
        }
        if chance.random() < 0.8:
            event["page"] = f"/{chance.randrange(30)}"
        if chance.random() < 0.6:
            cents = chance.randrange(1, 9_999)
            event["amount"] = chance.choice([cents, cents / 100, Decimal128(f"{cents}.25")])
        made.append(event)
    return tuple(made)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_an_aggregate_is_told_by_what_most_sessions_hold(trial: Trial, seed: int) -> None:
    """Every eighth session is wrong; what is proposed is the aggregate, or one that is equal."""
    chance = random.Random(f"{trial}{seed}")
    wholes = []
    for number in range(60):
        events = some_events(chance, number)
        right = trial.value(events, DATE)
        if trial.unit == "s":
            right = int(right)
        session = {"_id": number, "n": len(events), "it": right, "other": chance.random()}
        if number % 8 == 0:
            session["it"] = {int: 12345, str: "wrong", list: ["wrong"]}.get(type(right), right)
        wholes.append(Whole(session, events))
    sessions = Sample("sessions", tuple(it.session for it in wholes))
    [found] = declared(sessions, FIELDS, Bench(wholes, DATE))
    assert found.path == "it"
    told = found.found.trial
    sure = [(it, trial.value(it.events, DATE)) for it in wholes]
    equal = [it for it, right in sure if same_or_both_lists(told.value(it.events, DATE), right)]
    assert len(equal) >= 0.95 * len(wholes), told
    assert found.found.share >= 0.8


def same_or_both_lists(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    return is_same(one, other)


def test_what_is_alike_in_all_sessions_or_in_few_is_no_aggregate() -> None:
    chance = random.Random(1)
    wholes = []
    for number in range(60):
        events = some_events(chance, number)
        told = enumerate(events)
        events = tuple({**it, "rare": number < 4, "is_first": nth == 0} for nth, it in told)
        session = {"_id": number, "n": len(events), "version": 1, "noise": chance.randrange(99)}
        session |= {"rarely": len(events) if number < 4 else 0}
        wholes.append(Whole(session, events))
    sessions = Sample("sessions", tuple(it.session for it in wholes))
    assert declared(sessions, FIELDS, Bench(wholes, DATE)) == []


# The file


def proposal(*found: Declared, database: str = "shop") -> Proposal:
    return Proposal(database, "sessions", "events", FIELDS, list(found), "nothing", [])


def read(*found: Declared, database: str = "shop") -> dict[str, Any]:
    return tomllib.loads(file_of(config_of(proposal(*found, database=database))))


@pytest.mark.parametrize("text", ['a "b" \\ c', "tab\tline\nend", "\x7f\x00\x1b", "ü \u2028 🧿"])
def test_any_text_is_read_back_from_the_file(text: str) -> None:
    one = Declared(text, Found(Trial("count", where=(text, (text,))), 9, 9))
    found = read(one, database=text)
    assert found["database"] == text
    [aggregate] = found["aggregates"]
    assert {**aggregate, "name": ""} == {
        "field": text,
        "name": "",
        "is": "count",
        "where": {text: text},
    }
    assert re.fullmatch("[A-Za-z0-9_]+", aggregate["name"])


@pytest.mark.parametrize(
    ("path", "name"), [("stats.hits", None), ("a-b", "a_b"), ("Count", "its_Count"), ("ü", "_")]
)
def test_a_field_that_names_no_aggregate_has_a_name_beside_it(path: str, name: str | None) -> None:
    one = Declared(path, Found(Trial("count"), 9, 9))
    [aggregate] = read(one)["aggregates"]
    assert aggregate.get("name") == name
    [declared_] = read_aggregates([aggregate])
    assert (declared_.path, declared_.kind) == (path, "count")


PIECES = ["a", "B", "b", "count", "user", "Event", "数", "ß", "-", "_", "2", " ", "_2"]
PATHS = st.lists(st.lists(st.sampled_from(PIECES), min_size=1).map("".join), min_size=1, max_size=3)


@settings(deadline=None, derandomize=True)
@given(paths=st.lists(PATHS.map(".".join), min_size=1, max_size=MOST, unique=True))
@example(paths=["a-b", "a_b_2", "a_b", "a.b", "count", "its.count"])
def test_what_is_proposed_is_taken_whatever_fields_are_called(paths: list[str]) -> None:
    assert [*names_read(paths)] == paths


def test_names_that_fold_to_one_are_told_apart() -> None:
    """What needs no name beside it comes first."""
    assert names_read(["a-b", "a_b", "Revenue", "revenue", "数量", "金额", "count"]) == {
        "a-b": "a_b_2",
        "a_b": "a_b",
        "Revenue": "Revenue",
        "revenue": "revenue_2",
        "数量": "__",
        "金额": "___2",
        "count": "its_count",
    }


def names_read(paths: Iterable[str]) -> dict[str, str]:
    """The names of the aggregates that are read from a file which proposes these fields."""
    proposed = read(*[Declared(it, Found(Trial("count"), 9, 9)) for it in paths])["aggregates"]
    return {it.path: it.name for it in read_aggregates(proposed)}


@pytest.mark.parametrize("value", [True, 5, Int64(5), "x"])
def test_values_by_which_events_are_picked_keep_their_type(value: Any) -> None:
    one = Declared("n", Found(Trial("sum", "a.b", ("kind.of", (value,))), 9, 9))
    [aggregate] = read(one)["aggregates"]
    assert aggregate["where"] == {"kind.of": value}
    assert type(aggregate["where"]["kind.of"]) is (int if value == 5 else type(value))


def test_what_is_not_sure_or_too_many_is_a_comment() -> None:
    found = [Declared(f"n{n}", Found(Trial("single", f"m{n}"), 9, 9), n > 0) for n in range(20)]
    lines = [*config_of(proposal(*found))]
    assert [it["field"] for it in read(*found)["aggregates"]] == [
        f"n{n}" for n in range(1, MOST + 1)
    ]
    told = [it for it in lines if it.startswith("# field = ")]
    rest = range(MOST + 1, 20)
    assert told == ['# field = "n0"', *(f'# field = "n{n}"' for n in rest)]
