"""Health page: the report of the last run, under what holds now."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from html import escape
from typing import Any

from starlette.responses import HTMLResponse, Response

from session_repair import __version__
from session_repair.health.model import Health, LastRun
from session_repair.health.poller import LOOK_SECONDS, Answer, Watch
from session_repair.health.queries import ENDED_WELL, bounded, last_reported, unknown
from session_repair.kinds import instant_of, show_duration
from session_repair.mongo.runs import APPLYING, PLANNED, STOPPED, UNDOING, UNDONE
from session_repair.repair.report import Report

Document = dict[str, Any]

PLAIN = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>session-repair</title>
<style>
body {{ margin: 2.5rem auto; padding: 0 1rem; max-width: 44rem; overflow-wrap: anywhere; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; }}
</style>
<h1>Health: {}</h1>
<p>{}</p>
<footer><small>session-repair {}</small></footer>
</html>
"""


class Page:
    """The page of the last report. At most one is made at a time, and not by the event loop."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.turn = asyncio.Lock()
        self.shown: tuple[Answer, Response] | None = None
        self.rendered: tuple[Any, str] | None = None

    async def response(self) -> Response:
        """The page as of the latest answer, made once for it however many ask."""
        answer = await self.watch.answer()
        if not answer.is_of_server:
            return plain_page(answer.health, answer.health.reason or "", 503)
        async with self.turn:
            if self.shown is None or self.shown[0] is not answer:
                self.shown = answer, await asyncio.to_thread(self.made, answer.health)
            return self.shown[1]

    def made(self, health: Health) -> Response:
        try:
            with bounded(LOOK_SECONDS):
                run = last_reported(self.watch.store)
            if run is None:
                return plain_page(health, "No run exists yet.", 200)
            told = " ".join(banner(health, run))
            return HTMLResponse(with_banner(self.report_of(run), health.status, told))
        except Exception as error:
            reason = unknown(self.watch.store.settings, error).reason
            return plain_page(health, f"The last report cannot be shown. {reason}", 503)

    def report_of(self, run: Document) -> str:
        """The page without its banner; rendered again when the run has moved on."""
        from session_repair.reporting.html import report_page

        version = [run.get(name) for name in ("_id", "state", "updated_at")]
        if self.rendered is None or self.rendered[0] != version:
            self.rendered = version, report_page(Report.from_document(run["report"]))
        return self.rendered[1]


def plain_page(health: Health, text: str, code: int) -> Response:
    return HTMLResponse(PLAIN.format(health.status, escape(text), __version__), code)


def with_banner(page: str, status: str, text: str) -> str:
    """The page with the health as a badge, and the text, above all it says."""
    tone = "clean" if status == "ok" else "broken"
    badge = f'<p class="badge">Health: {status}</p>'
    told = f'\n<div role="status" class="now {tone}">{badge}<p>{escape(text)}</p></div>'
    return re.sub("<body[^>]*>", lambda body: body[0] + told, page, count=1)


def banner(health: Health, run: Document) -> Iterator[str]:
    """What holds now, whatever the report of the run says."""
    yield f"Health at {health.checked_at}: {health.status}{because(health.reason)}."
    last, run_id = health.last_run, run["_id"]
    if last is not None:
        exit_code = "no exit code" if last.verdict is None else f"exit {last.verdict}"
        yield f"The last run, {last.id}, is {last.verb}, {last.state}, {exit_code}."
    age = instant_of(health.checked_at) - run["report"]["server_time"]
    yield f"Below is the report of run {run_id}, which is {show_duration(age)} old."
    is_at_work = health.lease is not None and health.lease.holder == run_id
    yield from state_note(run.get("state"), is_at_work)
    if last is not None and last.id > run_id and has_failed(last):
        yield f"A later run, {last.id}, failed{because(last.error)}."


def state_note(state: str | None, is_at_work: bool) -> Iterator[str]:
    """What the report of a run in this state does not say."""
    if state == PLANNED:
        yield "That run is a plan: nothing of it was written."
    elif state == STOPPED:
        yield "That run is a plan that a limit stopped: nothing of it was written."
    elif state == APPLYING and is_at_work:
        yield "That run is being applied: its report is that of its plan."
    elif state == APPLYING:
        yield "That run broke off while it was applied: its report is that of its plan."
    elif state == UNDOING and is_at_work:
        yield "That run is being undone: its report is from before."
    elif state == UNDOING:
        yield "The undo of that run broke off: its report is from before."
    elif state == UNDONE:
        yield "That run was undone: its report is from before."


def because(reason: str | None) -> str:
    return f" ({reason})" if reason else ""


def has_failed(run: LastRun) -> bool:
    return run.verdict not in ENDED_WELL and run.state != PLANNED
