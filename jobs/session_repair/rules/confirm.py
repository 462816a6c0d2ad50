"""Confirm: of two surveys a while apart, keep what both would do alike. Pure."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from session_repair.reasons import IN_FLIGHT


def confirm(corrected: DataFrame, earlier: DataFrame) -> DataFrame:
    """The later corrected rows; a change that the earlier survey did not plan alike is deferred."""
    before = earlier.where("changes IS NOT NULL").select(
        "session_key", F.struct("stored", "changes").alias("earlier")
    )
    now = F.struct("stored", "changes")
    is_confirmed = F.coalesce(F.col("earlier") == now, F.lit(False))
    deferred = F.transform(
        "findings",
        lambda finding: finding.withField(
            "action",
            F.when(finding["action"] == "correct", "defer").otherwise(finding["action"]),
        ).withField("why", F.coalesce(finding["why"], F.lit(IN_FLIGHT))),
    )
    return (
        corrected.join(before, "session_key", "left")
        .withColumn("findings", F.when(is_confirmed, F.col("findings")).otherwise(deferred))
        .withColumn("changes", F.when(is_confirmed, F.col("changes")))
        .select(*corrected.columns)
    )
