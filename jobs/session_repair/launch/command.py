"""``[SPARK OPTIONS] VERB [OPTIONS]``: spark-submit with a verb in place of the script."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from session_repair.errors import Exit, Refused, RepairError
from session_repair.home import COMMAND, IS_CHECKOUT, JOBS, ROOT
from session_repair.launch.connector import Connector
from session_repair.launch.job import in_cluster_mode, new_job
from session_repair.launch.locks import MAIN, Site, Venv
from session_repair.launch.options import CommandLine, meant, parse, refuse_unknown
from session_repair.launch.program import Command, Module
from session_repair.launch.spark import (
    DRIVER_PYTHON,
    PYTHON,
    Spark,
    cache_of,
    gateway_spark,
    spark_with_connector,
)
from session_repair.launch.steps import say
from session_repair.launch.versions import versions

DEMO = """
  demo              a MongoDB of its own, filled with broken sessions: verify, fix, verify"""
USAGE = f"""\
usage: {COMMAND} [SPARK OPTIONS] VERB [OPTIONS]
{DEMO if IS_CHECKOUT else ""}
  verify            compare the stored sessions with their events and print the report
  fix               show what would be repaired; with --apply, repair it
  delete-orphans    show the empty sessions without events; with --apply, delete them
  apply RUN         carry out a planned run
  resume RUN        finish an interrupted run
  undo RUN          show what a run's undoing would restore; with --apply, restore it
  runs [RUN]        the history, or one run in full
  health            one line of JSON on what is known; --serve PORT answers HTTP
  config            every setting, its value and where that comes from
  init              look at some documents, and print a config file for them
  setup             install what is missing, and nothing else
  package [FOLDER]  make one folder there of all that a cluster needs, with checksums

{COMMAND} VERB --help lists the options of a verb, --version the versions in use. The
address of the database comes from the variable MONGODB_URI. Spark options are those of
spark-submit, such as --master yarn.
"""
# The verbs that need Spark are files that a bare spark-submit runs too.
JOB_OF = {
    "verify": "verify_sessions",
    "fix": "fix_empty_sessions",
    "delete-orphans": "delete_orphan_sessions",
    "resume": "resume_run",
}
PLAIN = ("apply", "undo", "runs", "health", "config", "init")
SET_UP = ("demo", "setup", "package") if IS_CHECKOUT else ("setup", "package")
OWN_HELP = {
    "setup": "setup\n\nInstall what is missing, and tell where all of it is.",
    "package": "package [FOLDER]\n\nMake one folder there, or here, of all that a cluster needs.",
    "env": "env [LOCK …]\n\nFor developers: what a driver's environment has, as a shell reads it.",
}
PAGE = ROOT / "docs" / "verbs.md"  # what --help prints of the verbs
COMPLETE = "_SESSION_REPAIR_COMPLETE"  # set by a shell that asks what can follow
LIBRARIES = "click, dns, pymongo"  # that a plain verb imports, beside pyspark


Program = Command | Module | None


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of what is done here; what is handed over ends by itself."""
    try:
        require_docstrings()
        line = parse(sys.argv[1:] if argv is None else argv)
        program = program_of(line, dict(os.environ))
        if isinstance(program, Command):
            program.run()
    except RepairError as error:
        say(str(error))
        return error.exit_code
    except OSError as error:
        say(f"{error.filename or 'a file'}: {error.strerror}. Correct that, and start again.")
        return Exit.REFUSED
    except KeyboardInterrupt:
        say("interrupted")
        return Exit.INTERRUPTED
    if program is not None:
        program.run()
    return Exit.CLEAN


def require_docstrings() -> None:
    """Raise Refused where Python takes them away, of which PySpark makes parts of itself."""
    if sys.flags.optimize > 1:
        raise Refused("PySpark does not work with PYTHONOPTIMIZE=2 or python -OO. Unset it.")


def program_of(line: CommandLine, environment: Mapping[str, str]) -> Program:
    """What is handed over to; None where all is done. Raises RepairError."""
    if line.is_help:
        print(USAGE, end="")
        return None
    launch = Launch(line, environment, gateway_spark(environment))
    if COMPLETE in environment:
        return launch.completion()
    if not line.verb:
        return launch.without_verb()
    refuse_unknown(line)
    if line.asks_help and line.verb in (*JOB_OF, *PLAIN, "demo") and not launch.venv.holds(MAIN):
        print(help_in(PAGE, line.verb), end="")  # nothing is installed for it
        return None
    if line.verb in JOB_OF:
        return launch.job(JOB_OF[line.verb])
    if line.verb in PLAIN:
        launch.refuse_spark_options()
        return launch.module("session_repair", [line.verb, *line.options])
    if line.asks_help and line.verb in OWN_HELP:
        print(f"usage: {COMMAND} {OWN_HELP[line.verb]}")
        return None
    if line.verb in launch.others:
        return launch.others[line.verb]()
    alike = meant(line.verb, [*JOB_OF, *PLAIN, *SET_UP])
    raise Refused(f"unknown verb '{line.verb}'.{alike} {COMMAND} --help lists the verbs.")


class Launch:
    """One command line, what it is typed in, and the gateway's Spark if there is one."""

    def __init__(
        self, line: CommandLine, environment: Mapping[str, str], gateway: Spark | None
    ) -> None:
        self.line, self.environment, self.gateway = line, environment, gateway
        self.venv = Venv(ROOT, environment) if IS_CHECKOUT else Site(cache_of(environment))
        self.others: dict[str, Callable[[], Program]] = {
            "demo": self.demo,
            "setup": self.set_up,
            "package": self.package,
            "env": self.env,
        }

    def without_verb(self) -> Program:
        given = self.line.spark
        if not given:
            print(USAGE, end="", file=sys.stderr)
            raise SystemExit(Exit.REFUSED)
        if "--version" not in given:
            raise Refused(
                f"no verb after {' '.join(given)}. Spark options stand before the verb, its own "
                "after it."
            )
        for told in versions(self.line, self.venv, self.environment, self.gateway):
            print(told)
        return None

    # The verbs with Spark

    def job(self, name: str) -> Program:
        script = JOBS / f"{name}.py"
        self.require(script)
        if self.line.asks_help:
            return self.module(name, self.line.options)
        job = new_job(self.line, self.venv, self.environment, self.gateway)
        if job.settings.is_cluster_mode:
            return in_cluster_mode(job, self.venv, script, self.line.options)
        environment = job.environment(self.venv)
        folders = [str(JOBS)] if IS_CHECKOUT else []
        folders += self.gateway.python_path if self.gateway else []
        module = Module(name, self.line.options, folders, environment)
        return self.run(driver_python(environment), module)

    # The verbs in plain Python

    def completion(self) -> Program:
        """Nothing is installed while somebody types."""
        is_ready = self.venv.holds(MAIN)
        return self.module("session_repair.cli.completion", []) if is_ready else None

    def module(self, name: str, words: list[str]) -> Program:
        folders = [str(ROOT), str(JOBS)] if IS_CHECKOUT else []
        if self.gateway and not self.venv.holds(MAIN):
            python = driver_python(self.environment)
            folders += self.gateway.python_path
            require_libraries(self.line.verb, python, self.environment)
        else:
            self.venv.install(MAIN)
            python = str(self.venv.python)
        return self.run(python, Module(name, words, folders, self.environment))

    def demo(self) -> Program:
        if not IS_CHECKOUT:
            raise Refused("the demo is in the source folder alone: ./spark-submit.sh demo.")
        self.refuse_spark_options()
        self.require(ROOT / "demo" / "__main__.py")
        return self.module("demo", self.line.options)

    def run(self, python: str, module: Module) -> Program:
        is_this_one = python == sys.executable and not self.venv.is_new
        return module if is_this_one else module.by(python)

    # The verbs of the launcher itself

    def set_up(self) -> None:
        if self.line.options:
            raise Refused(f"setup takes no options, got {' '.join(self.line.options)}.")
        spark, connector = self.installed()
        print(f"Python     {self.venv.version} in {self.venv.folder}")
        print(f"Spark      {spark.home}")
        if spark.java:
            print(f"Java       {spark.java.home}")
        print(f"Connector  {connector.folder}")

    def package(self) -> None:
        words = self.line.options
        if len(words) > 1 or (words[:1] and words[0].startswith("-")):
            raise Refused(f"package takes one folder, got {' '.join(words)}.")
        from session_repair.launch.package import folder

        _, connector = self.installed()
        target, jars = Path(words[0] if words else "."), map(Path, connector.jars)
        made = folder(target, connector.scala, jars, self.venv.site_packages, JOB_OF.values())
        print(made)

    def installed(self) -> tuple[Spark, Connector]:
        return spark_with_connector(self.line, self.venv, self.environment, self.gateway)

    def env(self) -> None:
        """For developers: with these locks installed, what a driver's environment has that this
        one has not, for a shell."""
        job = new_job(self.line, self.venv, self.environment, self.gateway)
        for lock in self.line.options:
            self.venv.install(lock)
        for name, value in job.environment(self.venv).items():
            if self.environment.get(name) != value:
                print(f"export {name}={shlex.quote(value)}")

    def refuse_spark_options(self) -> None:
        if self.line.spark:
            raise Refused(
                f"{self.line.verb} does not start Spark, so {' '.join(self.line.spark)} has no "
                "effect. Leave it out."
            )

    def require(self, file: Path) -> None:
        if not file.is_file():
            raise Refused(f"{self.line.verb}: {file} does not exist.")


def help_in(page: Path, verb: str) -> str:
    """What the verb's --help prints, from the page that holds it for all verbs."""
    return page.read_text("utf-8").partition(f"\n## {verb}\n\n```\n")[2].partition("```")[0]


def driver_python(environment: Mapping[str, str]) -> str:
    """The Python of a driver on this machine."""
    return environment.get(DRIVER_PYTHON) or environment.get(PYTHON) or "python3"


def require_libraries(verb: str, python: str, environment: Mapping[str, str]) -> None:
    """Raises Refused where this Python cannot import what a plain verb needs."""
    command = [python, "-c", f"import {LIBRARIES}"]
    try:
        subprocess.run(command, env=environment, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise Refused(
            f"{verb}: {python} lacks pymongo, dnspython or click. Run '{COMMAND} setup', or "
            "install them."
        ) from None
