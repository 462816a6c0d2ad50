"""Prints docs/report.md, the data dictionary of the report, from its schemas.

python docs/data_dictionary.py > docs/report.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from pyspark.sql.types import ArrayType, DataType, StructField, StructType

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

from session_repair.repair.outcomes import APPLIED, WHY
from session_repair.rules.schemas import (
    CORRECTION_ROWS,
    DELETION_ROWS,
    FINDING_ROWS,
    SCHEMA_VERSION,
    SUMMARY_ROWS,
)

HEAD = f"""# The report's data dictionary

What `--report DIR` writes: datasets in parquet, each under `run_date=…/run_id=…`, which readers
show as columns too; of `delete-orphans` only `deletions` and `summary`. Instants are UTC. Every row
says its `schema_version` ({SCHEMA_VERSION} now), which rises when a column is added; columns are
only ever added. (Version 4, the last before the first release, dropped `batch` of `corrections`,
which was null since version 3.) A run is complete once it stands in `summary`, which is written
last; the file `_SUCCESS` beside it is the very last.

Made by `docs/data_dictionary.py` from `jobs/session_repair/rules/schemas.py`."""

DATASETS = (
    ("findings", "One row per session and symptom, of the sessions that were read.", FINDING_ROWS),
    ("corrections", "One row per planned document.", CORRECTION_ROWS),
    ("deletions", "One row per document that `delete-orphans` planned to delete.", DELETION_ROWS),
    ("summary", "One row per run and metric.", SUMMARY_ROWS),
)


def page() -> Iterator[str]:
    yield HEAD
    for name, rows, schema in DATASETS:
        yield f"\n## {name}\n\n{rows}\n\n| column | type | meaning |\n|---|---|---|"
        yield from (line for field in schema for line in lines(field))
        yield "| `schema_version` | int | version of this dictionary |"
        yield "| `run_date` | date | day of the run by the server's clock (UTC); from the path |"
        yield "| `run_id` | string | the run; from the path |"
    yield "\n## Outcomes\n\n| outcome | |\n|---|---|"
    yield f"| `{APPLIED}` | written as planned |"
    yield from (f"| `{name}` | {why} |" for name, why in WHY.items())


def lines(field: StructField, inside: str = "") -> Iterator[str]:
    """A line for the column, and one for each field of a struct."""
    name, meaning = f"{inside}{field.name}", field.metadata["comment"]
    yield f"| `{name}` | {type_of(field.dataType)} | {meaning} |"
    if isinstance(field.dataType, StructType):
        for part in field.dataType:
            yield from lines(part, f"{name}.")


def type_of(kind: DataType) -> str:
    if isinstance(kind, StructType):
        return "struct"
    if isinstance(kind, ArrayType):
        return f"array of {type_of(kind.elementType)}"
    return kind.simpleString()


if __name__ == "__main__":
    print("\n".join(page()))
