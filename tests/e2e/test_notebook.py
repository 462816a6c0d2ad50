"""The notebook: it opens any report, says in words what it found, and is kept without outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import nbformat
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymongo.database import Database
from pyspark.sql.pandas.types import to_arrow_schema

from session_repair.reporting.datasets import NAMES
from session_repair.rules.schemas import CORRECTION_ROWS, FINDING_ROWS, SUMMARY_ROWS
from session_repair.settings import Settings, describe
from tests.e2e.notebook import NOTEBOOK, run_notebook
from tests.harness.documents import Document
from tests.harness.shop import MORNING, Shop

pytestmark = pytest.mark.own_spark

SCHEMAS = {"findings": FINDING_ROWS, "corrections": CORRECTION_ROWS, "summary": SUMMARY_ROWS}
RUN, EARLIER = "r20251101-120000-aaaaaa", "r20251031-120000-bbbbbb"
DAY = 86_400_000_000  # microseconds
YEAR_1, YEAR_9999, YEAR_20000 = -719_162 * DAY, 2_932_896 * DAY, 6_585_000 * DAY

Row = dict[str, Any]
SHOP = Settings(uri="mongodb://h", database="shop")


def write(
    report: Path,
    run: str,
    metrics: Mapping[str, int | None],
    settings: Settings = SHOP,
    strategy: str = "scan",
    **rows: list[Row],
) -> None:
    """The three datasets of a run, as the job lays them out."""
    moment = datetime.strptime(run, "r%Y%m%d-%H%M%S-" + run[-6:]).replace(tzinfo=timezone.utc)
    told = describe(settings)
    names = {name: told[name] for name in NAMES}
    of_run = {"database": told["database"], "scope": "empty", "strategy": strategy}
    about = {"verb": "fix", "server_time": moment, **of_run, "names": json.dumps(names)}
    summary = [{**about, "metric": name, "value": value} for name, value in metrics.items()]
    for name, schema in SCHEMAS.items():
        folder = report / name / f"run_date={moment:%Y-%m-%d}" / f"run_id={run}"
        folder.mkdir(parents=True)
        found = summary if name == "summary" else rows.get(name, [])
        fields = [{field: row.get(field) for field in schema.fieldNames()} for row in found]
        pq.write_table(
            pa.Table.from_pylist(fields, schema=to_arrow_schema(schema)), folder / "part.parquet"
        )


NOTHING = {"verdict": 0, "sessions": 5, "events": 9, "potentially_empty": 0, "planned": 0}


def finding(session: str, began: int | datetime | None, **snippet: Any) -> Row:
    base = {"session": session, "session_id": session, "code": "empty_pages", "action": "correct"}
    return {**base, "started_at": began, **snippet}


def test_it_is_kept_without_outputs_and_counts() -> None:
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    nbformat.validate(nbformat.from_dict(notebook))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert [cell["outputs"] for cell in code] == [[]] * len(code)
    assert [cell["execution_count"] for cell in code] == [None] * len(code)


@pytest.mark.needs("notebook")
def test_a_report_without_findings_is_told_in_words(tmp_path: Path) -> None:
    write(tmp_path / "report", RUN, NOTHING)
    told = run_notebook(tmp_path / "report", tmp_path)
    for line in (
        f"Run {RUN}, fix, 2025-11-01 12:00 UTC",
        "Database shop, scope empty, read by scan",
        "Exit 0: clean, or all that is fixable is fixed",
        "5 sessions and 9 events were compared",
        "No findings: every session matches its events.",
        "No day has sessions that can be repaired.",
        "No corrections in this run.",
        "The report names no session.",
    ):
        assert f"{line}\n" in told


@pytest.mark.needs("notebook")
def test_what_a_look_up_did_not_read_is_not_known(tmp_path: Path) -> None:
    unknown = {"events": None, "found.count_mismatch": None, "found.user_conflict": None}
    metrics = {**NOTHING, **unknown, "found.empty_pages": 1}
    rows = [finding("a", MORNING), finding("b", MORNING, code="count_mismatch", action="report")]
    write(tmp_path / "report", RUN, metrics, strategy="lookup", findings=rows)
    told = run_notebook(tmp_path / "report", tmp_path)
    for line in (
        "Database shop, scope empty, read by lookup",
        "Of 5 sessions the empty ones were compared with their events",
        "Not known, as a look-up reads only some sessions: count_mismatch, user_conflict",
    ):
        assert f"{line}\n" in told
    (row,) = re.findall(r"^empty_pages +(\d+) ", told, re.MULTILINE)
    assert row == "1"
    assert re.findall(r"^count_mismatch ", told, re.MULTILINE) == []


@pytest.mark.needs("notebook")
def test_dates_that_pandas_does_not_know_and_hostile_texts_are_shown(tmp_path: Path) -> None:
    dates = (YEAR_1, YEAR_9999, YEAR_20000, -YEAR_20000, None, MORNING)
    findings = [finding(f"s{number}", moment) for number, moment in enumerate(dates)]
    alone = {"session": None, "session_id": "events alone", "action": "report"}
    findings.append({**finding("", MORNING), **alone})
    old = {"event_count": 0, "pages": [], "first_event_at": YEAR_1, "user": "$a$"}
    new = {"event_count": 2, "pages": ["/a", "\x1b[31m\u202e<b>$x_$", "/" + "y" * 1_000_000]}
    corrections = [
        {"session_id": f"s{number}", "old": old, "new": {**new, "last_event_at": moment}}
        for number, moment in enumerate((YEAR_20000, -YEAR_20000, YEAR_9999, None))
    ]
    metrics = {**NOTHING, "verdict": 5, "outcomes.applied": 3, "outcomes.planned": 4}
    write(tmp_path / "report", RUN, metrics, findings=findings, corrections=corrections)
    write(tmp_path / "report", EARLIER, {**NOTHING, "verdict": 3, "planned": 4})
    told = run_notebook(tmp_path / "report", tmp_path)
    for line in (
        f"Run {RUN}, fix, 2025-11-01 12:00 UTC",  # the newest, not the last in the folder
        "Exit 5: partial: some rows failed, were skipped, or a limit stopped the run",
        "3 of 4 were corrected",
        "Repairable sessions began on 3 days, from 0001-01-01 to 9999-12-31",
        "3 findings have no date between the years 1 and 9999",
        "Not drawn: 0001-01-01, 9999-12-31",
        "4 corrections, 1 users, 3 pages",
        "Most often among users: $a$ (4)",
        "2 runs",
        "MONGODB_URI is not set. Set it before Jupyter starts, or look in mongosh:",
        '  db["events"].find({"session_id": "s0"}).sort({"timestamp": 1, "_id": 1})',
    ):
        assert f"{line}\n" in told
    assert [it for it in told if not it.isprintable() and it != "\n"] == []


@pytest.mark.needs("notebook")
def test_one_session_is_shown_as_mongodb_has_it(
    tmp_path: Path, db: Database[Document], mongo_uri: str
) -> None:
    shop = Shop(db)
    shop.session("s", pages=["/b"], name="\x1b[31m")
    shop.events("s", {3: "/late", 1: "/early", 2: None})
    shop.events("other", {1: "/other"})
    db["sessions"].update_many({}, {"$rename": {"session_id": "ids.visit"}})
    db["sessions"].rename("visits")
    db["events"].update_many({}, {"$rename": {"page": "seen.page", "session_id": "visit"}})
    settings = Settings(
        uri=mongo_uri,
        database=db.name,
        sessions="visits",
        session_fields={**SHOP.session_fields, "session_id": "ids.visit"},
        event_fields={**SHOP.event_fields, "session_id": "visit", "page": "seen.page"},
    )
    write(tmp_path / "report", RUN, NOTHING, settings, findings=[finding("s", MORNING)])
    told = run_notebook(tmp_path / "report", tmp_path, MONGODB_URI=mongo_uri)
    last = told.partition("Session s: ")[2]
    assert last.startswith("1 documents, 3 events\n")
    assert "pages            ['/b']" in last
    assert "name             \\x1b[31m" in last
    assert last.index("/early") < last.index("/late")
    assert "/other" not in last
