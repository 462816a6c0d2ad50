"""Metrics: the figures of a run and of an answer of health, as Prometheus reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from session_repair.errors import BreakerTripped, Exit, Refused, RepairError
from session_repair.health.metrics import figures_of_health
from session_repair.health.model import AtWork
from session_repair.health.queries import unknown
from session_repair.ongoing import Reading
from session_repair.repair.outcomes import Outcomes
from session_repair.repair.report import Report, Symptoms
from session_repair.reporting.ending import Ending
from session_repair.reporting.metrics import exposition, figures_of_run
from session_repair.reporting.outputs import Outputs, telling
from session_repair.settings import Settings
from tests.e2e.test_readme import DOCS, first_cells, section
from tests.unit.test_text import VERIFICATION, report

SETTINGS = Settings(uri="mongodb://db.example", database='a "b"\\\n<c>')
BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)
FIXED = report(
    Symptoms("empty_pages", 7, 5, 2, ()),
    totals={"planned": 5, "deferred": 2},
    verb="fix",
    outcomes=Outcomes(5, 2, 1, 1, 1, 0),
    verification=VERIFICATION,
)
Values = dict[tuple[str, str], float]


def read(text: str, *labels: str) -> Values:
    """Every value by its name and by what stands in the last of the labels that it has."""
    return {
        (sample.name, next((sample.labels[it] for it in labels if it in sample.labels), "")): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_run_is_told_in_figures() -> None:
    ended = BEGAN + timedelta(seconds=90)
    text = exposition(figures_of_run(Ending("fix", Exit.PARTIAL, BEGAN, ended, SETTINGS, FIXED)))
    values = read(text, "code", "outcome")
    expected = {
        "verdict": 5,
        "run_duration_seconds": 90,
        "run_end_timestamp_seconds": ended.timestamp(),
        "sessions": 12,
        "events": 345,
        "planned": 5,
        "deferred": 2,
    }
    assert {name: values["session_repair_" + name, ""] for name in expected} == expected
    assert values["session_repair_findings", "empty_pages"] == 7
    assert values["session_repair_findings", "malformed"] == 0
    assert values["session_repair_outcomes", "applied"] == 2
    (verdict,) = next(iter(text_string_to_metric_families(text))).samples
    assert verdict.labels == {"verb": "fix", "database": SETTINGS.database}


def test_a_run_that_failed_has_its_verdict_and_no_figures() -> None:
    values = read(exposition(figures_of_run(Ending("fix", Exit.BREAKER, BEGAN, BEGAN, SETTINGS))))
    assert {name for name, _ in values} == {
        "session_repair_verdict",
        "session_repair_run_duration_seconds",
        "session_repair_run_end_timestamp_seconds",
    }
    assert values["session_repair_verdict", ""] == 4


def test_without_mongodb_only_the_status_is_known() -> None:
    away = unknown(SETTINGS, Refused("who?"))
    values = read(exposition(figures_of_health(away)), "status")
    assert values == {
        ("session_repair_health_status", "ok"): 0,
        ("session_repair_health_status", "degraded"): 0,
        ("session_repair_health_status", "unknown"): 1,
        ("session_repair_health_verdict", ""): 2,
    }


def test_a_run_that_reads_is_told_by_what_it_has_read() -> None:
    reading = Reading(9_000, 3_000, 100)
    run = AtWork("r1", "fix", "planning", None, 0, None, None, reading)
    known = replace(unknown(SETTINGS, Refused("who?")), at_work=run)
    values = read(exposition(figures_of_health(known)), "status")
    of_run = {name: value for (name, _), value in values.items() if "_health_run_" in name}
    assert of_run == {
        "session_repair_health_run_documents": 9_000,
        "session_repair_health_run_read": 3_000,
        "session_repair_health_run_done": 0,
        "session_repair_health_run_waiting": 0,
    }


def test_the_readme_lists_every_metric() -> None:
    of_window = replace(FIXED, window={"since": BEGAN, "until": BEGAN})
    of_run = Ending("fix", Exit.CLEAN, BEGAN, BEGAN, SETTINGS, of_window)
    of_health = unknown(SETTINGS, Refused("who?"))
    figures = [*figures_of_run(of_run), *figures_of_health(of_health)]
    labelled = [f"{it.name}{{{it.label}}}" if it.label else it.name for it in figures]
    names = [f"`session_repair_{it}`" for it in labelled]
    tables = first_cells(section("## Metrics", DOCS["health.md"]))
    assert [cell for cell in tables if cell.startswith("`session_repair_")] == names


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "session_repair.prom"


def carry_out(
    verb: str, settings: Settings | None, outputs: Outputs, work: Callable[[], Report]
) -> None:
    """A command whose report is that of the work."""
    with telling(verb, settings, outputs) as it:
        it.report = work()


def test_the_file_is_whole_and_readable_for_others_whatever_the_umask(file: Path) -> None:
    before = os.umask(0o077)
    try:
        carry_out("fix", SETTINGS, Outputs(metrics=str(file)), lambda: FIXED)
    finally:
        os.umask(before)
    assert oct(file.stat().st_mode & 0o777) == "0o644"
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert read(file.read_text())["session_repair_verdict", ""] == 5


def test_a_reader_who_opened_the_old_file_never_sees_a_part_of_the_new(file: Path) -> None:
    file.write_text("old")
    with file.open() as opened:
        carry_out("fix", SETTINGS, Outputs(metrics=str(file)), lambda: FIXED)
        assert opened.read() == "old"
    assert "session_repair_verdict" in file.read_text()


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (BreakerTripped("too many"), 4),
        (ValueError("a bug"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_a_run_that_fails_leaves_its_verdict_in_both_files(
    file: Path, tmp_path: Path, error: BaseException, verdict: int
) -> None:
    def work() -> Report:
        raise error

    json_file = tmp_path / "report.json"
    outputs = Outputs(str(json_file), metrics=str(file))
    with pytest.raises(type(error)):
        carry_out("fix", SETTINGS, outputs, work)
    assert read(file.read_text())["session_repair_verdict", ""] == verdict
    assert f'"verdict": {verdict},' in json_file.read_text()


@pytest.mark.parametrize("path", ["/no/such/folder/x.prom", "/proc/x.prom", "."])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(path: str) -> None:
    def work() -> Report:
        raise AssertionError("it began")

    endings: list[Ending] = []
    with pytest.raises(Refused, match=f"^--metrics {path}: "):
        carry_out("fix", None, Outputs(metrics=path, notify=endings.append), work)
    assert [it.verdict for it in endings] == [2]


def test_a_json_that_cannot_be_written_any_more_is_the_verdict_that_is_told(
    tmp_path: Path, file: Path
) -> None:
    endings: list[Ending] = []

    def work() -> Report:
        (tmp_path / "gone").rmdir()
        return replace(FIXED, outcomes=None)

    (tmp_path / "gone").mkdir()
    json_file = str(tmp_path / "gone" / "x.json")
    outputs = Outputs(json_file, metrics=str(file), notify=endings.append)
    with pytest.raises(Exception, match="could not be written") as raised:
        carry_out("fix", SETTINGS, outputs, work)
    assert [it.verdict for it in endings] == [raised.value.exit_code] == [1]  # type: ignore[attr-defined]
    assert [(it.report, it.run_id) for it in endings] == [(replace(FIXED, outcomes=None), "r1")]
    assert read(file.read_text())["session_repair_verdict", ""] == 1


def test_a_page_that_cannot_be_written_any_more_takes_nothing_from_what_was_done(
    tmp_path: Path, file: Path
) -> None:
    def work() -> Report:
        (tmp_path / "gone").rmdir()
        return FIXED

    (tmp_path / "gone").mkdir()
    json_file = tmp_path / "report.json"
    outputs = Outputs(str(json_file), str(tmp_path / "gone" / "x.html"), str(file))
    with pytest.raises(RepairError, match=r"--html .* could not be written"):
        carry_out("fix", SETTINGS, outputs, work)
    assert FIXED.outcomes is not None
    told = json.loads(json_file.read_text())
    assert (told["verdict"], told["run_id"]) == (1, FIXED.run_id)
    assert told["outcomes"] == asdict(FIXED.outcomes)
    assert "--html" in told["error"]
    figures = read(file.read_text(), "outcome")
    assert figures["session_repair_verdict", ""] == 1
    assert figures["session_repair_outcomes", "applied"] == FIXED.outcomes.applied
