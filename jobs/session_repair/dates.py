"""Dates: as what a collection keeps them. For Spark they are milliseconds since 1970, however."""

from __future__ import annotations

# BSON's own type, or a number of what has passed since 1970.
DATES = DATE, EPOCH_MS, EPOCH_S = "date", "epoch_ms", "epoch_s"
KEPT_DATES = ("first_event_at", "last_event_at")  # by a session
DATE_FIELDS = (*KEPT_DATES, "timestamp")
NUMBERS = ("int", "long", "double", "decimal")  # the types that such a number may have
WHOLE = ("int", "long")  # in which a second has no parts

# Years 1 to 9999: what Spark, Python and parquet readers can all represent.
LEAST_DATE_MS, GREATEST_DATE_MS = -62_135_596_800_000, 253_402_300_799_999
