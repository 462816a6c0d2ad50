"""In cluster mode on a real YARN: the driver runs on a node that has only a Python and a Java."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.generate import generate
from tests.harness.commands import PATIENCE, ROOT, Command, Ended, environment, run_to_end
from tests.harness.documents import Db, differing, stored_bytes
from tests.harness.runs import the_run
from tests.harness.tls import guarded_by_tls
from tests.harness.yarn import Yarn, yarn_cluster
from tests.oracle import recomputed_documents

pytestmark = pytest.mark.needs("cluster")

OPTIONS = (
    *("--master", "yarn", "--deploy-mode", "cluster"),
    *("--driver-memory", "768m", "--executor-memory", "512m"),
    *("--conf", f"spark.pyspark.python={sys.base_prefix}/bin/python3"),
)


@pytest.fixture(scope="module")
def yarn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yarn]:
    with yarn_cluster(tmp_path_factory.mktemp("yarn"), os.environ) as made:
        yield made


def submitted(yarn: Yarn, *words: str) -> Ended:
    """``./spark-submit.sh`` beside this cluster, in cluster mode."""
    variables = {**environment(None), "HADOOP_CONF_DIR": str(yarn.conf)}
    return run_to_end([ROOT / "spark-submit.sh", *OPTIONS, *words], variables, 2 * PATIENCE)


def uri_file(folder: Path, uri: str) -> str:
    file = folder / "uri"
    file.write_text(uri)
    file.chmod(0o600)
    return str(file)


def test_a_driver_on_a_node_repairs_by_files_that_travel(yarn: Yarn, tmp_path: Path) -> None:
    with guarded_by_tls(tmp_path) as server:
        db = server.root["shop"]
        broken = generate(db, 300).broken
        expected = recomputed_documents(db)
        pem = server.add_client("nightly", {"role": "readWrite", "db": "shop"})
        tls = f'[tls]\nca_file = "{server.authority.pem.name}"\n'
        config = tmp_path / "nightly.toml"
        config.write_text(f'{tls}certificate_key_file = "{pem.name}"\n')
        uri = server.uri("", "authMechanism=MONGODB-X509").replace("/?", "/shop?")
        ended = submitted(
            yarn,
            *("--files", f"{server.authority.pem},{pem}", "fix", "--apply"),
            *("--config", str(config), "--uri-file", uri_file(tmp_path, uri)),
        )
        app = yarn.newest()
        assert ended.code == 0, ended.told + app.told
        assert f"Read back as planned: {broken}\n" in app.told
        assert differing(db, expected) == []
        assert (the_run(db)["state"], the_run(db)["verdict"]) == ("done", 0)


def test_a_run_that_is_stopped_is_not_started_again(
    yarn: Yarn, db: Db, mongo_uri: str, tmp_path: Path, command: Command
) -> None:
    generate(db, 300)
    before = stored_bytes(db)
    words = ("fix", "--apply", "--max-changes", "1", "--database", db.name)
    ended = submitted(yarn, *words, "--uri-file", uri_file(tmp_path, mongo_uri))
    app = yarn.newest()
    assert (ended.code, app.attempts) == (1, {"01"}), ended.told + app.told
    run = the_run(db)
    assert command("runs", run["_id"], "--verdict", on=db).code == run["verdict"] == 4
    assert stored_bytes(db) == before
