"""Logs: what becomes of a record; who asks for nothing reads what is meant for people."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import datetime, timezone

import click
import pytest

from session_repair.cli.options import CONNECTION, run_command, with_options
from session_repair.cli.streams import unfailing
from session_repair.errors import Exit, Refused
from session_repair.logs import Timed, format_in, logging_to_stderr, name_run, notice, set_verbosity

NOON = datetime(2025, 11, 3, 12, 0, 0, 7_999, tzinfo=timezone.utc)
RUN = "r20251103-031500-5f3a9c"
log = logging.getLogger("session_repair.repair.apply")
of_others = logging.getLogger("py4j")


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each record is of one moment, on a machine whose zone is another."""
    made = logging.LogRecord.__init__

    def at(record: logging.LogRecord, *values: object, **named: object) -> None:
        made(record, *values, **named)  # type: ignore[arg-type]
        record.created = NOON.timestamp()

    monkeypatch.setattr(logging.LogRecord, "__init__", at)
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "Asia/Ho_Chi_Minh")
        time.tzset()
        yield
    time.tzset()


def tell_all() -> None:
    log.debug("pipeline %s", {"_id": 1})
    log.info("began a batch of 1 row")
    name_run(RUN)
    notice("  waiting: 100 %\nfor long")
    log.warning("No notices: %s", "é")
    of_others.info("nobody asked %s", "them")
    of_others.error("they fail")


def told_at(verbosity: int, capsys: pytest.CaptureFixture[str], form: str = "text") -> list[str]:
    with logging_to_stderr(form):
        set_verbosity(verbosity)
        tell_all()
    out, err = capsys.readouterr()
    assert out == ""
    return str(err).splitlines()


AT = "2025-11-03T12:00:00.007Z"
IN_TEXT = [
    f"{AT} DEBUG  - session_repair.repair.apply: pipeline {{'_id': 1}}",
    f"{AT} INFO   - session_repair.repair.apply: began a batch of 1 row",
    f"{AT} NOTICE {RUN} session_repair: waiting: 100 %\\nfor long",
    f"{AT} WARN   {RUN} session_repair.repair.apply: No notices: é",
    f"{AT} ERROR  {RUN} py4j: they fail",
]


def test_who_asks_for_nothing_reads_the_messages(capsys: pytest.CaptureFixture[str]) -> None:
    plain = ["  waiting: 100 %", "for long", "No notices: é", "they fail"]
    assert told_at(0, capsys) == plain


@pytest.mark.parametrize(("verbosity", "told"), [(1, IN_TEXT[1:]), (2, IN_TEXT), (9, IN_TEXT)])
def test_each_v_tells_more_and_each_line_says_when_who_and_of_which_run(
    verbosity: int, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert told_at(verbosity, capsys) == told


def test_with_time_each_line_of_a_message_has_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    plain = told_at(0, capsys)
    assert told_at(0, capsys, "time") == [f"{AT} {line}" for line in plain]
    assert told_at(1, capsys, "time") == IN_TEXT[1:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", NOON.timestamp)
        with redirect_stdout(Timed(sys.stdout)):
            click.echo("two\n\n  lines")
    assert capsys.readouterr().out == f"{AT} two\n{AT} \n{AT}   lines\n"
    assert run_command(work, ["--how", "failing", "--log-format", "time"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.removeprefix(f"{AT} ") for line in (lines[0], *lines[-2:])] == [
        "work: failed",
        "ZeroDivisionError: by",
        "nought",
    ]
    assert all(line.startswith(f"{AT} ") for line in lines)


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_json_is_an_object_a_line_whatever_is_asked_for(
    verbosity: int, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [json.loads(line) for line in told_at(verbosity, capsys, "json")]
    assert told[-3:] == [
        {"time": AT, "level": level, "run": RUN, "logger": logger, "message": message}
        for level, logger, message in (
            ("NOTICE", "session_repair", "waiting: 100 %\nfor long"),
            ("WARN", "session_repair.repair.apply", "No notices: é"),
            ("ERROR", "py4j", "they fail"),
        )
    ]
    assert len(told) == 3 + verbosity
    assert all(it["run"] == "-" for it in told[:-3])


def test_nothing_is_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    told_at(2, capsys, "json")
    before = list(logging.getLogger().handlers)
    assert told_at(0, capsys)[0] == "  waiting: 100 %"
    assert logging.getLogger().handlers == before
    with logging_to_stderr("json"):
        notice("again")
    assert json.loads(capsys.readouterr().err)["run"] == "-"


def test_a_full_stderr_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", unfailing(full))
        with logging_to_stderr("json"):
            notice("lost")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", unfailing(io.TextIOWrapper(written, encoding="ascii")))
    print("é \udcff", file=sys.stderr, flush=True)  # a record of it no other process could be sent
    assert written.getvalue() == "é \\udcff\n".encode()


@pytest.mark.parametrize(
    ("words", "form"),
    [
        ((), "text"),
        (("--log-format", "json"), "json"),
        (("fix", "--log-format=json", "--apply"), "json"),
        (("--log-format=json", "--log-format", "text"), "text"),
        (("--log-format",), "text"),
        (("--log-format", "xml"), "text"),
    ],
)
def test_the_format_is_known_before_the_command_line_is_understood(
    words: tuple[str, ...], form: str
) -> None:
    assert format_in(words) == form


# As commands use it


@click.command("work")
@with_options(CONNECTION)
@click.option("--how", default="well")
def work(how: str, **_: object) -> Exit:
    """Do as told."""
    if how == "warning":
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
    if how == "refused":
        raise Refused("no. Ask for less.")
    if how == "failing":
        raise ZeroDivisionError("by\nnought")
    return Exit.CLEAN


def worked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[tuple[str, str]]]:
    """The exit code, and of each line its level and message."""
    code = run_command(work, [*words, "--log-format", "json"])
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return code, [(it["level"], it["message"]) for it in told]


def test_an_error_is_an_object_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert worked(capsys) == (0, [])
    assert worked(capsys, "-v") == (0, [("INFO", "work ended with exit code 0")])
    refused = [("ERROR", "work: no. Ask for less.")]
    assert worked(capsys, "--how", "refused") == (2, refused)
    ended = ("INFO", "work ended with exit code 2")
    assert worked(capsys, "--how", "refused", "-v") == (2, [*refused, ended])
    assert worked(capsys, "--hwo") == (
        2,
        [("ERROR", "work: No such option '--hwo'. Did you mean '--how'?")],
    )
    unlike = "work: No such option '--zzz'. work --help lists them."
    assert worked(capsys, "--zzz") == (2, [("ERROR", unlike)])
    of_spark = "work: --master is an option of Spark's, which stand before the verb."
    assert worked(capsys, "--master") == (2, [("ERROR", of_spark)])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, ((level, message),) = worked(capsys, "--how", "warning")
    assert (code, level) == (0, "WARN")
    assert "DeprecationWarning: deprecated" in message
    code, ((level, message),) = worked(capsys, "--how", "failing")
    assert (code, level) == (1, "FATAL")
    assert re.match(r"work: failed\nTraceback \(most recent call last\):\n  File ", message)
    assert message.endswith("\nZeroDivisionError: by\nnought")


def test_else_an_error_that_nobody_expected_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(work, ["--how", "failing", "-vv"])


def test_a_format_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(work, ["--log-format", "xml"]) == 2
    why = "'xml' is not one of 'text', 'time', 'json'."
    assert capsys.readouterr().err == f"work: Invalid value for '--log-format': {why}\n"
