"""The DAG in a real Airflow, with a real Spark and a MongoDB that asks for a password."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from pymongo import MongoClient
from pymongo.uri_parser import parse_uri

from demo.generate import generate
from demo.server import EmbeddedMongod
from tests.e2e.airflow import Airflow, ended, install_airflow
from tests.harness.cluster import LOCAL, SPARK, standalone_cluster
from tests.harness.commands import spark_submit
from tests.harness.documents import (
    RUNS,
    Db,
    Document,
    differing,
    fingerprint,
    new_database,
    stored_bytes,
)
from tests.harness.holds import Point, held
from tests.harness.runs import is_applying, last_run, the_run
from tests.harness.shop import ANN, MORNING, Shop, minute
from tests.harness.table import CORRECTED_CODES
from tests.oracle import recomputed_documents

pytestmark = pytest.mark.needs("airflow")

USER, PASSWORD = "airflow", "S3cr/t&p@ss:wörd?"
MADE_AND_LOGGED = """
import os, sys
sys.path.insert(0, os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
import session_repair
from airflow.sdk.log import mask_logs
made = session_repair.connection_string(session_repair.CONNECTION)
print(made)
known = session_repair.MongoHook.get_connection(session_repair.CONNECTION)
for text in (made, made.partition(",")[0], known.password):
    print(mask_logs(None, "info", {"event": text})["event"])
"""
REFUSED = """
import json, os, sys
sys.path.insert(0, os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
import session_repair
from airflow.sdk.exceptions import ParamValidationError
refused = []
for name, value in json.loads(sys.argv[1]):
    try:
        session_repair.dag.params.get_param(name).resolve(value)
    except ParamValidationError:
        refused.append([name, value])
print(json.dumps([refused, session_repair.CODES]))
"""
# An id that a shell would take for more than a word; Jinja for more than text.
ODD = """a'; $(touch odd) "b" {{ 7 * 7 }} | -c"""
ONLY_FIX = ("--mark-success-pattern", "verify|whether_to_fix")


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """An Airflow of its own for this file; where it cannot be installed, the tests fail."""
    made = Airflow(install_airflow(), tmp_path_factory.mktemp("airflow"))
    assert made.call("db", "migrate").code == 0
    return made


@pytest.fixture
def shop(guarded_client: MongoClient[Document]) -> Iterator[Db]:
    """Two broken sessions, a sound one, and a user who may repair them."""
    with new_database(guarded_client) as db:
        filled = Shop(db)
        for name in ("a", "b"):
            filled.session(name)
            filled.events(name, {0: "/home", 5: "/cart"})
        filled.session("sound", event_count=1, pages=["/home"])
        filled.events("sound", {0: "/home"})
        roles = [{"role": "readWrite", "db": db.name}, "clusterMonitor"]
        guarded_client["admin"].command("createUser", USER, pwd=PASSWORD, roles=roles)
        yield db
        guarded_client["admin"].command("dropUser", USER)


def connection(
    server: EmbeddedMongod,
    db: Db,
    password: str | None = PASSWORD,
    port: int | None = None,
    **extra: int,
) -> dict[str, str]:
    """The Airflow connection to the database, as a variable."""
    ((host, its_port),) = parse_uri(server.uri)["nodelist"]
    fields = {
        "conn_type": "mongo",
        "host": host,
        "port": port or its_port,
        "login": USER if password else None,
        "password": password,
        "schema": db.name,
        "extra": {"authSource": "admin", "directConnection": True, **extra} if password else {},
    }
    return {"AIRFLOW_CONN_SESSION_REPAIR_MONGODB": json.dumps(fields)}


def test_the_dag_is_read_without_an_error(airflow: Airflow) -> None:
    on_a_cluster = {"SESSION_REPAIR_SPARK_CONNECTION": "spark_default"}
    for variables in ({}, on_a_cluster):
        listed = airflow.call("dags", "list-import-errors", "-o", "json", **variables)
        assert (listed.code, listed.told.splitlines()[-1]) == (0, "[]"), listed.told
    tasks = airflow.call("tasks", "list", "session_repair", **on_a_cluster)
    assert tasks.told.splitlines()[-3:] == ["newest_run", "submit", "verdict"], tasks.told


def test_the_address_is_made_of_the_connection_and_masked_in_logs(airflow: Airflow) -> None:
    fields = {
        "conn_type": "mongo",
        "host": "a:1,b:2",
        "login": USER,
        "password": PASSWORD,
        "schema": "shop",
        "extra": {"replicaSet": "rs0", "tls": True},
    }
    variables = {"AIRFLOW_CONN_SESSION_REPAIR_MONGODB": json.dumps(fields)}
    ended_well = ended(airflow.start("-c", MADE_AND_LOGGED, **variables))
    made, *logged = ended_well.told.splitlines()[-4:]
    assert made == f"mongodb://{USER}:{quote_plus(PASSWORD)}@a:1,b:2/shop?replicaSet=rs0&tls=true"
    assert logged == ["***", f"mongodb://{USER}:***@a:1", "***"]


def test_what_the_form_of_a_run_takes(airflow: Airflow) -> None:
    good = [
        *[("scope", it) for it in (None, "empty", "all")],
        *[("since", it) for it in (None, "", "interval", "last-success", "7d", "2025-10-20")],
        *[("until", it) for it in (None, "2025-10-20T15:00:00.000Z", "2025-10-20T15:00+07:00")],
        *[("session_ids", it) for it in (None, [], [ODD])],
        *[("only", it) for it in (None, [], ["count_mismatch", "revenue_mismatch"])],
        *[("max_changes", it) for it in ("5000", "2.5%")],
    ]
    bad = [
        *[("scope", it) for it in ("", "some", 1)],
        *[("since", it) for it in ("yesterday", "7 d", "1d --apply", ["1d"])],
        *[("until", it) for it in ("now", "2025-10", "last-success")],
        *[("session_ids", it) for it in ("a", [1], [""], ["a\0"])],
        *[("only", it) for it in ("count_mismatch", [""], ["a,b"])],
        *[("max_changes", it) for it in (None, "", "-1", "all")],
    ]
    told = ended(airflow.start("-c", REFUSED, json.dumps([*good, *bad]))).told
    refused, codes = json.loads(told.splitlines()[-1])
    assert [tuple(it) for it in refused] == bad
    assert tuple(codes) == CORRECTED_CODES


def test_a_broken_shop_is_repaired_and_no_secret_is_told(
    airflow: Airflow, guarded_mongod: EmbeddedMongod, shop: Db
) -> None:
    ran = airflow.run("2025-10-20", **connection(guarded_mongod, shop))
    assert (ran.state, ran.tasks) == (
        "success",
        {
            "verify": "success",
            "whether_to_fix": "success",
            "fix": "success",
            "whether_to_resume": "success",
            "resume": "skipped",
            "verify_again": "success",
        },
    ), ran.log
    mended = {
        "event_count": 2,
        "first_event_at": MORNING,
        "last_event_at": minute(5),
        "pages": ["/home", "/cart"],
        "user_id": ANN,
    }
    sound = {"event_count": 1, "last_event_at": MORNING, "pages": ["/home"]}
    figures = {it.pop("session_id"): it for it in shop["sessions"].find({}, {"_id": 0})}
    assert figures == {"a": mended, "b": mended, "sound": {**mended, **sound}}
    run = the_run(shop)
    assert (run["verb"], run["state"], run["verdict"]) == ("fix", "done", 0)
    told = ran.returned("fix")
    assert (told["run_id"], told["verdict"], told["error"]) == (run["_id"], 0, None)
    assert told["totals"]["planned"] == 2
    assert [ran.returned(it)["verdict"] for it in ("verify", "verify_again")] == [3, 0]
    of_run = "SELECT source_task_id FROM asset_event WHERE source_run_id = ?"
    events = airflow.rows(of_run, ran.document["run_id"])
    assert events == [{"source_task_id": "verify_again"}]
    assert "Running command: ['" in ran.log
    everything = airflow.everything() + ran.log.encode()
    assert run["_id"].encode() in everything
    for secret in (PASSWORD, quote_plus(PASSWORD), quote(PASSWORD, safe=""), PASSWORD[:4]):
        assert secret.encode() not in everything


def test_a_run_that_is_asked_for_some_sessions_and_findings_repairs_these_alone(
    airflow: Airflow, guarded_mongod: EmbeddedMongod, shop: Db
) -> None:
    filled = Shop(shop, 100)
    for name in (ODD, "other"):
        filled.session(name, event_count=1, pages=["/home"])
        filled.events(name, {0: "/home", 5: "/cart"})
    before = {it["session_id"]: it for it in shop["sessions"].find()}
    params = {"scope": "all", "session_ids": [ODD, "a"], "only": ["count_mismatch"]}
    asked = json.dumps(params)
    ran = airflow.run("2025-10-27", "-c", asked, **connection(guarded_mongod, shop))
    assert (ran.state, ran.tasks["fix"]) == ("success", "success"), ran.log
    run = the_run(shop)["_id"]
    which = ["--scope=all", f"--session-id={ODD}", "--session-id=a"]
    bounds = ["--max-changes=5000", "--max-time=2h"]
    assert ran.rendered("fix") == ["--apply", *which, "--only=count_mismatch", *bounds]
    assert (ran.rendered("verify"), ran.rendered("verify_again")) == (which, [f"--run={run}"])
    after = {it["session_id"]: it for it in shop["sessions"].find()}
    assert after.pop(ODD)["event_count"] == 2
    del before[ODD]
    assert after == before


def test_a_run_that_meets_a_held_lease_is_skipped(
    airflow: Airflow, guarded_mongod: EmbeddedMongod, shop: Db
) -> None:
    expires = datetime.now(timezone.utc) + timedelta(hours=1)
    shop[RUNS].insert_one({"_id": "lease", "holder": "r-other", "token": 1, "expires_at": expires})
    before = fingerprint(shop)
    ran = airflow.run("2025-10-21", *ONLY_FIX, **connection(guarded_mongod, shop))
    skipped = ("fix", "whether_to_resume", "resume", "verify_again")
    marked = {"verify": "success", "whether_to_fix": "success"}
    assert ran.tasks == {**marked, **dict.fromkeys(skipped, "skipped")}, ran.log
    assert "run r-other holds the lease until " in ran.log
    assert fingerprint(shop) == before


def test_a_run_that_is_refused_fails_at_once(
    airflow: Airflow, guarded_mongod: EmbeddedMongod, shop: Db
) -> None:
    ran = airflow.run("2025-10-22", **connection(guarded_mongod, shop, "no-such-password"))
    assert ran.state == "failed"
    after = ("whether_to_fix", "fix", "whether_to_resume", "resume", "verify_again")
    assert ran.tasks == {"verify": "failed", **dict.fromkeys(after, "upstream_failed")}, ran.log
    assert "exit 2: MongoDB refused the user or the password. Check MONGODB_URI." in ran.log
    assert "no-such-password" not in ran.log


def test_a_run_that_does_not_reach_mongodb_is_tried_again(
    airflow: Airflow, guarded_mongod: EmbeddedMongod, shop: Db
) -> None:
    variables = connection(guarded_mongod, shop, port=1, serverSelectionTimeoutMS=500)
    told = airflow.call("tasks", "test", "session_repair", "verify", **variables).told
    assert "new_state=up_for_retry" in told, told
    assert "AirflowException: MongoDB cannot be reached: 127.0.0.1:1: " in told


def test_what_airflow_submits_runs_on_the_cluster_and_its_document_is_the_verdict(
    airflow: Airflow, guarded_mongod: EmbeddedMongod, shop: Db, tmp_path: Path
) -> None:
    package = spark_submit("package", str(tmp_path)).out.strip()
    ((host, port),) = parse_uri(guarded_mongod.uri)["nodelist"]
    address = f"{host}:{port}/{shop.name}?authSource=admin&directConnection=true"
    file = tmp_path / "uri"
    file.write_text(f"mongodb://{USER}:{quote_plus(PASSWORD)}@{address}")
    before = stored_bytes(shop)
    with standalone_cluster(tmp_path, 1) as cluster:
        variables = {
            **connection(guarded_mongod, shop),
            "AIRFLOW_CONN_OURS": json.dumps({"conn_type": "spark", "host": cluster.master}),
            "SESSION_REPAIR_SPARK_CONNECTION": "ours",
            "SESSION_REPAIR_PACKAGE": package,
            "SESSION_REPAIR_URI_FILE": str(file),
            "SPARK_HOME": str(SPARK),
            "SPARK_LOCAL_IP": LOCAL,
            "PATH": f"{SPARK}/bin:{os.environ['PATH']}",
            "PYSPARK_PYTHON": f"{sys.base_prefix}/bin/python3",
        }
        bounds = json.dumps({"max_changes": "1"})
        refused = airflow.run("2025-10-25", "-c", bounds, **variables)
        failed = {"newest_run": "success", "submit": "failed", "verdict": "failed"}
        assert refused.tasks == failed, refused.log
        assert f"exit 4: run {the_run(shop)['_id']} is " in refused.log
        assert stored_bytes(shop) == before
        asked = json.dumps({"scope": "all", "session_ids": ["a", "b"]})
        repaired = airflow.run("2025-10-26", "-c", asked, **variables)
        assert repaired.tasks == dict.fromkeys(failed, "success"), repaired.log
        assert cluster.ended("session-repair fix")["state"] == "FINISHED"
    told = repaired.returned("verdict")
    assert (told["run_id"], told["verdict"]) == (last_run(shop)["_id"], 0)
    settings = last_run(shop)["settings"]
    assert (settings["scope"], settings["session_ids"]) == ("all", ["a", "b"])
    counts = {it["session_id"]: it["event_count"] for it in shop["sessions"].find()}
    assert counts == {"a": 2, "b": 2, "sound": 1}
    everything = airflow.everything() + repaired.log.encode()
    assert not [it for it in (PASSWORD, quote_plus(PASSWORD)) if it.encode() in everything]


def test_a_run_that_fails_fails_with_its_line(
    airflow: Airflow, guarded_mongod: EmbeddedMongod, shop: Db
) -> None:
    bounds = json.dumps({"max_changes": "1"})
    before = fingerprint(shop)[0]["sessions"]
    ran = airflow.run("2025-10-23", *ONLY_FIX, "-c", bounds, **connection(guarded_mongod, shop))
    assert ran.state == "failed"
    assert (ran.tasks["fix"], ran.tasks["resume"], ran.tasks["verify_again"]) == (
        "failed",
        "upstream_failed",
        "upstream_failed",
    ), ran.log
    assert "exit 4: " in ran.log
    assert fingerprint(shop)[0]["sessions"] == before


def test_a_stopped_fix_ends_at_once_and_is_resumed(
    airflow: Airflow, mongod: EmbeddedMongod, db: Db
) -> None:
    generate(db, 20_000)
    expected = recomputed_documents(db)
    variables = connection(mongod, db, None)
    with held(db, Point("commitTransaction"), seconds=2) as hold:
        options = ("2025-10-24", *ONLY_FIX, "-c", json.dumps({"max_changes": "100%"}))
        command = ("-m", "airflow", "dags", "test", "session_repair")
        process = airflow.start(*command, *options, **variables)
        hold.until(lambda: process.poll() is not None or is_applying(db))
        process.terminate()  # as Airflow stops a task
        hold.let_go()
        ran = airflow.ran("2025-10-24", ended(process).told)
    assert (ran.state, ran.tasks) == (
        "success",
        dict.fromkeys(
            ("verify", "whether_to_fix", "fix", "whether_to_resume", "resume", "verify_again"),
            "success",
        ),
    ), ran.log
    run = the_run(db)["_id"]
    broken_off, whole = ran.returned("fix"), ran.returned("resume")
    assert (broken_off["verdict"], broken_off["run_id"]) == (130, run)
    assert f"resume {run}" in broken_off["error"]
    assert (whole["verdict"], whole["run_id"], whole["error"]) == (0, run, None)
    assert whole["outcomes"]["applied"] == the_run(db)["planned"] > 5000
    assert differing(db, expected) == []
