"""Health over HTTP: the endpoints, who may ask, and where it listens."""

from __future__ import annotations

import hmac
import ipaddress
import json
import signal
import socket
from dataclasses import asdict
from datetime import timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from session_repair.errors import Refused
from session_repair.health.metrics import figures_of_health
from session_repair.health.page import Page
from session_repair.health.poller import WATCHFUL, Watch
from session_repair.logs import notice
from session_repair.mongo.connection import client_of, store_of
from session_repair.reporting.metrics import exposition
from session_repair.secret import read_secret
from session_repair.settings import Settings

CONNECTIONS = 512  # more at a time are answered 503 at once


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
    return read_secret("--token-file", token_file, "SESSION_REPAIR_TOKEN", "the token") or None


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
        watch = Watch(store_of(client, settings), max_age, cache)
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
        notice(f"Serving {address}/api/health/sessions, /metrics and / there")
        server.run(sockets=[door])
