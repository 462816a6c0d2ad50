"""Folders: what Spark does not do by itself in the file system of any Hadoop path."""

from __future__ import annotations

import re
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from session_repair.errors import Refused, RepairError

URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")


def plain(name: str) -> str:
    """The name of a folder so that Hadoop takes no character of it for a scheme or a host."""
    if URI.match(name):
        return name
    return re.sub("^/+", "/", name) if name.startswith("/") else f"./{name}"


def hadoop_path(spark: SparkSession, name: str) -> tuple[Any, Any]:
    """The file system of any Hadoop path, and the path in it."""
    path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(name)  # type: ignore[union-attr]
    return path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()), path


def move(spark: SparkSession, source: str, target: str) -> None:
    """Rename the folder: at once where the file system can."""
    files, path = hadoop_path(spark, target)
    files.mkdirs(path.getParent())
    if not files.rename(hadoop_path(spark, source)[1], path):
        raise RepairError(f"{source} could not be moved to {target}; the report is not complete.")


def require_writable_folder(spark: SparkSession, directory: str) -> None:
    """Raise Refused unless a file can be made in the ``--report`` folder, which is made here."""
    try:
        files, folder = hadoop_path(spark, directory)
        files.mkdirs(folder)
        touch(spark, f"{directory}/_probe")
        remove(spark, f"{directory}/_probe")
    except (Py4JJavaError, PySparkException) as error:
        told = error.java_exception if isinstance(error, Py4JJavaError) else error
        cause = str(told).partition("\n")[0]
        raise Refused(f"--report {directory} cannot be written: {cause}") from None


def touch(spark: SparkSession, name: str) -> None:
    """Make an empty file."""
    files, path = hadoop_path(spark, name)
    files.create(path).close()


def remove(spark: SparkSession, name: str) -> None:
    """Delete a folder with all that is in it."""
    files, path = hadoop_path(spark, name)
    files.delete(path, True)
