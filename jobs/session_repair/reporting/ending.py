"""Ending: how a command ended, for whoever is to be told."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

import click

from session_repair import __version__
from session_repair.errors import Exit, RepairError
from session_repair.repair.report import Report
from session_repair.reporting.as_json import report_told
from session_repair.settings import Settings


@dataclass(frozen=True)
class Ending:
    """How one command ended: with a report or with an error.

    ``settings`` are None when they were refused, ``run_id`` when no run had begun. The times are
    those of this machine.
    """

    verb: str
    verdict: Exit
    began: datetime
    ended: datetime
    settings: Settings | None = None
    report: Report | None = None
    error: str | None = None
    run_id: str | None = None
    asked_database: str = ""  # as the command line names it; settings may have been refused

    @property
    def database(self) -> str:
        return self.settings.database if self.settings else self.asked_database

    def document(self) -> dict[str, Any]:
        """What ``--json`` writes."""
        report = report_told(asdict(self.report)) if self.report else {}
        if self.report:
            report["exceeded"] = [asdict(it) for it in self.report.exceeded]
        return {
            "version": __version__,
            **report,
            "verdict": int(self.verdict),
            "error": self.error,
            "run_id": self.run_id,
        }


def now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass
class Telling:
    """A command at work: what is known of it so far. ``report`` is None until there is one."""

    verb: str
    settings: Settings | None
    asked_database: str
    report: Report | None = None
    began: datetime = field(default_factory=now)

    def ending(self, error: BaseException | None = None) -> Ending:
        """How it ended: with its report, or with the error."""
        known = (self.began, now(), self.settings, self.report)
        run_id = self.report.run_id if self.report else getattr(error, "run_id", None)
        if error is None:
            assert self.report is not None, "a command that ends well has a report"
            return Ending(self.verb, self.report.verdict, *known, None, run_id)
        is_told = isinstance(error, RepairError)
        message = str(error) if is_told else type(error).__name__
        verdict = verdict_of(error)
        return Ending(self.verb, verdict, *known, message, run_id, self.asked_database)


def verdict_of(error: BaseException) -> Exit:
    """The exit code that an error leads to."""
    if isinstance(error, RepairError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return Exit.INTERRUPTED
    if isinstance(error, click.ClickException):
        return Exit.REFUSED
    return Exit.UNEXPECTED
