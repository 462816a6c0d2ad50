"""Predicates: when each symptom holds, and how its values are shown, by its code. Pure.

The predicates look at the joined row of a session and its events: structs ``stored`` and
``rebuilt``, ``rebuilt`` being null for a session without events and ``stored`` for events without
a session; and at the ``shared_facts`` about it, columns of their own. None of them is ever null.
Where a field is malformed, or the document is not the canonical one of its session_id, nothing is
said of its values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType

from session_repair.errors import LONGEST
from session_repair.rules.envelope import in_type_of, readable

MAX_DOCUMENT = 16 * 1024 * 1024  # bytes; MongoDB stores no larger document
OTHER_PLAN = 64 * 1024  # bytes of a journal row beside what grows with the session


# Facts of values


def names_no_page(pages: Column) -> Column:
    """True when the array is missing, null or empty. Never null."""
    return F.coalesce(F.size(pages) <= 0, F.lit(True))


def counts_nothing(event_count: Column) -> Column:
    """True when the count is missing, null or 0. Never null."""
    return F.coalesce(event_count == 0, F.lit(True))


def lacks(some: Column, others: Column) -> Column:
    """True when ``some`` lacks an element of ``others``; a null array is empty. Never null."""
    nothing = F.array().cast("array<string>")
    return F.size(F.array_except(F.coalesce(others, nothing), F.coalesce(some, nothing))) > 0


def exceeds(some: Column, others: Column) -> Column:
    """True when ``some`` has an element that ``others`` lacks, or one twice. Never null."""
    has_twice = F.size(F.array_distinct(some)) < F.size(some)
    return lacks(others, some) | F.coalesce(has_twice, F.lit(False))


def differs(stored: Column, rebuilt: Column) -> Column:
    """True when there is a rebuilt value and the stored one is another or none. Never null."""
    return rebuilt.isNotNull() & ~stored.eqNullSafe(rebuilt)


# Facts of the joined row


def stored(field: str) -> Column:
    return F.col(f"stored.{field}")


def rebuilt(field: str) -> Column:
    """What the events say of the field; a user that is an integer in the type of the stored one."""
    value = F.col(f"rebuilt.{field}")
    return in_type_of(stored(field), value) if field == "user" else value


def is_told(field: str) -> Column:
    """True when the stored value is known, or is none: not of a wrong type. Never null."""
    is_none = F.coalesce(stored(f"types.{field}").isin("missing", "null"), F.lit(False))
    return stored(field).isNotNull() | is_none


def is_session() -> Column:
    """True for a document, false for events without one. Never null."""
    return F.col("session_key").isNotNull()


def has_right_types() -> Column:
    """True when no field of the session and of its events has a wrong type. Never null."""
    return F.col("malformed").isNull() & F.coalesce(rebuilt("malformed_events") == 0, F.lit(True))


def size_of_names() -> Column:
    """Bytes that the names of a session take in a journal row, at most. Null without a session."""
    return 3 * (F.octet_length("session_key") + F.coalesce(F.octet_length("session_id"), F.lit(0)))


def fits_into_a_document() -> Column:
    """True when MongoDB could store the rebuilt pages, in the session and in a plan. Never null."""
    size = rebuilt("pages_size") + size_of_names() + OTHER_PLAN
    return F.coalesce(size <= MAX_DOCUMENT, F.lit(True))


def shared_facts() -> dict[str, Column]:
    """What most symptoms ask of a row: columns, so that Spark analyses and computes each once.

    Whether it is the one document of its session_id that is to be kept; whether every type is right
    and the rebuilt session can be stored; whether an event names the session. Never null.
    """
    return {
        "is_canonical": is_session() & (F.col("session_key") == F.col("canonical_key")),
        "is_well_formed": has_right_types() & fits_into_a_document(),
        "has_events": F.coalesce(rebuilt("event_count") > 0, F.lit(False)),
    }


def is_canonical() -> Column:
    return F.col("is_canonical")


def is_well_formed() -> Column:
    return F.col("is_well_formed")


def has_events() -> Column:
    return F.col("has_events")


def can_be_judged() -> Column:
    return is_canonical() & is_well_formed()


def is_empty() -> Column:
    """True when the session names no page and counts nothing. Never null."""
    return names_no_page(stored("pages")) & counts_nothing(stored("event_count"))


# The symptoms


def has_empty_pages() -> Column:
    return can_be_judged() & names_no_page(stored("pages")) & ~names_no_page(rebuilt("pages"))


def has_zero_events() -> Column:
    return can_be_judged() & counts_nothing(stored("event_count")) & has_events()


def has_count_mismatch() -> Column:
    counted = ~counts_nothing(stored("event_count"))
    other = differs(stored("event_count"), rebuilt("event_count"))
    return can_be_judged() & counted & has_events() & other


def has_pages_missing() -> Column:
    some = ~names_no_page(stored("pages"))
    return can_be_judged() & some & lacks(stored("pages"), rebuilt("pages"))


def has_pages_extra() -> Column:
    return can_be_judged() & has_events() & exceeds(stored("pages"), rebuilt("pages"))


def has_first_event_mismatch() -> Column:
    return can_be_judged() & differs(stored("first_event_at"), rebuilt("first_event_at"))


def has_last_event_mismatch() -> Column:
    return can_be_judged() & differs(stored("last_event_at"), rebuilt("last_event_at"))


def has_user_mismatch() -> Column:
    return can_be_judged() & differs(stored("user"), rebuilt("user"))


def has_user_conflict() -> Column:
    return can_be_judged() & F.coalesce(rebuilt("user_conflict"), F.lit(False))


def is_duplicate() -> Column:
    return is_session() & ~is_canonical()


def is_orphan() -> Column:
    return can_be_judged() & is_empty() & ~has_events()


def is_phantom() -> Column:
    return can_be_judged() & ~is_empty() & ~has_events()


def is_events_without_session() -> Column:
    return ~is_session()


def is_malformed() -> Column:
    """True of a session; what is wrong with events without one is told with them. Never null."""
    return is_session() & ~is_well_formed()


def array_of(cases: Iterable[tuple[Column, Column]], element: DataType) -> Column:
    """The values whose condition is true, in their order.

    No function of higher order, such as one that drops nulls: Spark would interpret all of it.
    """
    nothing = F.array().cast(ArrayType(element))
    return F.concat(*[F.when(holds, F.array(value)).otherwise(nothing) for holds, value in cases])


# How a value is shown


def in_short(value: Column) -> Column:
    cut = F.concat(F.substring(value, 1, LONGEST), F.lit("…"))
    return F.when(F.length(value) > LONGEST, cut).otherwise(value)


def number_text(value: Column) -> Column:
    return value.cast("string")


def pages_text(pages: Column) -> Column:
    return in_short(F.to_json(pages))


def date_text(date: Column) -> Column:
    return F.date_format(date, "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")


def user_text(user: Column) -> Column:
    return in_short(readable(user))


# What else a reader needs


def canonical_document() -> Column:
    return F.concat(F.lit("canonical _id "), in_short(readable(F.col("canonical_key"))))


def wrong_types() -> Column:
    of_session = F.concat(F.lit("session "), F.col("malformed"))
    sizes = [F.lit("over 16 MB: rebuilt pages of "), rebuilt("pages_size"), F.lit(" bytes")]
    size = F.concat(*sizes)
    too_large = F.when(~fits_into_a_document(), size)
    return in_short(F.concat_ws(", ", of_session, wrong_types_of_events(), too_large))


def wrong_types_of_events() -> Column:
    types = F.array_join(rebuilt("malformed.types"), ", ")
    return F.when(F.size(rebuilt("malformed")) > 0, F.concat(F.lit("event "), types))


def number_of_events() -> Column:
    count = rebuilt("event_count") + rebuilt("malformed_events")
    noun = F.when(count == 1, " event").otherwise(" events")
    told = F.concat(count.cast("string"), noun)
    return in_short(F.concat_ws(", ", told, wrong_types_of_events()))


HOLDS: dict[str, Callable[[], Column]] = {
    "empty_pages": has_empty_pages,
    "zero_events": has_zero_events,
    "count_mismatch": has_count_mismatch,
    "pages_missing": has_pages_missing,
    "pages_extra": has_pages_extra,
    "first_event_mismatch": has_first_event_mismatch,
    "last_event_mismatch": has_last_event_mismatch,
    "user_mismatch": has_user_mismatch,
    "user_conflict": has_user_conflict,
    "duplicate_session": is_duplicate,
    "orphan_session": is_orphan,
    "phantom_session": is_phantom,
    "orphan_events": is_events_without_session,
    "malformed": is_malformed,
}
TEXT_OF: dict[str, Callable[[Column], Column]] = {
    "event_count": number_text,
    "first_event_at": date_text,
    "last_event_at": date_text,
    "pages": pages_text,
    "user": user_text,
}
EVIDENCE: dict[str, Callable[[], Column]] = {
    "duplicate_session": canonical_document,
    "orphan_events": number_of_events,
    "malformed": wrong_types,
}
