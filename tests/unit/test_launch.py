"""What a command line leads to, without a process: who is started, with which words, in what."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from session_repair.errors import Refused
from session_repair.home import DEFAULT_CONFIG, JOBS, ROOT
from session_repair.launch import command
from session_repair.launch.command import main, program_of
from session_repair.launch.locks import MAIN, Venv
from session_repair.launch.options import CommandLine, parse, without_option
from session_repair.launch.program import Command, Module
from session_repair.launch.properties import SparkSettings, properties, read_settings
from session_repair.launch.spark import cache_of, gateway_spark

VENV_PYTHON = str(ROOT / ".venv" / "bin" / "python")
IN_CLUSTER_MODE = ("--master", "yarn", "--deploy-mode", "cluster")


@pytest.fixture
def gateway(tmp_path: Path) -> Path:
    """The Spark of a cluster's gateway, which has a connector of its own."""
    home = tmp_path / "spark home"
    for name in ("bin", "conf", "jars", "python/lib"):
        (home / name).mkdir(parents=True)
    for name in ("bin/spark-submit", "jars/scala-library-2.12.18.jar"):
        (home / name).touch()
    (home / "jars" / "mongo-spark-connector_2.12-10.5.0.jar").touch()
    (home / "python" / "lib" / "py4j-0.10.9.7-src.zip").touch()
    return home


def started(gateway: Path, *words: str, **variables: str) -> Command | Module:
    """What the words are handed over to beside a gateway's Spark."""
    environment = {
        "SPARK_HOME": str(gateway),
        "SESSION_REPAIR_CACHE": str(gateway.parent / "cache"),
        "PATH": os.environ["PATH"],
        **variables,
    }
    program = program_of(parse(words), environment)
    assert program is not None
    return program


def hadoop(gateway: Path) -> str:
    """A folder that says where YARN is."""
    folder = gateway.parent / "hadoop"
    folder.mkdir(exist_ok=True)
    (folder / "yarn-site.xml").touch()
    return str(folder)


def spark_words(gateway: Path, *words: str) -> list[str]:
    """What Spark is told for them."""
    told = shlex.split(started(gateway, *words).environment["PYSPARK_SUBMIT_ARGS"])
    assert told.pop() == "pyspark-shell"
    return told


def values(words: list[str], option: str) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words[:-1]) if word == option]


# The command line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--name", "verify", "fix", "--name", "x"],
            CommandLine(
                ["--name", "verify"], {"--name": "verify"}, {}, False, "fix", ["--name", "x"]
            ),
        ),
        (
            ["--name=verify", "verify", "verify"],
            CommandLine(
                ["--name", "verify"], {"--name": "verify"}, {}, False, "verify", ["verify"]
            ),
        ),
        (
            ["--verbose", "-v", "--supervise", "fix", "two words", ""],
            CommandLine(
                ["--verbose", "-v", "--supervise"],
                {"--verbose": "", "-v": "", "--supervise": ""},
                {},
                False,
                "fix",
                ["two words", ""],
            ),
        ),
        (
            ["-c", "a=b=c", "--conf=a=d", "--conf", "none", "runs"],
            CommandLine(
                ["--conf", "a=b=c", "--conf", "a=d", "--conf", "none"],
                {"--conf": "none"},
                {"a": "d"},
                False,
                "runs",
                [],
            ),
        ),
        (["--version"], CommandLine(["--version"], {"--version": ""})),
        (["--name", "fix", "-h", "x"], CommandLine(["--name", "fix"], {"--name": "fix"}, {}, True)),
        ([], CommandLine()),
    ],
)
def test_a_command_line_is_spark_options_a_verb_and_its_options(
    words: list[str], line: CommandLine
) -> None:
    assert parse(words) == line


@pytest.mark.parametrize("words", [["--master"], ["--name", "x", "-c"]])
def test_a_spark_option_without_a_value_is_refused(words: list[str]) -> None:
    with pytest.raises(Refused, match=f"^{words[-1]} has no value, and no verb follows"):
        parse(words)


@pytest.mark.parametrize(
    ("words", "kept", "value"),
    [
        (["--apply"], ["--apply"], None),
        (["--config", "a", "--apply", "--config=b=c"], ["--apply"], "b=c"),
        (["--apply", "--config"], ["--apply"], ""),
        (["--configs", "a"], ["--configs", "a"], None),
    ],
)
def test_an_option_of_the_verb_is_taken_out(
    words: list[str], kept: list[str], value: str | None
) -> None:
    assert without_option(words, "--config") == (kept, value)


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_shows_every_verb_on_stdout(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 0
    told = capsys.readouterr()
    verbs = [*command.JOB_OF, *command.PLAIN, "demo", "setup", "package"]
    assert [verb for verb in verbs if f"\n  {verb} " not in told.out] == []
    assert told.err == ""


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("verb", [*command.JOB_OF, *command.PLAIN, *command.SET_UP, "env"])
def test_every_verb_has_help_without_a_spark(
    tmp_path: Path,
    verb: str,
    option: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A set-up, a cache or a Java would be asked for where there is none."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(command, "new_job", pytest.fail)
    monkeypatch.setattr(command, "spark_with_connector", pytest.fail)
    program = program_of(parse([verb, option]), {"SESSION_REPAIR_CACHE": str(cache)})
    assert not cache.exists()
    if program is None:
        assert capsys.readouterr().out.startswith(f"usage: ./spark-submit.sh {verb}")
    else:
        assert isinstance(program, Module)
        assert program.words[-1] == option


def test_a_python_without_docstrings_is_told_so() -> None:
    run = [sys.executable, "-OO", str(JOBS / "session_repair" / "launch"), "verify", "--help"]
    ended = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        2,
        "",
        "spark-submit.sh: PySpark does not work with PYTHONOPTIMIZE=2 or python -OO. Unset it.\n",
    )


def test_a_cache_that_takes_no_file_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lock").mkdir()
    monkeypatch.delenv("SPARK_HOME", raising=False)
    monkeypatch.setenv("SESSION_REPAIR_CACHE", str(tmp_path))
    assert main(["setup"]) == 2
    told = f"spark-submit.sh: {tmp_path}/lock: Is a directory. Correct that, and start again.\n"
    assert capsys.readouterr() == ("", told)


@pytest.mark.parametrize(("given", "java"), [("C", "C.UTF-8"), ("POSIX", "C.UTF-8"), ("x", "x")])
def test_java_can_name_any_file_whatever_the_locale(gateway: Path, given: str, java: str) -> None:
    assert started(gateway, "verify", LC_ALL=given).environment["LC_ALL"] == java


def test_no_verb_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", command.USAGE)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["repair"], "unknown verb 'repair'. ./spark-submit.sh --help lists the verbs."),
        (
            ["verfy"],
            "unknown verb 'verfy'. Did you mean verify? ./spark-submit.sh --help lists the verbs.",
        ),
        (
            ["--mastr", "local[2]", "verify"],
            "Spark has no option --mastr. Did you mean --master? Spark's own stand before the "
            "verb, the verb's after it.",
        ),
        (
            ["--uri-file=x", "setup"],
            "Spark has no option --uri-file. Spark's own stand before the verb, the verb's after "
            "it.",
        ),
        (
            [*IN_CLUSTER_MODE, "fix", "--apply"],
            "in cluster mode MONGODB_URI does not reach the driver. Write the address into a file "
            "on the node, or pass one by --files, and name it with --uri-file.",
        ),
        (
            ["--master"],
            "--master has no value, and no verb follows. ./spark-submit.sh --help shows the usage.",
        ),
        (
            ["--apply", "fix"],
            "no verb after --apply fix. Spark options stand before the verb, its own after it.",
        ),
        (
            ["--master", "yarn", "runs"],
            "runs does not start Spark, so --master yarn has no effect. Leave it out.",
        ),
        (["setup", "now"], "setup takes no options, got now."),
        (["package", "a", "b"], "package takes one folder, got a b."),
        (
            [*IN_CLUSTER_MODE, "fix", "--config", "none.toml"],
            "--config none.toml cannot be read. Name a readable TOML file.",
        ),
        (
            ["--master", "spark://h:7077", "--deploy-mode", "cluster", "fix"],
            "a standalone cluster runs no Python driver on its workers. Leave out --deploy-mode "
            "cluster.",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    gateway: Path,
    words: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPARK_HOME", str(gateway))
    monkeypatch.setenv("HADOOP_CONF_DIR", hadoop(gateway))
    assert main(words) == 2
    assert capsys.readouterr() == ("", f"spark-submit.sh: {says}\n")


def test_a_verb_without_its_file_is_refused_by_name(
    gateway: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "JOBS", tmp_path)
    with pytest.raises(Refused, match=f"^resume: {tmp_path}/resume_run.py does not exist.$"):
        started(gateway, "resume", "r1")


# Which settings count


def test_a_properties_file_is_read_as_spark_reads_it() -> None:
    text = "# a=b\n! c=d\n\nkey value\n  spaced :  two words  \nis=a=b\n\ttab\tx\\\\y\nempty\n"
    assert properties(text) == {"key": "value", "spaced": "two words", "is": "a=b", "tab": "x\\y"}


def settings(*words: str, **in_file: str) -> SparkSettings:
    return SparkSettings(parse([*words, "fix"]), {f"spark.{k}": v for k, v in in_file.items()}, {})


@pytest.mark.parametrize(
    ("found", "value"),
    [
        (settings("--jars", "a", "--jars", "b", "--conf", "spark.jars=c", jars="d"), "b"),
        (settings("--conf", "spark.jars=c", jars="d"), "c"),
        (settings(jars="d"), "d"),
        (settings(), ""),
    ],
)
def test_an_option_counts_before_a_conf_and_that_before_the_file(
    found: SparkSettings, value: str
) -> None:
    assert found.value("--jars", "spark.jars") == value
    assert found.joined("--jars", "spark.jars", ["x", "y"]) == [
        "--jars", f"{value},x,y" if value else "x,y"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "is_cluster_mode", "is_local"),
    [
        (settings(), False, True),
        (settings("--master", "local[2]", "--deploy-mode", "client"), False, True),
        (settings("--master=yarn", "--deploy-mode=cluster"), True, False),
        (settings("-c", "spark.submit.deployMode=cluster", master="yarn"), True, False),
    ],
)
def test_mode_and_master_are_known_however_they_are_said(
    found: SparkSettings, is_cluster_mode: bool, is_local: bool
) -> None:
    assert (found.is_cluster_mode, found.is_local) == (is_cluster_mode, is_local)


def test_our_settings_give_way_to_those_of_the_users_own_file(tmp_path: Path) -> None:
    for name in ("conf", "theirs"):
        (tmp_path / name).mkdir()
    ours = "spark.a 1\nspark.b 2\n# Only without a cluster: \nspark.c 3\n"
    (tmp_path / "conf" / "spark-defaults.conf").write_text(ours)
    (tmp_path / "theirs" / "spark-defaults.conf").write_text("spark.b 9\n")

    def options(*words: str, is_gateway: bool = False, folder: str = "nowhere") -> list[str]:
        line, conf = parse([*words, "fix"]), tmp_path / "conf"
        variables = {"SPARK_CONF_DIR": f"{tmp_path}/{folder}"}
        return read_settings(line, tmp_path, variables, conf, is_gateway=is_gateway).options

    assert options() == ["--conf", "spark.a=1", "--conf", "spark.b=2", "--conf", "spark.c=3"]
    assert options(is_gateway=True) == ["--conf", "spark.a=1", "--conf", "spark.b=2"]
    assert options(folder="theirs") == ["--conf", "spark.a=1", "--conf", "spark.c=3"]
    named = ["--properties-file", f"{tmp_path}/theirs/spark-defaults.conf"]
    assert options(*named) == ["--conf", "spark.a=1", "--conf", "spark.c=3", *named]
    assert options("--conf", "spark.a=5")[-2:] == ["--conf", "spark.a=5"]  # the last one counts


def test_a_gateway_keeps_its_master_its_ui_its_collector_and_its_settings(gateway: Path) -> None:
    theirs = "# theirs\nspark.sql.adaptive.enabled=false\nspark.driver.memory\t8g\n"
    (gateway / "conf" / "spark-defaults.conf").write_text(theirs)
    told = values(spark_words(gateway, "--conf", "spark.speculation=true", "verify"), "--conf")
    assert told == [
        "spark.speculation=false",
        "spark.yarn.maxAppAttempts=1",
        "spark.ui.showConsoleProgress=false",
        "spark.speculation=true",
    ]


# The gateway of a cluster


def test_a_gateway_that_is_none_is_refused(gateway: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=f"^SPARK_HOME is {tmp_path}, which has no bin/spark-submit"):
        started(gateway, "verify", SPARK_HOME=str(tmp_path))
    assert gateway_spark({"SPARK_HOME": ""}) is None


def test_a_gateway_without_the_connector_is_told_what_to_do(gateway: Path) -> None:
    (gateway / "jars" / "mongo-spark-connector_2.12-10.5.0.jar").unlink()
    with pytest.raises(Refused) as refused:
        started(gateway, "verify")
    assert str(refused.value) == (
        f"the MongoDB connector is not in {gateway.parent}/cache/jars-2.12. Run './spark-submit.sh "
        "setup', or pass --packages org.mongodb.spark:mongo-spark-connector_2.12:10.5.0,"
        "org.mongodb:bson:5.1.4,org.mongodb:bson-record-codec:5.1.4,"
        "org.mongodb:mongodb-driver-core:5.1.4,org.mongodb:mongodb-driver-sync:5.1.4"
    )
    assert not (gateway.parent / "cache").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--packages", "org.mongodb.spark:mongo-spark-connector_2.12:10.5.0"),
        ("--jars", "mongo-spark-connector_2.12-10.5.0.jar"),
        (),
    ],
)
def test_a_connector_of_the_users_own_or_the_clusters_is_left_alone(
    gateway: Path, options: tuple[str, ...]
) -> None:
    if options:
        (gateway / "jars" / "mongo-spark-connector_2.12-10.5.0.jar").unlink()
    told = spark_words(gateway, *options, "verify")
    assert told[-2:] == [*options] if options else "--jars" not in told


@pytest.mark.own_spark
def test_in_client_mode_the_driver_takes_our_python_unless_the_user_names_one(
    gateway: Path,
) -> None:
    folders = [str(JOBS), f"{gateway}/python", f"{gateway}/python/lib/py4j-0.10.9.7-src.zip"]
    words = ("verify", "--json", "-")
    ours = started(gateway, *words)
    assert isinstance(ours, Module)  # the Python of these tests is that of .venv
    assert (ours.name, ours.words, ours.folders) == ("verify_sessions", ["--json", "-"], folders)
    assert ours.environment["PYSPARK_DRIVER_PYTHON"] == VENV_PYTHON
    for name in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        theirs = started(gateway, *words, **{name: "/their/python"})
        assert isinstance(theirs, Command)
        assert theirs.words[0] == "/their/python"
        assert theirs.words[-3:] == ["verify_sessions", "--json", "-"]
        assert theirs.environment["PYTHONPATH"] == ":".join(folders)
        pythons = {k: v for k, v in theirs.environment.items() if k.startswith("PYSPARK_")}
        del pythons["PYSPARK_SUBMIT_ARGS"]
        assert pythons == {name: "/their/python"}


@pytest.mark.parametrize("given", [["--config", "my own.toml"], ["--config=my own.toml"], []])
def test_in_cluster_mode_the_settings_travel(
    gateway: Path, tmp_path: Path, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my own.toml").touch()
    told = ("--uri-file", "/etc/uri") if given else ("--uri-file=/etc/uri",)
    words = (*IN_CLUSTER_MODE, "--files", "a.txt", "fix", *given, "--apply", *told)
    program = started(gateway, *words, HADOOP_CONF_DIR=hadoop(gateway))
    assert isinstance(program, Command)
    assert program.words[0] == f"{gateway}/bin/spark-submit"
    file = "my own.toml" if given else str(DEFAULT_CONFIG)
    assert values(program.words, "--files")[-1] == f"a.txt,{file}"
    script = program.words.index(str(JOBS / "fix_empty_sessions.py"))
    assert program.words[script + 1 :] == ["--apply", *told, "--config", Path(file).name]


@pytest.mark.parametrize(
    "options",
    [
        ("--conf", "spark.yarn.appMasterEnv.MONGODB_URI=x"),
        ("--master", "k8s://h"),  # whose pod may have it from a secret
    ],
)
def test_in_cluster_mode_the_address_may_come_otherwise(
    gateway: Path, options: tuple[str, ...]
) -> None:
    words = (*IN_CLUSTER_MODE, *options, "verify")
    assert isinstance(started(gateway, *words, HADOOP_CONF_DIR=hadoop(gateway)), Command)


# The cache


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"HOME": "/home/a"}, "/home/a/.cache/session-repair"),
        ({"HOME": "/home/a", "XDG_CACHE_HOME": "/var/b"}, "/var/b/session-repair"),
        ({"XDG_CACHE_HOME": "/var/b", "SESSION_REPAIR_CACHE": "/c"}, "/c"),
        ({"SESSION_REPAIR_CACHE": "c"}, f"{Path.cwd()}/c"),
    ],
)
def test_the_cache_is_where_the_user_says(environment: dict[str, str], folder: str) -> None:
    assert cache_of(environment) == Path(folder)


def test_a_venv_whose_python_its_user_may_not_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root makes one of a Python below /root, for a user of cron."""
    of_root, python = tmp_path / "python3", tmp_path / ".venv" / "bin" / "python"
    of_root.touch(0o644)
    python.parent.mkdir(parents=True)
    python.symlink_to(of_root)
    (tmp_path / f"{MAIN}.lock").touch()
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, how: how != os.W_OK and may(path, how))
    with pytest.raises(Refused) as refused:
        Venv(tmp_path, {}).install(MAIN)
    assert str(refused.value) == (
        f"this user may not run {of_root}, the Python of .venv. Remove .venv and make it of one "
        "that everybody may, as its owner: PATH=/usr/bin:/bin ./spark-submit.sh setup"
    )
