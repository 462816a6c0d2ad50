"""Journal rows: what is to be done to a session, as one JSON document. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from session_repair.aggregates import BASIC_SHAPE, Shape
from session_repair.dates import KEPT_DATES
from session_repair.rules.dates import Dates, observed_date, written_date
from session_repair.rules.declared_json import declared_values, with_numbers
from session_repair.rules.envelope import content, fits_int, json_number
from session_repair.rules.ids import stored_id
from session_repair.rules.schemas import JOURNAL_ROWS
from session_repair.rules.usual_types import USUAL_TYPES


@dataclass(frozen=True)
class PlanRows:
    """What the rows of one plan have in common.

    ``prefix`` is what the _id of a row has before the session's: the run and its attempt to plan.
    The sessions are of this ``shape``, and mostly of these ``usual`` types.
    """

    run_id: str
    prefix: str
    expires_at: datetime
    usual: Mapping[str, str] = field(default_factory=lambda: USUAL_TYPES)
    shape: Shape = BASIC_SHAPE

    @property
    def dates(self) -> Dates:
        return Dates(self.shape.dates, self.usual)


def journal_rows(corrected: DataFrame, common: PlanRows) -> DataFrame:
    """One row per session to be corrected, shape JOURNAL_ROWS. Pure.

    ``plan`` is one JSON document: session (envelope of its _id), session_id, observed (the fields
    as they were, absent ones absent), parents (the type of what each nested field stands in, where
    there are any), new (the fields to write) and findings (codes).
    """
    members = {"new": json_object(new_fields(common.dates, common.shape))}
    planned = corrected.where("changes IS NOT NULL").transform(with_numbers, common.shape)
    return as_journal_rows(planned, members, common)


def deletion_rows(corrected: DataFrame, common: PlanRows) -> DataFrame:
    """One row per session to be deleted, shape JOURNAL_ROWS, ``plan.delete`` being true. Pure.

    ``plan.canonical`` is the _id of the document that makes it a copy; absent for an orphan.
    """
    is_copy = F.col("canonical_key") != F.col("session_key")
    canonical = F.when(is_copy, F.col("canonical_key"))
    members = {"delete": F.lit("true"), "canonical": canonical}
    return as_journal_rows(corrected, members, common)


def as_journal_rows(planned: DataFrame, members: dict[str, Column], common: PlanRows) -> DataFrame:
    observed = {
        "session": F.col("session_key"),
        "session_id": stored_id(
            F.col("session_id"), F.col("stored.exact_id"), F.col("stored.types.session_id")
        ),
        "observed": json_object(observed_fields(common.dates, common.shape)),
        "parents": F.to_json(F.col("stored.parents")),
    }
    whole = {**observed, **members, "findings": F.to_json(F.col("findings.code"))}
    return planned.select(
        F.concat(F.lit(common.prefix), F.col("session_key")).alias("_id"),
        F.lit(common.run_id).alias("run_id"),
        json_object(whole).alias("plan"),
        F.lit(common.expires_at).alias("expires_at"),
    ).select(*JOURNAL_ROWS.fieldNames())


def json_object(members: dict[str, Column]) -> Column:
    """A JSON object of the members that are not null."""
    pairs = [F.concat(F.lit(f'"{name}":'), value) for name, value in members.items()]
    return F.concat(F.lit("{"), F.concat_ws(",", *pairs), F.lit("}"))


def tag_of_stored() -> Column:
    """The tag of the BSON type of the stored count."""
    return F.when(F.col("stored.types.event_count") == "int", "Int").otherwise("Long")


def tag_of_new(count: Column) -> Column:
    """The tag for a count: that of the stored one where it fits, else what drivers take."""
    is_int = fits_int(count) & (F.col("stored.types.event_count") != "long")
    return F.when(is_int, "Int").otherwise("Long")


def json_values(
    owner: str, tag: Column, date: Callable[[str, Column, Dates], Column], dates: Dates
) -> dict[str, Column]:
    """The five fields of a struct as extended JSON, under their stored names; null for null."""
    return {
        "event_count": json_number(tag, F.col(f"{owner}.event_count").cast("string")),
        "pages": F.to_json(F.col(f"{owner}.pages")),
        **{it: date(it, F.col(f"{owner}.{it}"), dates) for it in KEPT_DATES},
        "user_id": content(F.col(f"{owner}.user")),
    }


def observed_fields(dates: Dates, shape: Shape) -> dict[str, Column]:
    """The fields as the plan saw them, types too: a missing one is left out, a null one is null."""
    values = json_values("stored", tag_of_stored(), observed_date, dates)
    basics = {
        name: F.when(F.col(f"stored.types.{name}") == "null", "null").otherwise(value)
        for name, value in values.items()
        if name in shape.kept
    }
    return {**basics, **declared_values(shape, "stored")}


def new_fields(dates: Dates, shape: Shape) -> dict[str, Column]:
    tag = tag_of_new(F.col("changes.event_count"))
    values = json_values("changes", tag, written_date, dates)
    return {**values, **declared_values(shape, "changes")}
