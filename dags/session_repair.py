"""Airflow 3: look each night, repair what is broken, look again. See docs/airflow.md.

One file that needs nothing of this project but its command on the worker. What differs between
installations is read from the environment of the worker and the DAG processor.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
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

# Findings for which fix corrects a session. Of declared aggregates too, which the form does not
# know: add theirs, such as revenue_mismatch.
CODES = (
    *("empty_pages", "zero_events", "count_mismatch", "pages_missing"),
    *("first_event_mismatch", "last_event_mismatch", "user_mismatch"),
)
# A date, or the time of one, as the form's calendar writes it too.
INSTANT = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?"
OptionsOf = Callable[[Context, Any], list[str]]  # Airflow calls it, with its Jinja too


def chosen(context: Context, jinja_env: Any = None) -> list[str]:
    """Which sessions the run is about: words for a process, of which no shell makes others."""
    params = context["params"]
    since = params["since"]
    if since == "interval":
        since = context["data_interval_start"].isoformat()
    told = [("--scope", params["scope"]), ("--since", since), ("--until", params["until"])]
    told += [("--session-id", name) for name in params["session_ids"] or ()]
    return [f"{option}={value}" for option, value in told if value]


def repairing(context: Context, jinja_env: Any = None) -> list[str]:
    params = context["params"]
    only = [f"--only={','.join(params['only'])}"] if params["only"] else []
    most = f"--max-changes={params['max_changes']}"
    return ["--apply", *chosen(context), *only, most, f"--max-time={params['max_time']}"]


def resuming(context: Context, jinja_env: Any = None) -> list[str]:
    """The time is of each command; its other limits a run keeps."""
    return [repaired(context), f"--max-time={context['params']['max_time']}"]


def looking_again(context: Context, jinja_env: Any = None) -> list[str]:
    """At the same sessions; after a repair of some findings only, at those that it changed."""
    return [f"--run={repaired(context)}"] if context["params"]["only"] else chosen(context)


def repaired(context: Context) -> str:
    """The id of the run of the task fix."""
    return str(context["ti"].xcom_pull("fix")["run_id"])


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

    ``options`` makes them of the task's context. ``accepted`` are the exit codes that the task
    succeeds with. A stop of the task is a SIGTERM to the command, which takes back its batch and
    can be resumed.
    """

    template_fields: Sequence[str] = ("options",)

    def __init__(
        self,
        *,
        verb: str,
        options: OptionsOf,
        accepted: Sequence[int] = (CLEAN, FIXABLE_REMAINS),
        conn_id: str = CONNECTION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.verb = verb
        self.options: Any = options  # once it is rendered, a list
        self.accepted = accepted
        self.conn_id = conn_id

    @cached_property
    def process(self) -> SubprocessHook:
        return SubprocessHook()

    def execute(self, context: Context) -> dict[str, Any]:
        environment = {**os.environ, "MONGODB_URI": connection_string(self.conn_id)}
        with TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            command = [f"{HOME}/spark-submit.sh", self.verb, *self.options, "--json", str(report)]
            ended = self.process.run_command(command, env=environment, cwd=folder)
            told = json.loads(report.read_text()) if report.exists() else {}
        if ended.exit_code in self.accepted and told.get("verdict") == ended.exit_code:
            return summarized(told)
        end_without_result(ended.exit_code, told.get("error") or ended.output)

    def on_kill(self) -> None:
        self.process.send_sigterm()


def by_command() -> None:
    """verify, and where something can be fixed: fix, a resume if it broke off, verify."""
    verify = SessionRepairOperator(task_id="verify", verb="verify", options=chosen)
    fix = SessionRepairOperator(
        task_id="fix",
        verb="fix",
        options=repairing,
        accepted=(CLEAN, FIXABLE_REMAINS, PARTIAL, INTERRUPTED),
    )
    resume = SessionRepairOperator(task_id="resume", verb="resume", options=resuming)
    verify_again = SessionRepairOperator(
        task_id="verify_again",
        verb="verify",
        options=looking_again,
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
    where = ["--config", config, "--uri-file", URI_FILE]
    submit = SparkSubmitOperator(
        task_id="submit",
        conn_id=spark_conn_id,
        application=f"{PACKAGE}/fix_empty_sessions.py",
        application_args=lambda context, jinja_env: [*where, *repairing(context)],
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
        "scope": Param(
            None,
            type=["null", "string"],
            enum=[None, "empty", "all"],
            values_display={"null": "as the settings say"},
            description="Empty sessions, or all mismatches.",
        ),
        "since": Param(
            None,
            type=["null", "string"],
            pattern=rf"^(|interval|last-success|[0-9]+(ms|s|m|h|d)|{INSTANT})$",
            examples=["interval", "last-success", "1d", "7d", "2025-10-20"],
            description="Only sessions active since then; none: all of them.",
        ),
        "until": Param(
            None,
            type=["null", "string"],
            format="date-time",
            pattern=rf"^(|{INSTANT})$",  # Airflow checks no format
            description="Only sessions active before.",
        ),
        "session_ids": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "pattern": r"^[^\x00]+$"},
            description="Only these sessions, one in each line; not together with since.",
        ),
        "only": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "pattern": r"^[^\x00,]+$"},
            examples=list(CODES),
            description="Of the scope only sessions with these findings.",
        ),
        "max_changes": Param("5000", type="string", pattern=r"^[0-9]+(\.[0-9]+)?%?$"),
        "max_time": Param("2h", type="string", pattern=r"^[0-9]+(ms|s|m|h|d)$"),
    },
) as dag:
    if SPARK:
        by_spark_submit(SPARK)
    else:
        by_command()
