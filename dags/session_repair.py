"""Airflow 3: look each night, repair what is broken, look again. See docs/airflow.md.

One file that needs nothing of this project but its command on the worker. What differs between
installations is read from the environment of the worker and the DAG processor.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn
from urllib.parse import quote_plus, urlencode

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.mongo.hooks.mongo import MongoHook
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import (
    DAG,
    Asset,
    BaseOperator,
    Context,
    CronDataIntervalTimetable,
    Param,
    TriggerRule,
    task,
)
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.log import mask_secret

HOME = os.environ.get("SESSION_REPAIR_HOME", "/opt/session-repair")
# A connection of the type spark: the repair is then submitted by SparkSubmitOperator.
SPARK = os.environ.get("SESSION_REPAIR_SPARK_CONNECTION")
# What "spark-submit.sh package" made: a folder of the worker, or hdfs:// and the like.
PACKAGE = os.environ.get("SESSION_REPAIR_PACKAGE", "/opt/session-repair/package")
URI_FILE = os.environ.get("SESSION_REPAIR_URI_FILE", "/etc/session-repair/uri")  # at the driver
CONNECTION = "session_repair_mongodb"

CLEAN, FIXABLE_REMAINS, PARTIAL, LEASE_HELD, UNREACHABLE, INTERRUPTED = 0, 3, 5, 6, 75, 130
# Without samples: no values of documents in XCom.
SUMMARY = ("verb", "run_id", "verdict", "error", "window", "totals", "outcomes", "verification")
SESSIONS = Asset("repaired_sessions")  # has an event for each repair that is verified

WINDOW = (
    "{% if params.since == 'interval' %}--since={{ data_interval_start.isoformat() }}"
    "{% elif params.since %}--since={{ params.since }}{% endif %}"
)
MAX_TIME = "--max-time={{ params.max_time }}"  # of each command; its other limits a run keeps
BOUNDS = ("--max-changes={{ params.max_changes }}", MAX_TIME)


def connection_string(conn_id: str) -> str:
    """The address of an Airflow connection, masked in every log. Only for use while a task runs."""
    hook = MongoHook(conn_id)
    options = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in hook.extras.items()
    }
    path = "" if hook.connection.schema else "/"
    address = f"{hook.uri}{path}?{urlencode(options)}" if options else hook.uri
    mask_secret(address)
    if hook.connection.password:
        mask_secret(quote_plus(hook.connection.password))  # as it stands in the address
    return address


def summarized(told: dict[str, Any]) -> dict[str, Any]:
    return {name: told.get(name) for name in SUMMARY}


def end_without_result(code: int, line: str) -> NoReturn:
    """Skip where another run is at work, be retried where MongoDB is away, else fail for good."""
    if code == LEASE_HELD:
        raise AirflowSkipException(line)
    if code == UNREACHABLE:
        raise AirflowException(line)
    raise AirflowFailException(f"exit {code}: {line}")


class SessionRepairOperator(BaseOperator):
    """Runs a verb of spark-submit.sh and returns the summary of its report.

    ``accepted`` are the exit codes that the task succeeds with; empty ``options`` are left out. A
    stop of the task is a SIGTERM to the command, which takes back its batch and can be resumed.
    """

    template_fields: Sequence[str] = ("options",)

    def __init__(
        self,
        *,
        verb: str,
        options: Sequence[str] = (),
        accepted: Sequence[int] = (CLEAN, FIXABLE_REMAINS),
        conn_id: str = CONNECTION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.verb = verb
        self.options = list(options)
        self.accepted = accepted
        self.conn_id = conn_id

    @cached_property
    def process(self) -> SubprocessHook:
        return SubprocessHook()

    def execute(self, context: Context) -> dict[str, Any]:
        environment = {**os.environ, "MONGODB_URI": connection_string(self.conn_id)}
        with TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            options = [option for option in self.options if option]
            command = [f"{HOME}/spark-submit.sh", self.verb, *options, "--json", str(report)]
            ended = self.process.run_command(command, env=environment, cwd=folder)
            told = json.loads(report.read_text()) if report.exists() else {}
        if ended.exit_code in self.accepted and told.get("verdict") == ended.exit_code:
            return summarized(told)
        end_without_result(ended.exit_code, told.get("error") or ended.output)

    def on_kill(self) -> None:
        self.process.send_sigterm()


def by_command() -> None:
    """verify, and where something can be fixed: fix, a resume if it broke off, verify."""
    verify = SessionRepairOperator(task_id="verify", verb="verify", options=[WINDOW])
    fix = SessionRepairOperator(
        task_id="fix",
        verb="fix",
        options=["--apply", WINDOW, *BOUNDS],
        accepted=(CLEAN, FIXABLE_REMAINS, PARTIAL, INTERRUPTED),
    )
    resume = SessionRepairOperator(
        task_id="resume",
        verb="resume",
        options=["{{ ti.xcom_pull('fix')['run_id'] }}", MAX_TIME],
    )
    verify_again = SessionRepairOperator(
        task_id="verify_again",
        verb="verify",
        options=[WINDOW],
        accepted=(CLEAN,),
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        outlets=[SESSIONS],
    )

    @task.branch
    def whether_to_fix(found: dict[str, Any]) -> list[str]:
        return ["fix"] if found["verdict"] == FIXABLE_REMAINS else []

    @task.branch
    def whether_to_resume(fixed: dict[str, Any]) -> str:
        # A run that ended with rows left over has no error, and nothing to resume.
        return "resume" if fixed["error"] and fixed["run_id"] else "verify_again"

    branch = whether_to_resume(fix.output)
    whether_to_fix(verify.output) >> fix
    branch >> [resume, verify_again]
    resume >> verify_again


def by_spark_submit(spark_conn_id: str) -> None:
    """The repair on a cluster; its exit code may be lost there, so its document is asked."""

    @task
    def newest_run() -> str:
        return next((run["_id"] for run in runs_after("")), "")

    @task(trigger_rule=TriggerRule.ALL_DONE, outlets=[SESSIONS])
    def verdict(before: str) -> dict[str, Any]:
        found = next(runs_after(before), None)
        if found is None:
            raise AirflowFailException("no run began. The log of the task submit says why.")
        told = {**found.get("report", {}), **found, "run_id": found["_id"]}
        if found.get("verdict") in (CLEAN, FIXABLE_REMAINS) and not found.get("error"):
            return summarized(told)
        line = f"run {found['_id']} is {found['state']}: {found.get('error') or 'rows are left'}"
        end_without_result(found.get("verdict", 1), line)

    settings = f"{PACKAGE}/session_repair.toml"
    # A driver elsewhere finds the files that travelled in its own folder.
    config = settings.rpartition("/")[2] if "://" in PACKAGE else settings
    submit = SparkSubmitOperator(
        task_id="submit",
        conn_id=spark_conn_id,
        application=f"{PACKAGE}/fix_empty_sessions.py",
        application_args=["--apply", "--config", config, "--uri-file", URI_FILE, *BOUNDS],
        jars=f"{PACKAGE}/jars/*.jar",
        py_files=f"{PACKAGE}/session_repair.zip,{PACKAGE}/dependencies.zip",
        files=settings,
        # YARN would submit a driver again that ended with anything but 0.
        conf={"spark.yarn.maxAppAttempts": "1"},
        retries=0,
    )
    before = newest_run()
    before >> submit >> verdict(before)


def runs_after(run_id: str) -> Any:
    """The documents of later repairs, the newest first; their ids sort by time."""
    with MongoHook(CONNECTION) as hook:
        yield from hook.find(
            "session_repair_runs", {"verb": "fix", "_id": {"$gt": run_id}}, sort=[("_id", -1)]
        )


with DAG(
    "session_repair",
    description="Repairs sessions that do not match their events",
    # A cron string alone would be a trigger without an interval, and params.since has one.
    schedule=CronDataIntervalTimetable("15 3 * * *", timezone="UTC"),
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    # Longer than the 60 s that the lease of a worker that died is held.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    params={
        "since": Param(
            "",
            type="string",
            pattern=r"^(|interval|last-success|[0-9][0-9A-Za-z:.+-]*)$",
            description="Only sessions active since then; empty: all of them.",
        ),
        "max_changes": Param("5000", type="string", pattern=r"^[0-9]+(\.[0-9]+)?%?$"),
        "max_time": Param("2h", type="string", pattern=r"^[0-9]+(ms|s|m|h|d)$"),
    },
) as dag:
    if SPARK:
        by_spark_submit(SPARK)
    else:
        by_command()
