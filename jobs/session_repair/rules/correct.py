"""Correct: decide what is to be written, and what becomes of every finding. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from session_repair.aggregates import BASIC_SHAPE, FROM_NOTHING, Aggregate, Shape
from session_repair.errors import LONGEST
from session_repair.reasons import IN_FLIGHT, ONLY, REASONS, SCOPE, SHRINK, TOO_LARGE
from session_repair.rules import held
from session_repair.rules.predicates import (
    MAX_DOCUMENT,
    OTHER_PLAN,
    array_of,
    changed_to,
    differs,
    exceeds,
    held_of,
    rebuilt,
    size_of_names,
    stored,
)
from session_repair.rules.rebuild import ELEMENT_BYTES
from session_repair.rules.schemas import CHANGES, CORRECTED, FINDING
from session_repair.rules.shown import evidence_of, texts_of
from session_repair.symptoms import (
    ALL,
    OF_EMPTY,
    Symptom,
    known_symptoms,
    names_of_changes,
)

OTHER_FIELDS = 1024  # bytes of a document that come with fields it did not have
LEAST_ELEMENT = 8  # bytes that an array of BSON keeps with a text, at least
NEVER_SHRINK = ("event_count", "first_event_at", "last_event_at")  # may be left for that alone


def correct(
    diagnosed: DataFrame,
    scope: str,
    allow_shrink: bool,
    only: Sequence[str] = (),
    shape: Shape = BASIC_SHAPE,
) -> DataFrame:
    """One row per diagnosed row, with ``changes`` and an action for each finding: CORRECTED.

    A session in the scope ``empty`` is rebuilt whole. With ``only``, sessions are corrected for
    these findings: an empty one whole, of another the fields that mend them. Without
    ``allow_shrink`` no count is lowered, no page dropped, and where fewer events exist than the
    session counts, dates only widen: the missing events may have expired. A session that with its
    correction, or whose journal row, would be too large for MongoDB is only reported.
    """
    return (
        diagnosed.transform(
            held.with_wanted, shape, allow_shrink, have_expired(allow_shrink, shape)
        )
        .withColumn(
            "changes", F.when(is_in_scope(scope, only, shape), changes(allow_shrink, only, shape))
        )
        .withColumn("is_too_large", is_any_set(shape) & ~can_be_stored(shape))
        .withColumn("changes", F.when(is_any_set(shape) & ~F.col("is_too_large"), F.col("changes")))
        .withColumn("outside", why_outside(scope, only, shape))
        .withColumns(why_left(allow_shrink, shape))
        .withColumn("findings", findings(shape))
        .withColumn("changes", F.when(~F.col("in_flight"), F.col("changes")))
        .select(*CORRECTED.fieldNames())
    )


def has_symptom(*codes: str) -> Column:
    """True when the session shows one of the symptoms. Never null."""
    return reduce(or_, [F.array_contains("symptoms", code) for code in codes], F.lit(False))


def is_in_scope(scope: str, only: Sequence[str], shape: Shape) -> Column:
    """True when the run is to correct the session. Never null.

    What is declared and named is mended in all, so that a new aggregate is filled in everywhere.
    """
    is_empty = has_symptom(*OF_EMPTY)
    is_named = has_symptom(*[code for code in OF_EMPTY if code in only]) if only else is_empty
    if scope != ALL:
        return is_named
    declared = [it.code for it in shape.declared if it.code in only]
    return is_named | ~is_empty | has_symptom(*declared)


def why_outside(scope: str, only: Sequence[str], shape: Shape) -> Column:
    """The reason for which the run is not to correct the session; null where it is."""
    of_empty = F.when(has_symptom(*OF_EMPTY), ONLY).otherwise(SCOPE)
    return F.when(~is_in_scope(scope, only, shape), of_empty)


def changes(allow_shrink: bool, only: Sequence[str], shape: Shape) -> Column:
    """What would mend the session, shape CHANGES and ``more``, were it in the scope."""
    names = names_of_changes(shape)
    basics = [
        F.when(is_to_mend(name, only, shape) & differs(stored(name), value), value).alias(name)
        if name in names
        else F.lit(None).cast(CHANGES[name].dataType).alias(name)  # not kept
        for name, value in wanted(allow_shrink, shape).items()
    ]
    declared = [
        F.when(is_to_mend(it.name, only, shape), held.wanted(it)).alias(it.name)
        for it in shape.declared
    ]
    return F.struct(*basics, *([F.struct(*declared).alias("more")] if declared else []))


def have_expired(allow_shrink: bool, shape: Shape) -> Column:
    """True where fewer events exist than the session knew, and so much is kept. Never null.

    Where no count is kept, a page that no event names tells it.
    """
    if allow_shrink:
        return F.lit(False)
    fewer = rebuilt("event_count") < F.coalesce(stored("event_count"), F.lit(0))
    if not shape.keeps("event_count"):
        fewer = exceeds(stored("pages"), rebuilt("pages"))
    return F.coalesce(fewer, F.lit(False))


def wanted(allow_shrink: bool, shape: Shape) -> dict[str, Column]:
    """By field of the basics, what a correction would leave in the session."""
    count = F.coalesce(stored("event_count"), F.lit(0))
    events_expired = have_expired(allow_shrink, shape)
    first, last = stored("first_event_at"), stored("last_event_at")
    wider_first = F.least(first, rebuilt("first_event_at"))
    wider_last = F.greatest(last, rebuilt("last_event_at"))
    return {
        "event_count": F.when(events_expired, count).otherwise(rebuilt("event_count")),
        "pages": rebuilt("pages") if allow_shrink else with_missing_pages(),
        "first_event_at": F.when(events_expired, wider_first).otherwise(rebuilt("first_event_at")),
        "last_event_at": F.when(events_expired, wider_last).otherwise(rebuilt("last_event_at")),
        "user": rebuilt("user"),
    }


def is_to_mend(change: str, only: Sequence[str], shape: Shape) -> Column:
    """True when the session shows a finding that the change mends. Never null."""
    codes = [it.code for it in known_symptoms(shape) if it.mended_by == change]
    if not only:
        return has_symptom(*codes)
    of_empty = [code for code in OF_EMPTY if code in only]
    is_whole = has_symptom(*of_empty) & has_symptom(*codes)
    return is_whole | has_symptom(*[code for code in codes if code in only])


def with_missing_pages() -> Column:
    """The rebuilt pages; where the session's own exceed them, those with the missing ones."""
    nothing = F.array().cast("array<string>")
    own = F.coalesce(stored("pages"), nothing)
    added = F.concat(own, F.array_except(rebuilt("pages"), own))
    return F.when(exceeds(own, rebuilt("pages")), added).otherwise(rebuilt("pages"))


def can_be_stored(shape: Shape) -> Column:
    """True when the corrected document and the journal row fit into 16 MB each. Never null.

    The row holds the observed fields and the new ones; the document exchanges some for others.
    """
    new, old = F.col("changes.pages"), stored("pages")
    users = size_of_text(F.col("changes.user")) + size_of_text(stored("user"))
    row = size_of_pages(new) + size_of_pages(old) + users + size_of_names() + F.lit(OTHER_PLAN)
    exchanged = F.when(new.isNotNull(), least_size_of_pages(old)).otherwise(0)
    document = stored("size") + size_of_pages(new) - exchanged + users + F.lit(OTHER_FIELDS)
    for it in shape.declared:
        new, old = F.col(changed_to(shape, it.name)), held.token_held(it)
        added = size_of_pages(new) if it.is_list else size_of_value(it, new)
        before = size_of_pages(old) if it.is_list else size_of_text(old)
        row, document = row + added + before, document + added
    return F.coalesce(F.greatest(row, document) <= MAX_DOCUMENT, F.lit(True))


def size_of_text(text: Column) -> Column:
    """Bytes of the text; 0 for null."""
    return F.coalesce(F.octet_length(text), F.lit(0))


def size_of_value(aggregate: Aggregate, value: Column) -> Column:
    """Bytes of a value; a number is never large."""
    if aggregate.kind in FROM_NOTHING:
        return F.lit(LEAST_ELEMENT)
    return size_of_text(value["token"])


def size_of_pages(pages: Column) -> Column:
    """Bytes that an array of pages takes in BSON, at most; 0 for null."""
    return F.coalesce(text_of(pages) + ELEMENT_BYTES * F.size(pages), F.lit(0))


def least_size_of_pages(pages: Column) -> Column:
    """Bytes that an array of pages takes in BSON, at least; 0 for null."""
    return F.coalesce(text_of(pages) + LEAST_ELEMENT * F.size(pages), F.lit(0))


def text_of(pages: Column) -> Column:
    return F.octet_length(F.array_join(pages, ""))


def is_any_set(shape: Shape) -> Column:
    """True when at least one field is to be written. Never null."""
    fields = [F.col(changed_to(shape, it)).isNotNull() for it in names_of_changes(shape)]
    return F.coalesce(reduce(or_, fields), F.lit(False))


def findings(shape: Shape) -> Column:
    """The findings in the order of the table, shape FINDING."""
    found = {it.code: finding(it, shape) for it in known_symptoms(shape)}
    return array_of([(has_symptom(code), one) for code, one in found.items()], FINDING)


def finding(symptom: Symptom, shape: Shape) -> Column:
    """One finding; what is too large to be stored is told in place of its evidence."""
    nothing = F.lit(None).cast("string")
    field, evidence = symptom.field, evidence_of(shape).get(symptom.code)
    held_text, should_text = nothing, nothing
    if field:
        held_text, should_text = texts_of_finding(field, shape)
    too_large = F.when(F.col("is_too_large"), F.lit(f"left alone: {REASONS[TOO_LARGE].why}"))
    why = F.col(left(symptom.code))
    action = F.when(why.isNull(), "correct").when(why == IN_FLIGHT, "defer").otherwise("report")
    return F.struct(
        F.lit(symptom.code).alias("code"),
        F.lit(field).cast("string").alias("field"),
        held_text.alias("stored"),
        should_text.alias("rebuilt"),
        F.coalesce(too_large, evidence() if evidence else nothing).alias("evidence"),
        action.alias("action"),
        why.alias("why"),
    )


def texts_of_finding(field: str, shape: Shape, longest: int = LONGEST) -> tuple[Column, Column]:
    """What the session holds of the field, and what its events say, as text."""
    said = {it.name: held.rebuilt_value(it) for it in shape.declared}
    text_held, text_said = texts_of(shape, longest)[field]
    return (
        text_held(held_of(shape)[field]),
        text_said(said[field] if field in said else rebuilt(field)),
    )


def left(code: str) -> str:
    """The column that says why a finding is left alone."""
    return f"left_{code}"


def why_left(allow_shrink: bool, shape: Shape) -> dict[str, Column]:
    """By column, the reason for which a finding is left alone; null where it is corrected.

    Columns, so that Spark analyses each once.
    """
    kept = {} if allow_shrink else kept_by_never_shrink(shape)
    return {left(it.code): reason_of(it, allow_shrink, kept, shape) for it in known_symptoms(shape)}


def kept_by_never_shrink(shape: Shape) -> dict[str, Column]:
    """By field that may be left for that alone, that what it would leave is what there is."""
    left_alone = wanted(False, shape)
    basics = {it: ~differs(stored(it), left_alone[it]) for it in NEVER_SHRINK}
    return {**basics, **{it.name: held.wanted(it).isNull() for it in shape.declared}}


def reason_of(
    symptom: Symptom, allow_shrink: bool, kept: Mapping[str, Column], shape: Shape
) -> Column:
    """Why a finding is left alone. ``kept`` is where never-shrink leaves the field as it is.

    That comes before the scope: a wider one would leave it alone too.
    """
    field = symptom.mended_by
    if field is None:
        return F.lit(symptom.left)
    if symptom.by_shrinking and not allow_shrink:
        return F.lit(SHRINK)
    is_set = F.col(changed_to(shape, field)).isNotNull()
    why = F.when(is_set, F.when(F.col("in_flight"), IN_FLIGHT))
    if field in kept:
        why = why.when(kept[field], SHRINK)
    is_too_large = F.when(F.col("is_too_large"), TOO_LARGE).otherwise(ONLY)
    return why.otherwise(F.coalesce("outside", is_too_large))
