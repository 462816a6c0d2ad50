"""Predicates: when each symptom holds, by its code. Pure.

The predicates look at the joined row of a session and its events: structs ``stored`` and
``rebuilt``, ``rebuilt`` being null for a session without events and ``stored`` for events without
a session; and at the ``shared_facts`` about it, columns of their own. None of them is ever null.
Where a field is malformed, or the document is not the canonical one of its session_id, nothing is
said of its values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from operator import or_

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType

from session_repair.aggregates import SINGLE, Aggregate, Shape
from session_repair.rules import held
from session_repair.rules.envelope import in_type_of
from session_repair.symptoms import PLAIN_NAMES, known_symptoms

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


def shared_facts(shape: Shape) -> dict[str, Column]:
    """What most symptoms ask of a row: columns, so that Spark analyses and computes each once.

    Whether it is the one document of its session_id that is to be kept; whether every type is right
    and the rebuilt session can be stored; whether an event names the session; whether what is
    declared can be told. Never null.
    """
    wrong = [held.wrong_with(it).isNotNull() for it in shape.declared]
    told = {"is_untold": F.coalesce(reduce(or_, wrong), F.lit(False))} if wrong else {}
    return {
        "is_canonical": is_session() & (F.col("session_key") == F.col("canonical_key")),
        "is_well_formed": has_right_types() & fits_into_a_document(),
        "has_events": F.coalesce(rebuilt("event_count") > 0, F.lit(False)),
        **told,
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


def is_malformed_or_untold() -> Column:
    """The same, or that one of what is declared cannot be told. Never null."""
    return is_malformed() | (can_be_judged() & F.col("is_untold"))


def is_other(aggregate: Aggregate) -> Callable[[], Column]:
    """That what is declared differs from what the events say."""
    return lambda: can_be_judged() & has_events() & held.differs(aggregate)


def disagrees(aggregate: Aggregate) -> Callable[[], Column]:
    """That the events disagree on what should be single."""
    name = f"more.{aggregate.name}.disagrees"
    return lambda: can_be_judged() & F.coalesce(rebuilt(name), F.lit(False))


def array_of(cases: Iterable[tuple[Column, Column]], element: DataType) -> Column:
    """The values whose condition is true, in their order.

    No function of higher order, such as one that drops nulls: Spark would interpret all of it.
    """
    nothing = F.array().cast(ArrayType(element))
    return F.concat(*[F.when(holds, F.array(value)).otherwise(nothing) for holds, value in cases])


OF_BASICS: dict[str, Callable[[], Column]] = {
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


def holds_of(shape: Shape) -> dict[str, Callable[[], Column]]:
    """When each symptom of sessions of this shape holds, by its code, in the order of the table."""
    holds = dict(OF_BASICS)
    for it in shape.declared:
        holds[it.code] = is_other(it)
        if it.kind == SINGLE:
            holds[it.conflict] = disagrees(it)
    if shape.declared:
        holds["malformed"] = is_malformed_or_untold
    return {it.code: holds[it.code] for it in known_symptoms(shape)}


# By the name of a field in findings and corrections: its columns


def held_of(shape: Shape) -> dict[str, Column]:
    """By the name of each field, what the session holds."""
    basics = [PLAIN_NAMES.get(it, it) for it in shape.kept]
    return {
        **{it: stored(it) for it in basics},
        **{it.name: held.token_held(it) for it in shape.declared},
    }


def changed_to(shape: Shape, name: str) -> str:
    """The column of what is to be written into the field."""
    is_declared = name in [it.name for it in shape.declared]
    return f"changes.more.{name}" if is_declared else f"changes.{name}"
