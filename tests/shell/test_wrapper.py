"""spark-submit.sh: what it sets up, which command it starts, and what it says when it cannot.

Each test runs a copy of the command in a folder of its own, with a blank in its name. A `Gateway`
is a folder that SPARK_HOME names, as on a cluster's gateway: its spark-submit prints how it was
started and answers --packages with files in place of downloads. Where the real Spark matters, it
is run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ROOT / "jobs" / "session_repair"
VERB_FILES = {
    "verify": "verify_sessions.py",
    "fix": "fix_empty_sessions.py",
    "delete-orphans": "delete_orphan_sessions.py",
    "resume": "resume_run.py",
}
URI = "mongodb://reader:hush@db.example:27017"

SAYS_HOW_IT_WAS_STARTED = """\
import json, os, shlex, sys
names = ["PYSPARK_DRIVER_PYTHON", "SPARK_CONF_DIR", "MONGODB_URI", "PYTHONPATH"]
argv = sys.argv[1:]
if "PYSPARK_SUBMIT_ARGS" in os.environ:  # as pyspark reads it: the options, then pyspark-shell
    argv = [*shlex.split(os.environ["PYSPARK_SUBMIT_ARGS"])[:-1], *sys.argv]
print(json.dumps({
    "argv": argv, "python": sys.executable, "cwd": os.getcwd(),
    "env": {name: os.environ.get(name) for name in names}
}))
"""

GATEWAY_SPARK_SUBMIT = f"""\
#!{sys.executable}
import pathlib, shutil, sys, time
here = pathlib.Path(__file__).parents[1]
with (here / "starts").open("a") as starts:
    print(*sys.argv[1:], file=starts)
if sys.argv[-1].endswith("nothing.py"):
    ivy = next(a for a in sys.argv if a.startswith("spark.jars.ivy=")).split("=", 1)[1]
    if (here / "offline").exists():
        sys.exit("unresolved dependency: org.mongodb#bson;5.1.4: not found")
    time.sleep(0.5)
    shutil.copytree(here / "repository", pathlib.Path(ivy, "jars"))
    sys.exit()
{SAYS_HOW_IT_WAS_STARTED}"""


Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Gateway:
    """A Spark of a cluster, and the project's command beside it."""

    home: Path
    cache: Path
    run: Run

    @property
    def jars(self) -> Path:
        return self.cache / "jars-2.12"

    @property
    def fetches(self) -> int:
        starts = self.home / "starts"
        return starts.read_text().count("--packages") if starts.exists() else 0

    def started(self, *arguments: str, **variables: str) -> dict:
        """How spark-submit was started for these arguments."""
        done = self.run(*arguments, **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def copy_of_the_project(target: Path, *, with_venv: bool = True) -> Path:
    target.mkdir(parents=True)
    shutil.copy(ROOT / "spark-submit.sh", target)
    shutil.copytree(ROOT / "conf", target / "conf")
    for lock in ROOT.glob("requirements*.lock"):
        shutil.copy(lock, target)
    if with_venv:
        (target / ".venv").symlink_to(ROOT / ".venv")
    package = target / "jobs" / "session_repair"
    shutil.copytree(OURS / "launch", package / "launch", ignore=shutil.ignore_patterns("*.pyc"))
    for file in ("errors.py", "home.py"):
        shutil.copy(OURS / file, package)
    (package / "__init__.py").write_text('__version__ = "0.0.1"\n')
    (package / "__main__.py").write_text(SAYS_HOW_IT_WAS_STARTED)
    for file in VERB_FILES.values():
        (target / "jobs" / file).write_text(SAYS_HOW_IT_WAS_STARTED)
    return target


def command_in(project: Path, folder: Path, **fixed: str) -> Run:
    """Runs the project's command in `folder`, with none of the caller's Spark settings."""
    folder.mkdir(exist_ok=True)
    ours = ("SPARK", "PYSPARK", "PYTHON", "SESSION_REPAIR", "MONGODB")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [project / "spark-submit.sh", *arguments],
            cwd=folder,
            env=environment | fixed | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_of_the_project(tmp_path / "my project")


@pytest.fixture
def local(project: Path, tmp_path: Path) -> Run:
    """The command without a cluster: the real Spark in .venv, the real jars."""
    return command_in(project, tmp_path / "the user's folder")


@pytest.fixture
def gateway(project: Path, tmp_path: Path) -> Gateway:
    """The command beside a cluster's Spark, which has files in place of the real jars."""
    home, cache = tmp_path / "spark home", tmp_path / "the cache"
    for name in ("bin", "conf", "jars", "repository"):
        (home / name).mkdir(parents=True)
    (home / "bin" / "spark-submit").write_text(GATEWAY_SPARK_SUBMIT)
    (home / "bin" / "spark-submit").chmod(0o755)
    (home / "jars" / "scala-library-2.12.18.jar").touch()
    pins = project / "conf" / "connector-jars-2.12.sha256"
    names = [line.split()[1] for line in pins.read_text().splitlines()]
    for name in names:
        (home / "repository" / name).write_text(f"content of {name}")
    pins.write_text("".join(f"{sha256(home / 'repository' / name)}  {name}\n" for name in names))
    run = command_in(
        project, tmp_path / "folder", SPARK_HOME=str(home), SESSION_REPAIR_CACHE=str(cache)
    )
    return Gateway(home, cache, run)


@pytest.fixture
def ready(gateway: Gateway) -> Gateway:
    """A gateway whose cache holds the connector."""
    done = gateway.run("setup")
    assert done.returncode == 0, done.stderr
    return gateway


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def one_line(text: str) -> str:
    """The only line of `text`, which names the command that speaks."""
    (line,) = text.splitlines()
    assert line.startswith("spark-submit.sh: ")
    return line


def values(argv: list[str], option: str) -> list[str]:
    return [argv[i + 1] for i, word in enumerate(argv[:-1]) if word == option]


# --- the command line ---


@pytest.mark.parametrize(("verb", "file"), VERB_FILES.items())
def test_a_spark_verb_runs_its_file_with_its_own_options_only(
    ready: Gateway, project: Path, verb: str, file: str
) -> None:
    argv = ready.started(verb, "--since", "2024-01-01", "two words", "")["argv"]
    script = argv.index(str(project / "jobs" / file))
    assert argv[script + 1 :] == ["--since", "2024-01-01", "two words", ""]


def test_the_command_works_through_a_link_and_keeps_the_users_folder(
    ready: Gateway, project: Path, tmp_path: Path
) -> None:
    command = tmp_path / "a link"
    command.symlink_to(project / "spark-submit.sh")
    folder = tmp_path / "folder"
    done = subprocess.run(
        [command, "verify", "--json", "out.json"],
        cwd=folder,
        env=os.environ | {"SPARK_HOME": str(ready.home), "SESSION_REPAIR_CACHE": str(ready.cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    started = json.loads(done.stdout)
    assert started["cwd"] == str(folder)
    assert started["argv"][-3:] == [
        str(project / "jobs" / "verify_sessions.py"), "--json", "out.json"
    ]  # fmt: skip


# --- the verbs in plain Python ---


def test_a_plain_verb_runs_the_package_and_not_a_namesake_in_the_users_folder(
    local: Run, project: Path, tmp_path: Path
) -> None:
    namesake = tmp_path / "the user's folder" / "session_repair"
    namesake.mkdir()
    (namesake / "__init__.py").touch()
    (namesake / "__main__.py").write_text("raise SystemExit('the wrong one')")
    done = local("undo", "r1", "--apply", MONGODB_URI=URI)
    assert done.returncode == 0, done.stderr
    started = json.loads(done.stdout)
    assert started["argv"] == ["undo", "r1", "--apply"]
    assert started["cwd"] == str(namesake.parent)
    assert started["env"]["PYTHONPATH"] == f"{project}:{project}/jobs"
    assert started["env"]["MONGODB_URI"] == URI


def test_a_plain_verb_on_a_gateway_without_its_libraries_names_them(
    tmp_path: Path, gateway: Gateway, project: Path
) -> None:
    (project / ".venv").unlink()
    python = tmp_path / "bare-python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    done = gateway.run("runs", PYSPARK_PYTHON=str(python))
    assert done.returncode == 2
    assert "lacks pymongo, dnspython or click" in one_line(done.stderr)
    assert not (project / ".venv").exists()


def test_a_plain_verb_on_a_gateway_finds_the_pyspark_of_its_spark(
    tmp_path: Path, gateway: Gateway, project: Path
) -> None:
    (project / ".venv").unlink()
    py4j = gateway.home / "python" / "lib" / "py4j-0.10.9.7-src.zip"
    py4j.parent.mkdir(parents=True)
    py4j.touch()
    done = gateway.run("undo", "r1", PYSPARK_PYTHON=str(ROOT / ".venv" / "bin" / "python"))
    assert done.returncode == 0, done.stderr
    path = [f"{project}", f"{project}/jobs", f"{gateway.home}/python", str(py4j)]
    assert json.loads(done.stdout)["env"]["PYTHONPATH"] == ":".join(path)


# --- the gateway of a cluster ---


def test_a_gateway_without_a_venv_runs_a_job_by_its_own_python(
    ready: Gateway, project: Path
) -> None:
    (project / ".venv").unlink()
    started = ready.started(
        "verify", "--json", "-", PYSPARK_PYTHON=f"{sys.base_prefix}/bin/python3"
    )
    assert started["argv"][-3:] == [str(project / "jobs" / "verify_sessions.py"), "--json", "-"]
    assert started["python"] == f"{sys.base_prefix}/bin/python3"
    assert not (project / ".venv").exists()


@pytest.mark.parametrize(
    "given",
    [
        ["--jars", "first.jar", "--jars", "mine.jar"],
        ["--jars=mine.jar"],
        ["--conf", "spark.jars=mine.jar"],
        [],
    ],
)
def test_the_jars_of_the_user_and_of_the_cluster_stay_beside_ours(
    ready: Gateway, given: list[str]
) -> None:
    (ready.home / "conf" / "spark-defaults.conf").write_text("spark.jars cluster.jar\n")
    argv = ready.started(*given, "verify")["argv"]
    theirs, *ours = values(argv, "--jars")[-1].split(",")  # the last --jars is the one that counts
    assert theirs == ("mine.jar" if given else "cluster.jar")
    assert len(ours) == 5
    assert all(Path(jar).parent == ready.jars and Path(jar).is_file() for jar in ours)


IMPORTS_ALL = """\
import bson, click, dns.resolver, pymongo, session_repair, tomli
found = sorted(module.__file__.split(".zip")[0] for module in (click, session_repair))
print(bson.has_c(), *found, sep="\\n")
"""


def test_in_cluster_mode_all_that_the_driver_imports_travels(
    ready: Gateway,
) -> None:
    before = sorted(file.name for file in ready.cache.iterdir())
    started = ready.started("--deploy-mode", "cluster", "--py-files", "mine.py", "fix")
    theirs, *zips = values(started["argv"], "--py-files")[-1].split(",")
    assert theirs == "mine.py"
    made = sorted(file.name for file in ready.cache.iterdir() if file.name not in before)
    assert made == sorted(Path(zip_).name for zip_ in zips)
    dependencies, ours = made
    assert dependencies.startswith("dependencies-")
    assert ours.startswith("session_repair-")
    assert sum(Path(zip_).stat().st_size for zip_ in zips) < 3_000_000
    imported = subprocess.run(
        # Without its site-packages: a Python that has nothing.
        [Path(sys.base_prefix, "bin", "python3"), "-S", "-c", IMPORTS_ALL],
        env={"PYTHONPATH": ":".join(zips)},
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    found = [str(ready.cache / name.removesuffix(".zip")) for name in made]
    assert imported.stdout.splitlines() == ["False", *found]  # no C extension
    assert started["env"]["PYSPARK_DRIVER_PYTHON"] is None  # a path of this machine


def test_the_package_is_one_folder_with_checksums_and_the_same_whenever_it_is_made(
    ready: Gateway, project: Path, tmp_path: Path
) -> None:
    sums = []
    for name in ("first", "second"):
        done = ready.run("package", f"../{name}")
        assert done.returncode == 0, done.stderr
        (made,) = (tmp_path / name).iterdir()
        assert (tmp_path / "folder" / done.stdout.strip()).resolve() == made
        subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=made, check=True)
        sums.append((made / "SHA256SUMS").read_text())
        os.utime(project / "jobs" / "session_repair" / "__init__.py", (0, 0))  # another checkout
    assert sums[0] == sums[1]
    held = [line.split()[1] for line in (made / "SHA256SUMS").read_text().splitlines()]
    assert sorted(held) == sorted(
        [
            *VERB_FILES.values(),
            *(f"jars/{jar.name}" for jar in ready.jars.iterdir()),
            "dependencies.zip",
            "session_repair.schema.json",
            "session_repair.toml",
            "session_repair.zip",
        ]
    )
    assert made.name == "session-repair-0.0.1_2.12"
    first_line = (made / "session_repair.toml").read_text().partition("\n")[0]
    schema = json.loads((made / first_line.removeprefix("#:schema ")).read_text())
    assert schema["title"] == "Settings of session-repair"


def test_in_client_mode_the_driver_takes_our_python_unless_the_user_names_one(
    ready: Gateway, project: Path
) -> None:
    ours = ready.started("verify")
    assert ours["env"]["PYSPARK_DRIVER_PYTHON"] == str(project / ".venv" / "bin" / "python")
    assert ours["python"] == str(project / ".venv" / "bin" / "python")
    theirs = ready.started("verify", PYSPARK_PYTHON="python3")
    assert theirs["env"]["PYSPARK_DRIVER_PYTHON"] is None
    assert theirs["python"] != ours["python"]


def test_the_drivers_stderr_stays_apart_from_its_stdout(ready: Gateway, project: Path) -> None:
    (project / "jobs" / "fix_empty_sessions.py").write_text("raise SystemExit('it complains')")
    done = ready.run("fix")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "it complains\n")


def test_the_address_of_the_database_is_in_no_command_line(ready: Gateway) -> None:
    started = ready.started("verify", MONGODB_URI=URI)
    assert started["env"]["MONGODB_URI"] == URI
    assert "hush" not in (ready.home / "starts").read_text()


# --- the connector's jars ---


def test_the_connector_is_fetched_once(ready: Gateway) -> None:
    for _ in range(2):
        assert ready.run("setup").returncode == 0
    assert ready.fetches == 1
    assert sorted(f.name for f in ready.cache.iterdir()) == ["jars-2.12", "lock"]


def test_a_damaged_jar_is_fetched_anew(ready: Gateway) -> None:
    jar = ready.jars / "org.mongodb_bson-5.1.4.jar"
    good = sha256(jar)
    with jar.open("ab") as file:
        file.write(b"!")
    refused = ready.run("verify")  # nothing is fetched unasked on a gateway
    assert (refused.returncode, ready.fetches) == (2, 1)
    assert ready.run("setup").returncode == 0
    assert (sha256(jar), ready.fetches) == (good, 2)


def test_a_download_with_another_hash_is_refused(gateway: Gateway) -> None:
    (gateway.home / "repository" / "org.mongodb_bson-5.1.4.jar").write_text("something else")
    done = gateway.run("setup")
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert "refused what was fetched: org.mongodb_bson-5.1.4.jar has not the SHA-256 of" in said
    assert not gateway.jars.exists()


def test_a_fetch_that_fails_says_why_and_leaves_nothing(gateway: Gateway) -> None:
    (gateway.home / "offline").touch()
    done = gateway.run("setup")
    assert done.returncode == 1
    assert "unresolved dependency: org.mongodb#bson;5.1.4" in done.stderr.splitlines()[-1]
    (gateway.home / "offline").unlink()
    assert gateway.run("setup").returncode == 0


def test_what_an_interrupted_fetch_left_is_cleared_away(gateway: Gateway) -> None:
    (gateway.cache / "fetch.aBcDeF" / "jars").mkdir(parents=True)
    gateway.jars.mkdir()
    (gateway.jars / "org.mongodb_bson-5.1.4.jar").write_text("half of it")
    assert gateway.run("setup").returncode == 0
    assert sorted(f.name for f in gateway.cache.iterdir()) == ["jars-2.12", "lock"]
    assert "--jars" in gateway.started("verify")["argv"]


def test_two_starts_at_once_fetch_once(gateway: Gateway, project: Path) -> None:
    environment = os.environ | {
        "SPARK_HOME": str(gateway.home), "SESSION_REPAIR_CACHE": str(gateway.cache)
    }  # fmt: skip
    starts = [
        subprocess.Popen(
            [project / "spark-submit.sh", "setup"], env=environment, stdout=subprocess.DEVNULL
        )
        for _ in range(3)
    ]
    assert [start.wait(60) for start in starts] == [0, 0, 0]
    assert gateway.fetches == 1


# --- .venv ---


@pytest.fixture
def bare(tmp_path: Path) -> tuple[Path, Run]:
    """A project without .venv, and a `python3` that notes what is asked of it, no more."""
    project = copy_of_the_project(tmp_path / "bare project", with_venv=False)
    tools = tmp_path / "tools"
    tools.mkdir()
    python = tools / "python3"
    python.write_text(f"""\
#!/bin/bash
echo "$@" >> "{tools}/asked"
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin"; ln -s "{tools}/python3" "$3/bin/python" ;;
  "-m pip") [[ ! -e "{tools}/offline" ]] || {{ echo "ERROR: no route to host"; exit 1; }} ;;
  *) exec -a "$0" "{sys.base_prefix}/bin/python3" "$@" ;;
esac
""")
    python.chmod(0o755)
    run = command_in(project, tmp_path / "folder", PATH=f"{tools}:{os.environ['PATH']}")
    return tools, run


def asked(tools: Path, what: str) -> int:
    return sum(what in line for line in (tools / "asked").read_text().splitlines())


def test_a_complete_venv_is_left_as_it_is(
    bare: tuple[Path, Run],
) -> None:
    tools, run = bare
    for _ in range(2):
        assert run("runs").returncode == 0
    assert (asked(tools, "-m venv"), asked(tools, "-m pip")) == (1, 2)
    assert asked(tools, "-m pip") == asked(tools, "--require-hashes")


def test_an_install_that_failed_is_said_in_one_line_and_made_good_by_the_next_start(
    bare: tuple[Path, Run],
) -> None:
    tools, run = bare
    (tools / "offline").touch()
    failed = run("runs")
    assert failed.returncode == 1
    assert "ERROR: no route to host" in failed.stderr.splitlines()[-1]
    (tools / "offline").unlink()
    assert run("runs").returncode == 0
    assert asked(tools, "-m venv") == 2


def test_a_venv_is_made_anew_for_another_lock(bare: tuple[Path, Run], tmp_path: Path) -> None:
    tools, run = bare
    assert run("runs").returncode == 0
    with (tmp_path / "bare project" / "requirements.lock").open("a") as lock:
        lock.write("# a change\n")
    assert run("runs").returncode == 0
    assert asked(tools, "-m venv") == 2


# --- the real Spark ---


@pytest.mark.needs("spark_process")
def test_a_local_run_has_our_settings_and_the_connector(local: Run, project: Path) -> None:
    (project / "jobs" / "verify_sessions.py").write_text("""\
import json, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
jvm = spark._jvm
log = jvm.org.apache.logging.log4j.LogManager.getContext(False).getConfiguration()
loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
print(json.dumps({
    "argv": sys.argv[1:],
    "master": spark.conf.get("spark.master"),
    "name": spark.conf.get("spark.app.name"),
    "bar": spark.conf.get("spark.ui.showConsoleProgress"),
    "log": log.getConfigurationSource().getLocation(),
    "connector": loader.loadClass("com.mongodb.spark.sql.connector.MongoTableProvider").getName(),
    "jvm": list(jvm.java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments()),
}))
sys.exit(3)
""")
    done = local("--name", "verify", "--master", "local[1]", "verify", "a b", MONGODB_URI=URI)
    assert done.returncode == 3, done.stderr
    assert "hush" not in done.stdout + done.stderr
    facts = json.loads(done.stdout)
    assert facts["argv"] == ["a b"]
    assert (facts["master"], facts["name"], facts["bar"]) == ("local[1]", "verify", "false")
    assert facts["log"].endswith("my project/conf/log4j2.properties")
    assert facts["connector"].startswith("com.mongodb.spark")
    assert "-XX:+UseParallelGC" in facts["jvm"]


CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBlDCCATmgAwIBAgIUKcaeKjZlySCxZC4/w8/O8gz/bWkwCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTc2Vzc2lvbi1yZXBhaXIgdGVzdDAgFw0yNjExMjIyMjM3MDFa
GA8yMTI2MTAyOTIyMzcwMVowHjEcMBoGA1UEAwwTc2Vzc2lvbi1yZXBhaXIgdGVz
dDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABPMEcDtTWFfKtonadreoakaovLxZ
p5S0qGo30MdMs7Gpp3k34C+1NZTgc5EeuuL7BqNVa1jl+tTvlJjXG+38ZsijUzBR
MB0GA1UdDgQWBBSo8YFbOvRbEc5UUU8KqdxZtybEEzAfBgNVHSMEGDAWgBSo8YFb
OvRbEc5UUU8KqdxZtybEEzAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0kA
MEYCIQC3Lqe2dFqU4ZGMLnd7i6gMJ43zZUoXNykvdiN/8pMmkgIhANwF19U5RPqg
/Ai1JJ4X3BDoomzaBgrCYJBKqbi5Tkq5
-----END CERTIFICATE-----
"""


@pytest.mark.needs("spark_process")
def test_java_reads_the_certificates_of_ssl_cert_file(
    local: Run, project: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "own certificates.pem"
    bundle.write_text(f"# a comment\n{CERTIFICATE}\n{CERTIFICATE}")
    (project / "jobs" / "verify_sessions.py").write_text("""\
import json
from pyspark import SparkContext
jvm = SparkContext("local[1]")._jvm
factory = jvm.javax.net.ssl.TrustManagerFactory.getInstance("PKIX")
factory.init(None)
issuers = factory.getTrustManagers()[0].getAcceptedIssuers()
print(json.dumps([issuer.getSubjectX500Principal().getName() for issuer in issuers]))
""")
    cache = tmp_path / "cache of certificates"
    cache.mkdir()
    (cache / "jars-2.12").symlink_to(default_cache() / "jars-2.12")
    done = local("verify", SSL_CERT_FILE=str(bundle), SESSION_REPAIR_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {"CN=session-repair test"}


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SESSION_REPAIR_CACHE") or Path(base) / "session-repair")
