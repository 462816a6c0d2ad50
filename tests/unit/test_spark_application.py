"""The manifest for Kubernetes: what the operator understands, and what the package holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyspark
import pytest
import yaml
from kubeflow_spark_api.models.spark_v1beta2_spark_application import SparkV1beta2SparkApplication
from pydantic import ValidationError

from fix_empty_sessions import command
from session_repair import __version__

ROOT = Path(__file__).parents[2]
BESIDE = "local:///opt/session-repair/"  # where the Dockerfile puts the package


@pytest.fixture
def manifest() -> Any:
    return yaml.safe_load((ROOT / "deploy" / "spark-application.yaml").read_text())


def as_the_operator_reads_it(manifest: Any) -> Any:
    """What its own models keep; they drop what they do not know."""
    return SparkV1beta2SparkApplication.from_dict(manifest).to_dict()


def test_the_operator_knows_every_key_of_the_manifest(manifest: Any) -> None:
    assert as_the_operator_reads_it(manifest) == manifest
    misspelt = {**manifest, "spec": {**manifest["spec"], "mainFile": "x"}}
    assert as_the_operator_reads_it(misspelt) == manifest
    manifest["spec"]["driver"]["cores"] = "one"
    with pytest.raises(ValidationError):
        as_the_operator_reads_it(manifest)


@pytest.mark.own_spark
def test_the_manifest_runs_what_the_package_holds(manifest: Any) -> None:
    spec = manifest["spec"]
    assert (manifest["apiVersion"], manifest["kind"]) == (
        "sparkoperator.k8s.io/v1beta2",
        "SparkApplication",
    )
    assert spec["sparkVersion"] == pyspark.__version__
    assert spec["image"].endswith(f":{__version__}")
    assert (ROOT / "jobs" / spec["mainApplicationFile"].removeprefix(BESIDE)).is_file()
    assert spec["deps"]["pyFiles"] == [f"{BESIDE}session_repair.zip", f"{BESIDE}dependencies.zip"]
    pins = (ROOT / "conf" / "connector-jars-2.12.sha256").read_text().split()[1::2]
    assert sorted(spec["deps"]["jars"]) == sorted(f"{BESIDE}jars/{jar}" for jar in pins)
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert f"FROM apache/spark:{pyspark.__version__}-scala2.12-" in dockerfile
    assert "COPY session-repair-*_2.12 /opt/session-repair\n" in dockerfile


def test_the_arguments_of_the_manifest_are_those_of_the_verb(manifest: Any) -> None:
    options = command.make_context("fix", list(manifest["spec"]["arguments"])).params
    assert options["is_apply"] is True
    assert options["config"] == BESIDE.removeprefix("local://") + "session_repair.toml"
    (secret,) = manifest["spec"]["driver"]["secrets"]
    assert options["uri_file"] == f"{secret['path']}/uri"
