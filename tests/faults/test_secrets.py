"""A marked password and a key go through every verb; all that is left anywhere is searched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote_plus
from urllib.request import urlopen

import pytest

from demo.member import free_port
from tests.e2e.test_command import every_command_line
from tests.faults.test_spark_faults import Cluster, cluster, executors, java_home  # noqa: F401
from tests.harness.commands import Ended, spark_submit
from tests.harness.documents import JOURNAL, RUNS, SESSIONS, Db, stored_bytes
from tests.harness.runs import last_run
from tests.harness.shop import Shop
from tests.harness.tls import GuardedByTls, guarded_by_tls

MARK = "Tr0ub4dor"
USER, PASSWORD = "keeper", f"{MARK}/&3@:%é?"
QUERIES = (f"SQL/execution/?id={number}" for number in range(9))
PAGES = ("environment/", "executors/", "jobs/", "SQL/", *QUERIES)
WRITTEN = {"json": "json", "html": "html", "metrics": "prom"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedByTls]:
    """It asks for a certificate and for a password."""
    with guarded_by_tls(tmp_path_factory.mktemp("tls")) as made:
        rights = [{"role": "readWrite", "db": "kept"}]
        made.root.admin.command("createUser", USER, pwd=PASSWORD, roles=rights)
        made.authority.signed("client")
        yield made


@pytest.fixture
def kept(server: GuardedByTls) -> Db:
    """Nine broken sessions and an old one without events, of one user."""
    shop = Shop(server.root["kept"])
    for number in range(9):
        shop.session(f"broken{number}")
        shop.events(f"broken{number}", {0: "/home", 1: "/cart"})
    shop.session("orphan")
    return shop.db


class Watch:
    """What can be seen of a run while it is at work, beside its command lines."""

    def __init__(self, workers: Cluster) -> None:
        self.workers, self.port = workers, free_port()
        self.pages: dict[str, bytes] = {}
        self.executors: dict[int, bytes] = {}
        self.is_over = threading.Event()

    def look(self) -> None:
        while not self.is_over.wait(1):
            for pid in executors(self.workers):
                with suppress(OSError):  # it has just ended
                    seen = Path(f"/proc/{pid}")
                    told = (seen / "environ").read_bytes() + (seen / "cmdline").read_bytes()
                    self.executors[pid] = told
            for page in PAGES:
                address = f"http://127.0.0.1:{self.port}/{page}"
                with suppress(URLError, OSError), urlopen(address, timeout=5) as answer:
                    self.pages[page] = answer.read()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self.look)
        thread.start()
        try:
            yield
        finally:
            self.is_over.set()
            thread.join()


def test_no_secret_is_in_anything_that_any_verb_leaves_on_a_cluster_and_when_it_fails(
    server: GuardedByTls,
    kept: Db,
    cluster: Cluster,  # noqa: F811
    tmp_path: Path,
) -> None:
    folder = server.authority.folder
    pem = folder / "client.pem"
    right, blind = (tmp_path / name for name in ("right.toml", "blind.toml"))
    shown = f'[tls]\ncertificate_key_file = "{pem}"\n'
    right.write_text(f'{shown}ca_file = "{server.authority.pem}"\n')
    blind.write_text(shown)
    login = f"{USER}:{quote_plus(PASSWORD)}@"
    address = server.uri(login, "authSource=admin")
    (tmp_path / "left" / "events").mkdir(parents=True)
    left = tmp_path / "left"
    uri_file = tmp_path / "uri"
    uri_file.write_text(address)
    texts: dict[str, bytes] = {}

    def spark(watch: Watch) -> list[str]:
        conf = {
            "spark.eventLog.enabled": "true",
            "spark.eventLog.compress": "false",  # else nothing is found in it
            "spark.eventLog.dir": f"file://{left}/events",
            "spark.sql.ui.explainMode": "extended",
            "spark.ui.enabled": "true",
            "spark.ui.port": str(watch.port),
            "spark.executor.memory": "512m",
        }
        return [word for name, value in conf.items() for word in ("--conf", f"{name}={value}")]

    def run(
        *words: str, master: str | None = None, config: Path = right, uri: str | None = None
    ) -> Ended:
        watch, number = Watch(cluster), len(texts)
        options = [*spark(watch), "--master", master] if master else []
        told = [f"--{it}={left}/{number}.{end}" for it, end in WRITTEN.items()] if master else []
        common = ("--database", "kept", "--config", str(config), "-vv")
        where = ["--uri-file", str(uri_file)] if uri is None else []
        with every_command_line() as command_lines, watch.at_work() if master else nullcontext():
            ended = spark_submit(*options, *words, *where, *told, *common, uri=uri)
        name = f"{number} {' '.join(words)}"
        texts[name] = b"\n".join(
            [ended.told.encode(), *command_lines, *watch.pages.values(), *watch.executors.values()]
        )
        if master == cluster.address:
            assert watch.executors, ended.told
            assert "environment/" in watch.pages
        return ended

    on_cluster, here = cluster.address, "local[2]"
    assert run("fix", "--apply", "--report", f"{left}/report", master=on_cluster).code == 0
    assert kept[SESSIONS].count_documents({"pages": ["/home", "/cart"], "event_count": 2}) == 9
    assert run("undo", last_run(kept)["_id"], "--apply").code == 0
    assert run("fix", "--plan", master=here, uri=address).code == 3
    (tmp_path / "pause").touch()
    run_id = last_run(kept)["_id"]
    assert run("apply", run_id, "--pause-file", f"{tmp_path}/pause").code == 5
    assert run("resume", run_id, master=here).code == 0
    assert run("verify", master=here).code == 0
    assert run("delete-orphans", "--apply", "--max-delete", "1", master=here).code == 0
    assert run("runs", last_run(kept)["_id"]).code == 0
    assert run("health").code == 0

    # Runs that fail, in Spark and before it.
    in_spark = run("verify", master=on_cluster, config=blind, uri=f"{address}&tlsInsecure=true")
    assert in_spark.code == 75
    assert "Spark's connection to MongoDB failed in TLS: " in in_spark.err
    nobody = f"127.0.0.1:{free_port()}"
    wrong = {
        address.replace(MARK, f"{MARK}x"): 2,
        address.replace("%2F", "/"): 2,
        address.replace(server.member.address, nobody): 75,
    }
    assert [run("fix", uri=uri).code for uri in wrong] == list(wrong.values())

    for name in (RUNS, JOURNAL):
        texts[name] = b"\n".join(stored_bytes(kept, name).values())
    for place in (left, cluster.work.parent):
        for path in place.rglob("*"):
            if path.is_file():
                texts[str(path)] = path.read_bytes()
    kinds = {Path(name).suffix for name in texts}
    assert {".parquet", ".json", ".html", ".prom", ".log", ".p12"} <= kinds
    logs = [text for name, text in texts.items() if "/events/" in name]
    assert len(logs) >= 6
    assert all(b"SparkListenerApplicationStart" in text for text in logs)
    assert any(b"SparkListenerSQLExecutionStart" in text for text in logs)
    executed = [text for name, text in texts.items() if name.endswith("/stderr")]
    assert any(b"MongoClient" in text or b"Executor" in text for text in executed)
    body = pem.read_text().partition("-----BEGIN PRIVATE KEY-----\n")[2]
    secrets = (MARK, body.splitlines()[1])
    found = {name for name, text in texts.items() for it in secrets if it.encode() in text}
    assert found == set()
