"""Health over HTTP: one answer for all who ask, looked up at most once at a time."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

import click
import uvicorn
from pymongo.database import Database
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from session_repair.connection import Document, client_of, database_of
from session_repair.errors import Refused, Unreachable
from session_repair.health import (
    ENDED_WELL,
    Health,
    LastRun,
    bounded,
    last_reported,
    look,
    unknown,
)
from session_repair.metrics import exposition, figures_of_health
from session_repair.report import Report
from session_repair.runs import APPLYING, PLANNED, UNDOING, UNDONE
from session_repair.settings import Settings

LOOK_SECONDS = 1.2  # for all queries of one look
PATIENCE = 1.5  # seconds a request waits for the look in flight, so that it is answered within 2
RETRY = 1.0  # seconds between two looks at a server that is there and gives no answer
# The client notices within about a second that the server is gone, though nothing is asked of it.
WATCHFUL = {"serverSelectionTimeoutMS": 1_000, "connectTimeoutMS": 500, "heartbeatFrequencyMS": 500}
CONNECTIONS = 512  # more at a time are answered 503 at once

PLAIN = "<!doctype html><meta charset=utf-8><title>session-repair</title><p>{}</p>\n"


@dataclass(frozen=True)
class Answer:
    """What one look found, and when, by this machine's steady clock."""

    health: Health
    looked_at: float

    @property
    def is_of_server(self) -> bool:
        return self.health.lease is not None


class Watch:
    """The latest answer. At most one look is in flight, however many ask."""

    def __init__(
        self,
        database: Database[Document],
        settings: Settings,
        max_age: timedelta,
        cache: timedelta,
    ) -> None:
        self.database = database
        self.settings = settings
        self.max_age = max_age
        self.cache = cache.total_seconds()
        self.latest: Answer | None = None
        self.flight: asyncio.Task[Answer] | None = None
        self.took_off = 0.0

    async def answer(self) -> Answer:
        """The latest answer if it still holds, else a new one; in time, whatever MongoDB does."""
        if self.latest is not None and self.still_holds(self.latest):
            return self.latest
        if self.flight is None or self.flight.done():
            self.took_off = time.monotonic()
            self.flight = asyncio.create_task(self.look())
        patience = self.took_off + PATIENCE - time.monotonic()
        try:
            return await asyncio.wait_for(asyncio.shield(self.flight), max(patience, 0))
        except asyncio.TimeoutError:
            late = Unreachable(f"MongoDB gave no answer within {PATIENCE:g} s.")
            return Answer(unknown(self.settings, late), time.monotonic())

    def still_holds(self, answer: Answer) -> bool:
        """Whether the answer is young and says rightly whether the server is there.

        The client watches the server by itself. While it is away nobody is kept waiting, and once
        it is back the next request looks again.
        """
        is_there = self.database.client.topology_description.has_writable_server()
        age = time.monotonic() - answer.looked_at
        if answer.is_of_server:
            return is_there and age < self.cache
        return not is_there or age < RETRY

    async def look(self) -> Answer:
        self.latest = await asyncio.to_thread(self.look_now)
        return self.latest

    def look_now(self) -> Answer:
        try:
            with bounded(LOOK_SECONDS):
                health = look(self.database, self.settings, self.max_age)
        except Exception as error:
            health = unknown(self.settings, error)
        return Answer(health, time.monotonic())


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
            return plain_page(answer.health.reason or "", 503)
        async with self.turn:
            if self.shown is None or self.shown[0] is not answer:
                self.shown = answer, await asyncio.to_thread(self.made, answer.health)
            return self.shown[1]

    def made(self, health: Health) -> Response:
        try:
            with bounded(LOOK_SECONDS):
                run = last_reported(self.watch.database, self.watch.settings)
            if run is None:
                return plain_page("No run exists yet.", 200)
            told = " ".join(banner(health, run))
            return HTMLResponse(with_banner(self.report_of(run), told))
        except Exception as error:
            reason = unknown(self.watch.settings, error).reason
            return plain_page(f"The last report cannot be shown. {reason}", 503)

    def report_of(self, run: Document) -> str:
        """The page without its banner; rendered again when the run has moved on."""
        from session_repair.page import report_page

        version = [run.get(name) for name in ("_id", "state", "updated_at")]
        if self.rendered is None or self.rendered[0] != version:
            self.rendered = version, report_page(Report.from_document(run["report"]))
        return self.rendered[1]


def plain_page(text: str, status: int) -> Response:
    return HTMLResponse(PLAIN.format(escape(text)), status)


def with_banner(page: str, text: str) -> str:
    """The page with the text above all it says."""
    told = f'\n<p role="status">{escape(text)}</p>'
    return re.sub("<body[^>]*>", lambda body: body[0] + told, page, count=1)


def banner(health: Health, run: Document) -> Iterator[str]:
    """What holds now, whatever the report of the run says."""
    yield f"Health at {health.checked_at}: {health.status}{because(health.reason)}."
    last, run_id = health.last_run, run["_id"]
    if last is not None:
        exit_code = "no exit code" if last.verdict is None else f"exit {last.verdict}"
        yield f"The last run, {last.id}, is {last.verb}, {last.state}, {exit_code}."
    age = datetime.fromisoformat(health.checked_at) - run["report"]["server_time"]
    age = max(timedelta(0), timedelta(seconds=age // timedelta(seconds=1)))
    yield f"Below is the report of run {run_id}, which is {age} old."
    is_at_work = health.lease is not None and health.lease.holder == run_id
    yield from state_note(run.get("state"), is_at_work)
    if last is not None and last.id > run_id and has_failed(last):
        yield f"A later run, {last.id}, failed{because(last.error)}."


def state_note(state: str | None, is_at_work: bool) -> Iterator[str]:
    """What the report of a run in this state does not say."""
    if state == PLANNED:
        yield "That run is a plan: nothing of it was written."
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


def application(watch: Watch, token: str | None) -> ASGIApp:
    """The endpoints, behind the token where there is one."""

    async def sessions(request: Request) -> Response:
        health = (await watch.answer()).health
        return Response(
            json.dumps(asdict(health)) + "\n",
            status_code=200 if health.status == "ok" else 503,
            media_type="application/json",
        )

    async def metrics(request: Request) -> Response:
        text = exposition(figures_of_health((await watch.answer()).health))
        return Response(text, media_type="text/plain; version=0.0.4")

    last = Page(watch)

    async def page(request: Request) -> Response:
        return await last.response()

    routes = [
        Route("/", page),
        Route("/metrics", metrics),
        Route("/api/health/sessions", sessions),
    ]
    endpoints = Starlette(routes=routes)
    endpoints.router.redirect_slashes = False
    return Guard(endpoints, token)


class Guard:
    """Lets nobody in without the token, and keeps every answer out of caches."""

    def __init__(self, endpoints: ASGIApp, token: str | None) -> None:
        self.endpoints = endpoints
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_uncached(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"cache-control", b"no-store")]
            await send(message)

        app = self.endpoints
        if self.token is not None and not is_bearer(scope, self.token):
            app = PlainTextResponse("Bearer token?\n", 401, {"WWW-Authenticate": "Bearer"})
        await app(scope, receive, send_uncached)


def is_bearer(scope: Scope, token: str) -> bool:
    """Whether the request carries the token; how long that takes tells nothing about it."""
    given = dict(scope["headers"]).get(b"authorization", b"")
    scheme, _, value = given.partition(b" ")
    return hmac.compare_digest(value.strip(), token.encode()) and scheme.lower() == b"bearer"


def read_token(token_file: str | None) -> str | None:
    """The token, from ``--token-file`` or SESSION_REPAIR_TOKEN; never from the command line."""
    if token_file is None:
        return os.environ.get("SESSION_REPAIR_TOKEN", "").strip() or None
    try:
        token = Path(token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "it is not text in UTF-8")
        raise Refused(f"--token-file {token_file}: {why}. Name a readable file.") from None
    if not token:
        raise Refused(f"--token-file {token_file} is empty. Write the token into it.")
    return token


def require_token(host: str, token: str | None) -> None:
    """Raise Refused when others than this machine could ask without a token."""
    if token is None and not is_loopback(host):
        raise Refused(
            f"--host {host} lets other machines ask. Set SESSION_REPAIR_TOKEN or pass "
            "--token-file, or leave --host out."
        )


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises Refused where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]  # Python adds the address once more
        raise Refused(
            f"cannot listen on {host} port {port}: {why}. Choose another port, or --host."
        ) from None


def serve(
    settings: Settings,
    max_age: timedelta,
    cache: timedelta,
    host: str,
    port: int,
    token: str | None,
) -> None:
    """Answer until SIGINT or SIGTERM. MongoDB may come and go meanwhile."""
    require_token(host, token)
    with listening(host, port) as door, client_of(settings, **WATCHFUL) as client:
        watch = Watch(database_of(client, settings), settings, max_age, cache)
        config = uvicorn.Config(
            application(watch, token),
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            lifespan="off",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        # As uvicorn does later, which at its end hands the signal on to whoever handled it before.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, server.handle_exit)
        where = f"[{host}]" if ":" in host else host
        address = f"http://{where}:{door.getsockname()[1]}"
        click.echo(f"Serving {address}/api/health/sessions, /metrics and / there", err=True)
        server.run(sockets=[door])
