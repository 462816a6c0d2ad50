"""What takes long says so: in one line on a terminal, every half minute in a log."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from session_repair import ongoing as module
from session_repair.live import LIVE
from session_repair.logs import logging_to_stderr, notice, set_verbosity
from session_repair.ongoing import Reading, ongoing, pace_text, since
from session_repair.repair.progress import progress_of
from session_repair.repair.watching import reading_of
from tests.harness.terminal import on_terminal


@pytest.mark.parametrize(
    ("left", "per_second", "unit", "text"),
    [
        (100, None, "", ""),
        (100, 0, "", ""),
        (100, 30, "", ", 30/s, 3s left"),
        (100, 30, " rows", ", 30 rows/s, 3s left"),
        (400_000_000, 45_000, "", ", 45000/s, 2h 28m left"),
        (0, 30, "", ", 30/s"),
    ],
)
def test_the_pace_is_told_where_it_is_known(
    left: int, per_second: int | None, unit: str, text: str
) -> None:
    assert pace_text(left, per_second, unit) == text


def test_how_far_the_reading_is() -> None:
    begun, half = Reading(1_000, 0, None), reading_of(500, 1_000, 2.0)
    assert (str(begun), half) == ("0 of about 1000 documents", Reading(1_000, 500, 250))
    assert str(half) == "500 of about 1000 documents, 250/s, 2s left"
    assert reading_of(1_100, 1_000, 11.0) == Reading(1_100, 1_100, 100)  # they were an estimate
    assert reading_of(1, 1_000, 60.0) == Reading(1_000, 1, None)
    longest = f"Reading again: {reading_of(317_443_900, 3_174_439_000, 7_000.0)}"
    assert len(longest) < 80
    assert since("Starting")(61.9) == "Starting: 1m 1s"


def until(has_come: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not has_come():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_on_a_terminal_one_line_lives_and_nothing_mixes_with_it() -> None:
    with on_terminal(40) as terminal, logging_to_stderr("text"):
        with ongoing(lambda seconds: "At work " + "x" * 40):
            until(lambda: LIVE.text)
            notice("a line of the log")
            with LIVE.aside():
                print("a line of the report")
        notice("the end")
    shown = "At work " + "x" * 30 + "…"
    assert terminal.live() == [shown]
    assert terminal.text.count(shown) == 3  # again below each of the two lines
    lines = ["a line of the log", "a line of the report", "the end", ""]
    assert terminal.screen() == lines


@pytest.mark.parametrize(
    ("form", "verbosity", "term"), [("json", 0, "xterm"), ("text", 2, "xterm"), ("text", 0, "dumb")]
)
def test_elsewhere_a_line_stands_in_the_log_every_half_minute(
    monkeypatch: pytest.MonkeyPatch, form: str, verbosity: int, term: str
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    clock = iter([0.0, 1.0, 29.9, 30.0, 31.0, 59.9, 95.0, 96.0, *[100.0] * 100_000])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    ends = threading.Event()

    def look(seconds: float) -> str:
        if seconds >= 100:
            ends.set()
        return f"at {seconds:g}"

    with on_terminal(200, term) as terminal, logging_to_stderr(form):
        set_verbosity(verbosity)
        with ongoing(look):
            assert ends.wait(10)
    lines = terminal.screen()[:-1]
    told = [json.loads(it)["message"] for it in lines] if form == "json" else lines
    assert [it.rpartition("at ")[2] for it in told] == ["30", "95"]
    assert terminal.live() == []


def test_a_look_that_fails_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    looks = iter([0, *[1] * 100_000])
    with on_terminal(80) as terminal, ongoing(lambda _: f"at {1 // next(looks)}"):
        until(lambda: LIVE.text)
    assert (terminal.live(), terminal.screen()) == (["at 1"], [""])


def test_nothing_waits_for_a_look_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "END_SECONDS", 0.05)
    hangs, goes_on = threading.Event(), threading.Event()

    def look(_: float) -> str:
        hangs.set()
        goes_on.wait(10)
        return "too late"

    with on_terminal(80) as terminal:
        with ongoing(look):
            assert hangs.wait(10)
        goes_on.set()
        until(lambda: not any(it.name == "progress" for it in threading.enumerate()))
    assert terminal.text == ""


def test_on_a_terminal_the_sessions_are_told_in_the_line_and_once_in_the_end() -> None:
    with on_terminal(80) as terminal, progress_of(2_600) as on_progress:
        for done in (250, 2_200, 2_600):
            on_progress(done)
    first, *others = terminal.live()
    assert first == "  Processed 250 of 2600 sessions"
    assert all("/s" in it for it in others)
    end = ["Processing 2600 sessions...", "  Processed 2600/2600...", ""]
    assert terminal.screen() == end


def test_with_the_report_in_a_file_the_line_lives_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with on_terminal(80) as terminal:
        report = io.StringIO()
        monkeypatch.setattr(sys, "stdout", report)
        with progress_of(2_000) as on_progress:
            on_progress(1_000)
            on_progress(2_000)
    assert report.getvalue().splitlines()[1:] == [
        "  Processed 1000/2000...",
        "  Processed 2000/2000...",
    ]
    assert terminal.live()[0] == "  Processed 1000 of 2000 sessions"
    assert terminal.screen() == [""]
