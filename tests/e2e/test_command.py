"""The command itself, as a user starts it: the demo, an error, and what becomes of a password."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from demo.generate import Figures
from demo.server import EmbeddedMongod
from tests.harness.commands import Ended, spark_submit
from tests.harness.documents import JOURNAL, RUNS, Document, stored_bytes
from tests.harness.shop import Shop, minute

pytestmark = pytest.mark.needs("spark_process")

USER, PASSWORD = "keeper", "Tr0ub4dor/&3@:%é?"


def test_the_demo_tells_the_story_of_the_guide(tmp_path: Path) -> None:
    figures = Figures.of(400)
    assert (figures.events, figures.broken, figures.orphans) == (2830, 111, 3)
    ended = spark_submit("demo", "--sessions", "400", "--report", f"{tmp_path}/report")
    assert ended.code == 0, ended.err
    verify, fix, verify_again = ended.out.split("\n$ ./spark-submit.sh ")[1:]
    assert [part.splitlines()[0] for part in (verify, fix, verify_again)] == [
        "verify",
        f"fix --apply --report {tmp_path}/report --html {tmp_path}/report/report.html",
        "verify",
    ]
    told = Ended(3, verify, "")
    labels = (
        "Total sessions",
        "Total events",
        "Sessions with empty pages",
        "Sessions with 0 events",
    )
    assert [told.figure(label) for label in labels] == [400, 2830, 114, 114]
    assert "Found 114 potentially empty sessions\n" in fix
    assert "✅ Fixed 111 sessions\nℹ️  Found 3 orphan sessions (no events)\n" in fix
    told = Ended(0, fix, "")
    assert told.figure("Total sessions") == 400
    assert told.figure("Sessions with events") == 397
    assert told.figure("Empty sessions remaining") == 3
    told = Ended(0, verify_again, "")
    assert told.figure("Sessions with empty pages") == told.figure("Sessions with 0 events") == 3
    assert ended.out.endswith(f"\nThe report is in {tmp_path}/report\n")
    written = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert written == ["_staging", "corrections", "findings", "report.html", "summary"]
    assert list((tmp_path / "report" / "_staging").iterdir()) == []


def test_a_wrong_password_is_one_line_of_the_command_too(guarded_mongod: EmbeddedMongod) -> None:
    ended = spark_submit("fix", "--apply", uri=guarded_mongod.uri_for("root", "wrong"))
    refused = "fix: MongoDB refused the user or the password. Check MONGODB_URI.\n"
    assert ended == Ended(2, "", refused)


@pytest.fixture
def keeper_uri(
    guarded_mongod: EmbeddedMongod, guarded_client: MongoClient[Document]
) -> Iterator[str]:
    """The address with the password of a user who may write to one database."""
    rights = [{"role": "readWrite", "db": "kept"}]
    guarded_client["admin"].command("createUser", USER, pwd=PASSWORD, roles=rights)
    yield guarded_mongod.uri_for(USER, PASSWORD)
    guarded_client["admin"].command("dropUser", USER)
    guarded_client.drop_database("kept")


@contextmanager
def every_command_line() -> Iterator[set[bytes]]:
    """Collects the arguments of all processes of the machine while the block runs."""
    seen: set[bytes] = set()
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):  # it has just ended
                    seen.add(process.read_bytes())
            time.sleep(0.05)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def texts_left(
    ended: Ended, command_lines: Iterable[bytes], db: Database[Document], folder: Path
) -> dict[str, bytes]:
    """All that a command left anywhere, by where it stands."""
    texts = {"stdout": ended.out.encode(), "stderr": ended.err.encode()}
    texts["command lines"] = b"\n".join(command_lines)
    for collection in (RUNS, JOURNAL):
        texts[collection] = b"\n".join(stored_bytes(db, collection).values())
    for path in folder.rglob("*"):
        if path.is_file():
            texts[str(path.relative_to(folder))] = path.read_bytes()
    return texts


def test_a_java_that_cannot_start_is_one_line_of_the_command_too(
    db: Database[Document], mongo_uri: str
) -> None:
    shop = Shop(db)
    shop.session("s")
    shop.events("s", {0: "/a"})
    before = stored_bytes(db)
    words = ("--driver-memory", "999999g", "fix", "--apply", "--database", db.name)
    ended = spark_submit("--master", "local[1]", *words, uri=mongo_uri)
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert "Traceback" not in ended.err
    assert ended.err.splitlines()[-1] == (
        "fix: Spark's Java ended before it was there; what it said of that stands above. "
        "Look at --driver-memory and at the options for Java."
    )
    assert stored_bytes(db) == before


def test_the_password_is_in_no_log_no_output_and_no_command_line(
    keeper_uri: str, guarded_client: MongoClient[Document], tmp_path: Path
) -> None:
    db = guarded_client["kept"]
    shop = Shop(db)
    shop.session("broken")
    shop.events("broken", {0: "/home", 1: "/cart"})
    (tmp_path / "events").mkdir()
    plain = ("--conf", "spark.eventLog.compress=false")  # else nothing is found in it
    theirs = ("--conf", "spark.redaction.regex=pin", "--conf", "spark.site.pin=4711-kept")
    spark = ("--conf", "spark.eventLog.enabled=true", *plain, *theirs, "--conf")
    written = [f"--{kind}={tmp_path}/report.{kind}" for kind in ("json", "html")]
    written += ["--report", f"{tmp_path}/report"]
    with every_command_line() as command_lines:
        ended = spark_submit(
            *(*spark, f"spark.eventLog.dir=file://{tmp_path}/events"),
            *("fix", "--database", "kept", "--apply", *written),
            uri=keeper_uri,
        )
    assert ended.code == 0, ended.err
    session = db["sessions"].find_one({}, {"_id": 0, "pages": 1, "last_event_at": 1})
    assert session == {"pages": ["/home", "/cart"], "last_event_at": minute(1)}

    texts = texts_left(ended, command_lines, db, tmp_path)
    log = b"\n".join(text for name, text in texts.items() if name.startswith("events/"))
    assert b"SparkListenerSQLExecutionStart" in log  # so there was something to be found
    assert (b"spark.site.pin" in log, b"4711-kept" in log) == (True, False)
    assert b"session_repair/launch" in texts["command lines"]
    assert b'"verdict": 0' in texts["report.json"]
    secrets = [form.encode() for form in (PASSWORD, quote(PASSWORD, safe=""), quote_plus(PASSWORD))]
    found = {name for name, text in texts.items() for secret in secrets if secret in text}
    assert found == set()
