"""Strategies for collections that hold anything: hostile text, wrong types, odd _ids, copies."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from bson import Binary, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import strategies as st

from tests.harness.documents import Document
from tests.harness.examples import examples
from tests.harness.shop import ANN, BOB, MORNING, made_at

HOSTILE = [
    "{}, w: {}",
    "{}",
    "[1]",
    '{"$oid": "68d000000000000000000001"}',
    '{"v": 1}',
    '{"$date": {"$numberLong": "0"}}',
    "$where",
    "$session_id",
    "$$ROOT",
    "a.b",
    ".",
    "null",
    "7",
    "",
    " leading and trailing ",
    "\u00e1",
    "a\u0301",  # the same letter in another Unicode form
    'quotes " \' ` and \\ \\" \\u0041',
    "lines\nof\r\ntext\t\x00\x01\x1b[31m\x7f",
    "\U0001f9ff\u200d\u2764\ufe0f",
    "\u202eright-to-left\u202c \u2066mark\u2069",
    "<script>alert(1)</script>&amp;",
    "\ufeff\u2028\uffff",
]
texts = st.sampled_from(HOSTILE) | st.text(max_size=6)
pages = st.sampled_from(["/home", "/cart", *HOSTILE])


def session_ids(shop: int) -> list[str]:
    """The session_ids of the shop of this number, of which some look like an ObjectId."""
    texts = [f"{it}{shop or ''}" for it in HOSTILE[:9]]
    return [f"68f00000000000000000{shop:02x}{n:02x}" for n in range(24)] + texts


def other_ids(shop: int) -> list[Any]:
    """Ids that are no text; some of which others spell as text, some of which are equal."""
    number, key = 1000 * shop + 777, uuid.UUID(int=shop)
    numbers = [number, Int64(number), float(number), Decimal128(f"{number}.00"), str(number)]
    object_ids = [ObjectId(f"68f00000000000000000{shop:02x}{n:02x}") for n in range(20, 30)]
    uuids = [Binary(key.bytes, 4), Binary(key.bytes, 3), key.bytes, str(key)]
    moment = datetime(2025, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=shop)
    texts = [f'{{"v": "{shop}"}}', f'{{"v": {{"$numberLong": "{number}"}}}}']
    others = [Timestamp(shop + 1, 2), moment, True, Int64(2**53 + 1 + shop), -number]
    return [*numbers, *object_ids, *uuids, *texts, *others, Binary(b"\x00" * shop, 2)]


def some_ids(draw: Callable[..., Any], shop: int) -> list[Any]:
    """The ids of a shop: text only, or nearly; or any, among which one type may be usual."""
    texts, others = session_ids(shop), other_ids(shop)
    usual = draw(st.sampled_from([None, texts, others[5:15], range(1000 * shop, 1000 * shop + 9)]))
    return texts if usual is None else [*usual, *texts[:3], *others]


MS = timedelta(milliseconds=1)
INSTANTS = [
    MORNING,
    MORNING + MS,
    MORNING - MS,
    datetime(1, 1, 1, tzinfo=timezone.utc),
    datetime(1582, 10, 10, tzinfo=timezone.utc),  # a day that the Gregorian calendar skipped
    datetime(1899, 12, 31, 23, 59, 59, 999_000, tzinfo=timezone.utc),
    datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=timezone.utc),
    datetime(2025, 3, 9, 7, 30, tzinfo=timezone.utc),  # New York skips and repeats an hour
    datetime(2025, 11, 2, 5, 30, tzinfo=timezone.utc),
    datetime(2025, 11, 2, 6, 30, tzinfo=timezone.utc),
    datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=timezone.utc),
]
instants = st.sampled_from(INSTANTS)
users = st.sampled_from(
    [None, ANN, BOB, "ann", str(ANN), 5, Int64(5), Binary(bytes(16), 4), Binary(b"raw", 0)]
)
WRONG = [
    2.9,
    3.0,
    0.0,
    -0.0,
    Decimal128("0"),
    [0],
    [[]],
    float("nan"),
    True,
    "7",
    7,
    Int64(2**33),
    Decimal128("5"),
    MORNING,
    DatetimeMS(2**60),
    DatetimeMS(-(2**60)),
    [],
    ["/home"],
    [["/home"]],
    ["/home", 5],
    [None],
    [MORNING],
    {},
    {"a": "b"},
    {"v": {"x": None}},
    ObjectId("68f000000000000000000003"),  # which others spell as text
    Binary(b"\x00", 5),
    Regex("^/"),
    Timestamp(1, 1),
    MinKey(),
    MaxKey(),
]
MISSING = object()


class Shop:
    """What is put into the two collections."""

    def __init__(self, sessions: list[Document], events: list[Document]) -> None:
        self.sessions, self.events = sessions, events


right_of_session: dict[str, st.SearchStrategy[Any]] = {
    "event_count": st.sampled_from(
        [MISSING, None, 0, Int64(0), 1, 2, 3, Int64(4), Int64(2**33), -1]
    ),
    "pages": st.sampled_from([MISSING, None]) | st.lists(pages, max_size=3),
    "first_event_at": st.sampled_from([MISSING, None]) | instants,
    "last_event_at": st.sampled_from([MISSING, None]) | instants,
    "user_id": st.just(MISSING) | users,
}
right_of_event: dict[str, st.SearchStrategy[Any]] = {
    "timestamp": instants | instants | instants | st.sampled_from([MISSING, None]),
    "page": pages | pages | st.sampled_from([MISSING, None]),
    "user_id": st.sampled_from([ANN] * 30 + [MISSING, BOB, Int64(5), 6]),
}


clean_event = {**right_of_event, "user_id": st.sampled_from([ANN] * 30 + [MISSING, None, BOB])}


def document(
    draw: Callable[..., Any], right: dict[str, st.SearchStrategy[Any]], sound: int | None
) -> Document:
    """A document of the right types; one of ``sound`` and a few has a field of a wrong one."""
    fields = {name: draw(strategy) for name, strategy in right.items()}
    odd = None if sound is None else draw(st.sampled_from([None] * sound + list(right)))
    if odd is not None:
        fields[odd] = draw(st.sampled_from([MISSING, None, *WRONG]))
    return {name: value for name, value in fields.items() if value is not MISSING}


def plain_id(number: int) -> Any:
    return made_at(MORNING, number)


def odd_id(number: int) -> Any:
    """An _id of one of many types, among which the numbers of each stand in its order."""
    kinds = [
        made_at(MORNING, number),
        number,
        Int64(2**40 + number),
        number + 0.5,
        f"{HOSTILE[number % len(HOSTILE)]}{number}",
        Binary(uuid.UUID(int=number).bytes, 4),
        {"n": f"{number:04}", "shop": HOSTILE[number % len(HOSTILE)]},  # in the order of its JSON
        datetime(2025, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=number),
    ]
    return kinds[number % len(kinds)]


@st.composite
def shops(draw: Callable[..., Any], shop: int = 0, may_be_odd: bool = True) -> Shop:
    """Forty sessions over some dozen session_ids and their events.

    A third of the shops has only clean events. Their _ids are ObjectIds, or ``may_be_odd``. Shops
    of several numbers have no id in common.
    """
    ids, first = some_ids(draw, shop), 1000 * shop
    named = {"session_id": st.sampled_from(ids)}
    odd_sessions = draw(st.booleans()) and may_be_odd
    are_clean, odd_events = draw(st.sampled_from([(True, False), (False, False), (False, True)]))
    odd_events = odd_events and may_be_odd
    right, sound = (clean_event, None) if are_clean else (right_of_event, 60)
    sessions, events = [], []
    for number in draw(st.permutations(range(40))):
        key = (odd_id if odd_sessions else plain_id)(first + number)
        made = document(draw, {**named, **right_of_session}, 30)
        sessions.append(
            {"_id": key, "more": {draw(st.sampled_from(["a", "b"])): draw(texts)}, **made}
        )
    for number in draw(st.permutations(range(100, 190))):
        key = (odd_id if odd_events else plain_id)(first + number)
        events.append({"_id": key, **document(draw, {**named, **right}, sound)})
    # Without a document that has every field the job takes the names for wrong ones.
    plain = {
        "session_id": session_ids(shop)[0],
        "timestamp": MORNING,
        "page": "/home",
        "user_id": ANN,
    }
    events.append({"_id": plain_id(first + 999), **plain})
    dates = {"first_event_at": MORNING, "last_event_at": MORNING}
    plain = {"session_id": f"sound{shop}", "event_count": 0, "pages": [], "user_id": ANN, **dates}
    sessions.append({"_id": plain_id(first + 998), **plain})
    return Shop(sessions, events)


def many_shops(number: int, may_be_odd: bool = True) -> Shop:
    """So many examples in one database: what is found of one says nothing of another."""
    found = examples(lambda shop: shops(shop, may_be_odd), number)
    sessions = [session for shop in found for session in shop.sessions]
    return Shop(sessions, [event for shop in found for event in shop.events])
