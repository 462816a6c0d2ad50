"""Judged: which documents a deletion is to remove, and why it leaves the others, by one action."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from session_repair.repair.report import MOST_DELETIONS, Deletion, Sample
from session_repair.rules.ids import name_of_id
from session_repair.rules.shown import in_short


@dataclass(frozen=True)
class Judged:
    """By the reason they are kept for, how many there are, and the first by _id; None is none."""

    counts: dict[str | None, int]
    samples: tuple[Sample, ...]
    deletions: tuple[Deletion, ...]


def count_judged(judged: DataFrame, most: int) -> Judged:
    """What was judged, with so many samples of each reason, and of what goes MOST_DELETIONS."""
    alike = Window.partitionBy("kept_for")
    in_order = alike.orderBy("session_key")
    listed = F.when(F.col("kept_for").isNull(), MOST_DELETIONS).otherwise(max(most, 1))
    canonical = F.when(F.col("canonical_key") != F.col("session_key"), F.col("canonical_key"))
    rows = (
        judged.select(
            "kept_for",
            F.count(F.lit(1)).over(alike).alias("number"),
            F.row_number().over(in_order).alias("rank"),
            in_short(F.col("session_key")).alias("session_key"),
            in_short(name_of_id(F.col("session_id"))).alias("session_id"),
            in_short(canonical).alias("canonical_key"),
        )
        .where(F.col("rank") <= listed)
        .orderBy("kept_for", "rank")
        .collect()
    )
    samples = [
        Sample(row["session_id"], row["session_key"], None, None, None, row["kept_for"])
        for row in rows
        if row["rank"] <= most
    ]
    deletions = [
        Deletion(row["session_key"], row["session_id"], row["canonical_key"])
        for row in rows
        if row["kept_for"] is None
    ]
    counts = {row["kept_for"]: row["number"] for row in rows}
    return Judged(counts, tuple(samples), tuple(deletions))
