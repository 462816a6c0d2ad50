"""Samples: a few of the findings and of the corrections, each by the name of its session."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from session_repair.aggregates import BASIC_SHAPE, Shape
from session_repair.errors import LONGEST, shortened
from session_repair.repair.difference import difference
from session_repair.repair.plain import plain
from session_repair.repair.report import Correction, FieldChange, Sample
from session_repair.rules.correct import texts_of_finding
from session_repair.rules.ids import name_of_id
from session_repair.rules.predicates import changed_to, held_of
from session_repair.rules.shown import in_short, texts_of
from session_repair.settings import SAMPLES
from session_repair.symptoms import known_symptoms, names_of_changes

VALUES = ("stored", "rebuilt", "evidence")  # which may be extended JSON
COMPARED = 100_000  # characters of a value that is compared; of longer ones their beginnings are

TOO_LONG = "too long to be compared here; --report has both"

Texts = tuple[str | None, str | None]  # of what is stored, and of what is rebuilt


def sample_findings(
    kept: DataFrame, shape: Shape = BASIC_SHAPE, most: int = SAMPLES
) -> dict[str, tuple[Sample, ...]]:
    """By code, the first findings by _id."""
    rank = F.row_number().over(Window.partitionBy("code").orderBy("session_key", "session_id"))
    some = (
        kept.select("session_key", "session_id", F.inline("findings"))
        .withColumn("rank", rank)
        .where(F.col("rank") <= most)
        .withColumn("session_key", in_short(F.col("session_key")))
        .withColumn("session_id", in_short(name_of_id(F.col("session_id"))))
    )
    samples = defaultdict(list)
    for row in sorted(some.collect(), key=lambda row: row["rank"]):
        told = {name: row[name] for name in Sample.__dataclass_fields__ if name in row}
        values = {name: plain(told[name]) for name in VALUES if told[name]}
        samples[row["code"]].append(Sample(**{**told, **values}))
    return with_differences(kept, samples, shape)


def with_differences(
    kept: DataFrame, samples: Mapping[str, Iterable[Sample]], shape: Shape
) -> dict[str, tuple[Sample, ...]]:
    """The samples by code, each with what differs; of long values that takes another look."""
    fields = {it.code: it.field for it in known_symptoms(shape) if it.field}
    cut = {
        (it.session_key, fields[code])
        for code, some in samples.items()
        for it in some
        if max(len(it.stored or ""), len(it.rebuilt or "")) > LONGEST
    }
    whole = whole_texts(kept, cut, shape) if cut else {}

    def differing(code: str, it: Sample) -> Sample:
        if (field := fields.get(code)) is None:
            return it
        texts = whole.get((it.session_key, field), (it.stored, it.rebuilt))
        return replace(it, difference=differences(shape, field, *texts))

    return {code: tuple(differing(code, it) for it in some) for code, some in samples.items()}


def whole_texts(
    kept: DataFrame, cut: Iterable[tuple[str | None, str]], shape: Shape
) -> dict[tuple[str | None, str], Texts]:
    """By session and field, the texts of values that are told cut off."""
    key, each = in_short(F.col("session_key")), []
    for field in sorted({field for _, field in cut}):
        held, said = texts_of_finding(field, shape, COMPARED)
        each.append(F.struct(F.lit(field).alias("field"), held.alias("held"), said.alias("said")))
    rows = kept.where(key.isin(*{it for it, _ in cut}))
    found = rows.select(key.alias("key"), F.inline(F.array(*each))).collect()
    return {(row["key"], row["field"]): (row["held"], row["said"]) for row in found}


def differences(
    shape: Shape, name: str, stored: str | None, rebuilt: str | None
) -> tuple[str, ...]:
    """What differs of a field, where that tells more than both values."""
    is_list = name in ("pages", *(it.name for it in shape.lists))
    is_cut = max(len(stored or ""), len(rebuilt or "")) > COMPARED
    return (TOO_LONG,) if is_list and is_cut else difference(stored, rebuilt, is_list)


def sample_corrections(
    corrected: DataFrame, shape: Shape = BASIC_SHAPE, most: int = SAMPLES
) -> tuple[Correction, ...]:
    """The first planned corrections by _id, each with its fields old and new."""
    planned = corrected.where("changes IS NOT NULL").orderBy("session_key").limit(most)
    name = in_short(name_of_id(F.col("session_id"))).alias("session_id")
    return tuple(
        Correction(
            session_id=row["session_id"],
            changes=tuple(change_of(shape, **it.asDict()) for it in row["changed"]),
        )
        for row in planned.select(name, changed_fields(shape).alias("changed")).collect()
    )


def changed_fields(shape: Shape) -> Column:
    """The fields to be written, as text: what is stored and what will be."""
    texts, values, changed = texts_of(shape, COMPARED), held_of(shape), []
    for name in names_of_changes(shape):
        new = F.col(changed_to(shape, name))
        text_held, text_said = texts[name]
        before, after = text_held(values[name]), text_said(new)
        named = F.struct(F.lit(name).alias("name"), before.alias("stored"), after.alias("rebuilt"))
        changed.append(F.when(new.isNotNull(), named))
    return F.array_compact(F.array(*changed))


def change_of(shape: Shape, name: str, stored: str | None, rebuilt: str | None) -> FieldChange:
    """One field to be written, by the name that the documents have for it."""
    before, after = (it if it is None else shortened(plain(it)) for it in (stored, rebuilt))
    steps = differences(shape, name, stored, rebuilt)
    return FieldChange(shape.in_sessions(name), before, after, steps)
