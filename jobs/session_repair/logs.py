"""Logs: all that a command says on stderr goes through one handler, as records of one form.

Who asks for nothing reads the messages alone, as they are meant for people. With ``-v`` each line
has the time in UTC, the level, the run and the logger before it; with ``--log-format json`` it is
one JSON object of these. conf/log4j2.properties makes Spark's lines the same. With ``--log-format
time`` a message has its time, and so has each line of the report.

No line that tells a step, of the level INFO, holds a value of a document; none holds a secret.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from itertools import zip_longest
from typing import TextIO

from session_repair.live import LIVE
from session_repair.wording import iso

FORMATS = TEXT, TIME, JSON = "text", "time", "json"
OPTION = "--log-format"

NOTICE = 25  # what is told unasked: the run's id, how it reads, why it waits
LEVELS = (NOTICE, logging.INFO, logging.DEBUG)  # of no -v, -v and -vv
OF_LOG4J = {"WARNING": "WARN", "CRITICAL": "FATAL"}
NO_RUN = "-"
LINE_START = re.compile(r"^(?=.|\n)", re.MULTILINE)

OURS = logging.getLogger("session_repair")
logging.addLevelName(NOTICE, "NOTICE")


class Lines(logging.Formatter):
    """Makes a line of a record: of its message alone, of text, or of JSON."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.run = form, NO_RUN

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        if self.form != JSON and not OURS.isEnabledFor(logging.INFO):
            return message if self.form == TEXT else timed(message, record.created)
        told = {
            "time": instant(record.created),
            "level": OF_LOG4J.get(record.levelname, record.levelname),
            "run": self.run,
            "logger": record.name,
            "message": message.strip(),
        }
        if self.form == JSON:
            return json.dumps(told)
        told["message"] = told["message"].replace("\r", "\\r").replace("\n", "\\n")
        return "{time} {level:<6} {run} {logger}: {message}".format(**told)


LINES = Lines(TEXT)


class Timed(io.TextIOBase):
    """Whole lines for another stream, each with the time before it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str, /) -> int:
        return self.stream.write(timed(text, time.time()))

    def flush(self) -> None:
        self.stream.flush()


def timed(text: str, seconds: float) -> str:
    """The text, the time before each of its lines."""
    return LINE_START.sub(f"{instant(seconds)} ", text)


def instant(seconds: float) -> str:
    return iso(datetime.fromtimestamp(seconds, timezone.utc))


class AboveLive(logging.StreamHandler[TextIO]):
    """Writes each line above the one that lives."""

    def emit(self, record: logging.LogRecord) -> None:
        with LIVE.aside():
            super().emit(record)


@contextmanager
def logging_to_stderr(form: str) -> Iterator[None]:
    """Within, all that is logged stands on stderr; an error of it is nobody's."""
    handler = AboveLive(sys.stderr)
    handler.setFormatter(LINES)
    handler.addFilter(is_told)
    LINES.form, LINES.run = form, NO_RUN
    set_verbosity(0)
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        OURS.setLevel(logging.NOTSET)
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(handler)


def is_told(record: logging.LogRecord) -> bool:
    """All but py4j's traces of a connection that broke: whoever waited for it says why."""
    return "/py4j/" not in record.pathname


def set_verbosity(number: int) -> None:
    """So often -v was given."""
    OURS.setLevel(LEVELS[min(number, len(LEVELS) - 1)])


def set_format(form: str) -> None:
    LINES.form = form


def name_run(run_id: str) -> None:
    """From now on each line names the run."""
    LINES.run = run_id


def notice(message: str) -> None:
    """Tell whoever looks on, asked or not."""
    OURS.log(NOTICE, "%s", message)


def format_in(words: Sequence[str]) -> str:
    """The format that a command line asks for, for what is wrong with that very command line."""
    form = TEXT
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        name, is_joined, value = word.partition("=")
        if name == OPTION:
            form = value if is_joined else following
    return form if form in FORMATS else TEXT
