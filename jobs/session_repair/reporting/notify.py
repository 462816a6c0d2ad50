"""Notify: one message to a webhook when the verdict of a verb on a database changed.

The URL is a secret: whoever knows it can post. It is no setting, so that it can get into no run
document, report or event log, and no message about a failed delivery quotes it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from session_repair.errors import Exit, RepairError
from session_repair.reporting.ending import Ending
from session_repair.reporting.outputs import write_file
from session_repair.secret import read_secret
from session_repair.settings import Settings
from session_repair.wording import iso

log = logging.getLogger(__name__)

URL_VARIABLE = "SESSION_REPAIR_NOTIFY_URL"
TIMEOUT = 5.0  # seconds; a notice may delay a run by no more
WORDS = {
    Exit.CLEAN: "clean",
    Exit.UNEXPECTED: "failed",
    Exit.REFUSED: "refused",
    Exit.FIXABLE_REMAINS: "not clean",
    Exit.BREAKER: "stopped by a circuit breaker",
    Exit.PARTIAL: "partial",
    Exit.LEASE_HELD: "another run holds the lease",
    Exit.UNREACHABLE: "MongoDB cannot be reached",
    Exit.INTERRUPTED: "interrupted",
}


def read_notify_url(url: str | None, notify_file: str | None) -> str | None:
    """The webhook's URL: from ``--notify``, ``--notify-file`` or SESSION_REPAIR_NOTIFY_URL."""
    if url is None:
        url = read_secret("--notify-file", notify_file, URL_VARIABLE, "the URL")
    return url.strip() or None


@dataclass(frozen=True)
class Notifier:
    """Sends a notice when an ending's verdict is another than the one that was told last."""

    url: str | None = field(repr=False)  # None: no notices are wanted
    state: str | None = None  # --notify-state

    def __call__(self, ending: Ending) -> None:
        """Never raises: what goes wrong is one line on stderr, without the URL."""
        try:
            if self.url is not None:
                self.tell(self.url, ending)
        except (RepairError, RuntimeError) as error:  # without a home there is no path
            log.warning("%s: %s", ending.verb, error)

    def tell(self, url: str, ending: Ending) -> None:
        path = Path(self.state) if self.state else default_state()
        verdicts = read_state(path)
        if verdicts is None:
            told = "does not tell the last verdict; it is taken as unknown"
            log.warning("%s: %s %s.", ending.verb, path, told)
            verdicts = {}
        key, without_settings = key_of(ending), key_of(replace(ending, settings=None))
        before = verdicts.get(without_settings, verdicts.get(key))
        if ending.verdict == before:
            return
        if before is not None or ending.verdict is not Exit.CLEAN:
            post(url, message(ending, before))
        # A notice that was not delivered is tried again by the next run.
        remember(path, key, ending.verdict, settled=without_settings)


def key_of(ending: Ending) -> str:
    """Names the verb on one database of some hosts, and tells nobody which.

    A verb whose settings were refused has a key of its own; whatever it does next is a change.
    """
    known: list[Any] = [ending.verb]
    if ending.settings is not None:
        known += [ending.settings.database, hosts_of(ending.settings)]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def hosts_of(settings: Settings) -> list[str]:
    """The hosts of the connection string, without its user and password."""
    address = settings.uri.partition("://")[2].partition("?")[0]
    return sorted(address.rpartition("@")[2].partition("/")[0].lower().split(","))


def default_state() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "session-repair" / "notices.json"


def read_state(path: Path) -> dict[str, int] | None:
    """The verdicts told last, by key; None where the file is there and cannot be understood."""
    try:
        verdicts = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): int(verdict) for key, verdict in verdicts.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def remember(path: Path, key: str, verdict: Exit, settled: str) -> None:
    """Write the verdict down; read again first, as another run may have written meanwhile."""
    verdicts = read_state(path) or {}
    verdicts.pop(settled, None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RepairError(f"{path.parent} could not be made: {error.strerror}.") from None
    document = json.dumps({**verdicts, key: int(verdict)})
    write_file("the state of notices", path, document + "\n")


def message(ending: Ending, before: int | None) -> dict[str, Any]:
    """The notice: figures, the run's id and the names from the settings; nothing of the data."""
    database = ending.database or None
    text = f"session-repair {ending.verb}"
    if database is not None:
        text += " on " + re.sub(r"[^\w.-]", "?", database)  # no markup
    text += f": {WORDS[ending.verdict]} (exit {int(ending.verdict)})"
    text += "." if before is None else f", before: {words(before)} (exit {before})."
    figures = figures_of(ending)
    counts = [f"{name} {value}" for name, value in figures.items() if isinstance(value, int)]
    if counts:
        text += f" {', '.join(counts)}."
    if ending.run_id:
        text += f" Run {ending.run_id}."
    return {
        "text": text,
        "verb": ending.verb,
        "database": database,
        "verdict": int(ending.verdict),
        "verdict_before": before,
        "run_id": ending.run_id,
        "ended_at": iso(ending.ended),
        **figures,
    }


def words(verdict: int) -> str:
    return WORDS[Exit(verdict)] if verdict in set(Exit) else "unknown"


def figures_of(ending: Ending) -> dict[str, Any]:
    if ending.report is None:
        return {}
    totals, outcomes = ending.report.totals, ending.report.outcomes
    figures: dict[str, Any] = {
        "sessions": totals.sessions,
        "planned": totals.planned,
        "deferred": totals.deferred,
        "malformed": totals.sessions_malformed,
        "findings": {it.code: it.found for it in ending.report.symptoms if it.found},
    }
    if outcomes is not None:
        figures |= outcomes.by_name()
    return figures


class NoRedirect(HTTPRedirectHandler):
    """A webhook answers by itself; another address is not what the user named."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post(url: str, notice: dict[str, Any]) -> None:
    """Post the notice as JSON. Raises RepairError, whose text names no part of the URL."""
    failed = within(TIMEOUT, lambda: deliver(url, notice))
    if failed is not None:
        raise RepairError(f"the notice could not be delivered: {failed}.")


def deliver(url: str, notice: dict[str, Any]) -> str | None:
    """None when the notice was taken, else why it was not."""
    if not url.lower().startswith(("http://", "https://")):
        return "the URL begins neither with http:// nor with https://"
    headers = {"Content-Type": "application/json", "User-Agent": "session-repair"}
    try:
        request = Request(url, json.dumps(notice).encode(), headers, method="POST")
        with build_opener(NoRedirect).open(request, timeout=TIMEOUT):
            return None
    except HTTPError as error:
        return f"the server answered {error.code}"
    except URLError as error:
        return reason_of(error.reason)
    except Exception as error:
        return reason_of(error)


def reason_of(error: object) -> str:
    """What went wrong, by its kind only: the texts of some errors quote the URL."""
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    is_plain = type(error) in (ConnectionRefusedError, ConnectionResetError)
    return "the connection was refused" if is_plain else type(error).__name__


def within(seconds: float, work: Callable[[], str | None]) -> str | None:
    """What the work returns, or that it took longer: socket timeouts bound no slow name server
    and no answer that trickles in."""
    answers: list[str | None] = []
    thread = threading.Thread(target=lambda: answers.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else f"no answer within {seconds:.0f} s"
