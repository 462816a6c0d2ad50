"""Notify: when a notice is sent, what it says, and that its failures cost nothing."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from session_repair.errors import Exit, Refused
from session_repair.repair.outcomes import Outcomes
from session_repair.reporting import notify
from session_repair.reporting.ending import Ending
from session_repair.reporting.notify import Notifier, hosts_of, key_of, read_notify_url
from session_repair.settings import Settings, describe
from tests.unit.test_text import report

SETTINGS = Settings(uri="mongodb://keeper:hush@db.example:27017/?replicaSet=rs0", database="shop")
BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)
SECRET = "T0K3N"


def ending(verdict: Exit, **parts: Any) -> Ending:
    return Ending("verify", verdict, BEGAN, BEGAN + timedelta(seconds=3), SETTINGS, **parts)


class Hook:
    """A webhook on a loopback port that keeps what it was sent."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.wait = 0.0
        self.posts: list[dict[str, Any]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.posts.append(json.loads(body))
                time.sleep(hook.wait)
                self.send_response(hook.status)
                for name, value in hook.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/{SECRET}"

    @property
    def texts(self) -> list[str]:
        return [post["text"] for post in self.posts]


@contextmanager
def listening_hook() -> Iterator[Hook]:
    hook = Hook()
    thread = threading.Thread(target=hook.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hook
    finally:
        hook.server.shutdown()
        hook.server.server_close()
        thread.join()


@pytest.fixture
def hook() -> Iterator[Hook]:
    with listening_hook() as made:
        yield made


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "notices.json"


def test_only_a_verdict_that_changed_is_told_and_recovery_is_one(hook: Hook, state: Path) -> None:
    tell = Notifier(hook.url, str(state))
    for verdict in (0, 0, 3, 3, 75, 75, 0, 0, 4):
        tell(ending(Exit(verdict)))
    assert [(it["verdict_before"], it["verdict"]) for it in hook.posts] == [
        (0, 3),
        (3, 75),
        (75, 0),
        (0, 4),
    ]


def test_the_first_run_is_told_unless_it_is_clean(hook: Hook, tmp_path: Path) -> None:
    Notifier(hook.url, str(tmp_path / "a"))(ending(Exit.CLEAN))
    assert hook.posts == []
    Notifier(hook.url, str(tmp_path / "b"))(ending(Exit.UNREACHABLE))
    assert hook.texts == ["session-repair verify on shop: MongoDB cannot be reached (exit 75)."]


def test_refused_settings_are_told_once_and_so_is_what_follows(hook: Hook, state: Path) -> None:
    tell = Notifier(hook.url, str(state))
    for _ in range(2):
        tell(ending(Exit.CLEAN))
        for _ in range(2):
            tell(replace(ending(Exit.REFUSED), settings=None))
    tell(ending(Exit.CLEAN))
    told = [(it["verdict_before"], it["verdict"]) for it in hook.posts]
    assert told == [(None, 2), (2, 0), (None, 2), (2, 0)]


def test_runs_that_end_at_once_forget_nothing_of_each_other(hook: Hook, state: Path) -> None:
    hook.wait = 0.3
    tell = Notifier(hook.url, str(state))
    endings = [replace(ending(Exit.PARTIAL), verb=verb) for verb in ("verify", "fix", "apply")]
    threads = [threading.Thread(target=tell, args=(it,)) for it in endings]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert json.loads(state.read_text()) == {key_of(it): 5 for it in endings}


def test_each_verb_database_and_set_of_hosts_is_remembered_by_itself() -> None:
    here = ending(Exit.CLEAN)
    others = [
        replace(here, verb="fix"),
        replace(here, settings=replace(SETTINGS, database="shop2")),
        replace(here, settings=replace(SETTINGS, uri="mongodb://db2.example:27017")),
        replace(here, settings=None),
    ]
    assert len({key_of(it) for it in (here, *others)}) == 5
    same = replace(SETTINGS, uri="mongodb://ann:other@DB.example:27017/?w=1", scope="all")
    assert key_of(replace(here, settings=same)) == key_of(here)


@pytest.mark.parametrize(
    ("uri", "hosts"),
    [
        ("mongodb://b:1,a:2/?x=1", ["a:2", "b:1"]),
        ("mongodb+srv://u:p%40@cluster.example/db", ["cluster.example"]),
        ("mongodb://u:p@h", ["h"]),
    ],
)
def test_the_hosts_are_named_without_the_login(uri: str, hosts: list[str]) -> None:
    assert hosts_of(replace(SETTINGS, uri=uri)) == hosts


def test_the_notice_holds_figures_and_the_run_id_and_no_markup(hook: Hook, state: Path) -> None:
    outcomes = Outcomes(5, 2, 1, 1, 1, 0)
    made = report(totals={"planned": 5, "deferred": 2}, outcomes=outcomes)
    hostile = replace(SETTINGS, database="<!channel> *x*")
    told = ending(Exit.PARTIAL, report=made, run_id="r1")
    Notifier(hook.url, str(state))(replace(told, verb="fix", settings=hostile))
    (post,) = hook.posts
    assert post["text"] == (
        "session-repair fix on ??channel???x?: partial (exit 5). sessions 12, planned 5, "
        "deferred 2, applied 2, already_right 1, skipped_changed 1, skipped_gone 1, failed 0. "
        "Run r1."
    )
    assert (post["verdict"], post["run_id"], post["applied"]) == (5, "r1", 2)
    assert post["ended_at"] == "2026-01-01T00:00:03.000Z"


def test_the_text_of_an_error_is_not_sent(hook: Hook, state: Path) -> None:
    Notifier(hook.url, str(state))(ending(Exit.BREAKER, error="no event has <b>page</b>"))
    assert "<b>" not in json.dumps(hook.posts)


def warned(caplog: pytest.LogCaptureFixture) -> str:
    """The one line that was logged since it was last asked for; it does not hold the URL."""
    (line,) = caplog.messages
    caplog.clear()
    assert SECRET not in line
    assert "127.0.0.1" not in line
    return line


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_webhook_that_answers_an_error_is_one_warning_and_asked_again_by_the_next_run(
    hook: Hook, state: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    hook.status, hook.headers = status, {"Location": hook.url}
    tell = Notifier(hook.url, str(state))
    tell(ending(Exit.BREAKER))
    assert warned(caplog) == (
        f"verify: the notice could not be delivered: the server answered {status}."
    )
    assert len(hook.posts) == 1
    hook.status = 200
    tell(ending(Exit.BREAKER))
    tell(ending(Exit.BREAKER))
    assert len(hook.posts) == 2


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        f"file:///etc/{SECRET}",
        f"ftp://127.0.0.1/{SECRET}",
        "http://",
        f"http://127.0.0.1:port/{SECRET}",
        f"http://127.0.0.1:99999/{SECRET}",
        f"http://[::1/{SECRET}",
        f"http://127.0.0.1/{SECRET} \x7f",
        f"http://127.0.0.1:1/{SECRET}é",
        f"http://127.0.0.1:1/{SECRET}",
        f"http://no-such-host.invalid/{SECRET}",
        f"http://127.0.0.1%0a/{SECRET}",
    ],
)
def test_a_webhook_that_cannot_be_reached_is_one_warning(
    url: str, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Notifier(url, str(state))(ending(Exit.BREAKER))
    assert warned(caplog).startswith("verify: the notice could not be delivered: ")
    assert not state.exists()


def test_a_webhook_without_tls_behind_https_is_one_warning(
    hook: Hook, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Notifier(hook.url.replace("http:", "https:"), str(state))(ending(Exit.BREAKER))
    assert "SSL" in warned(caplog)


@pytest.mark.parametrize("is_trickling", [False, True])
def test_a_webhook_that_gives_no_answer_delays_no_more_than_its_time(
    is_trickling: bool,
    state: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notify, "TIMEOUT", 0.6)
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as door:

        def answer() -> None:
            connection, _ = door.accept()
            with connection:
                while not is_over.wait(0.1):
                    if is_trickling:
                        connection.sendall(b"H")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{door.getsockname()[1]}/{SECRET}"
        Notifier(url, str(state))(ending(Exit.BREAKER))
        is_over.set()  # not before: it was given up while it went on
        thread.join()
    assert "no answer within" in warned(caplog)


@pytest.mark.parametrize("text", ["", "no json", "[1]", '{"a": "b"}', '{"a": null}', "\x00"])
def test_a_state_that_is_not_understood_is_unknown_with_a_warning(
    hook: Hook, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    state = tmp_path / "state.json"
    state.write_text(text)
    tell = Notifier(hook.url, str(state))
    tell(ending(Exit.PARTIAL))
    assert (
        warned(caplog) == f"verify: {state} does not tell the last verdict; it is taken as unknown."
    )
    tell(ending(Exit.PARTIAL))
    assert caplog.messages == []
    assert len(hook.posts) == 1


def test_a_state_that_cannot_be_written_is_a_warning(
    hook: Hook, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    Notifier(hook.url, str(tmp_path / "file" / "state.json"))(ending(Exit.PARTIAL))
    assert "does not tell" in caplog.messages[0]
    Notifier(hook.url, str(tmp_path))(ending(Exit.PARTIAL))
    assert "could not be written" in caplog.messages[-1]
    assert len(hook.posts) == 2


def test_by_default_the_state_stands_in_the_users_state_folder(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    Notifier(hook.url)(ending(Exit.PARTIAL))
    Notifier(hook.url)(replace(ending(Exit.PARTIAL), verb="fix"))
    (file,) = (tmp_path / "session-repair").iterdir()
    text = file.read_text()
    assert list(json.loads(text).values()) == [5, 5]
    for word in ("hush", "keeper", "db.example", SECRET):
        assert word not in text


def test_the_url_comes_from_the_option_the_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SESSION_REPAIR_NOTIFY_URL", raising=False)
    assert read_notify_url(None, None) is None
    monkeypatch.setenv("SESSION_REPAIR_NOTIFY_URL", " http://env \n")
    assert read_notify_url(None, None) == "http://env"
    (tmp_path / "url").write_text("http://file\n")
    assert read_notify_url(None, str(tmp_path / "url")) == "http://file"
    assert read_notify_url("http://option", str(tmp_path / "url")) == "http://option"


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b" ", "is empty"), (b"\xff", "UTF-8")]
)
def test_a_notify_file_without_a_url_is_refused(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "url").write_bytes(content)
    with pytest.raises(Refused, match=rf"^--notify-file {tmp_path}/url.*{reason}"):
        read_notify_url(None, str(tmp_path / "url"))


def test_the_url_is_in_no_repr_and_is_no_setting() -> None:
    assert SECRET not in repr(Notifier(f"http://x/{SECRET}", None))
    assert "notify" not in describe(SETTINGS)
