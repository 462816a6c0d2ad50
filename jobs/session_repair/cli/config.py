"""Config: where each setting comes from, and what a config file may say."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from session_repair.cli.layers import IN_A_FILE, layers_of, load_settings, read_uri
from session_repair.home import DEFAULT_CONFIG
from session_repair.reporting.notify import URL_VARIABLE
from session_repair.settings import SETTINGS, describe
from session_repair.written import as_written, text_of

DRAFT = "https://json-schema.org/draft/2020-12/schema"
SECRET = "(a secret)"


def setting_lines(
    uri_file: str | None, config: str | None, given: Mapping[str, Any]
) -> Iterator[str]:
    """A line for each setting: its name as it is written, its value as JSON, where that comes from.

    Without a connection string the settings are those that one without a database leads to. Raises
    Refused on what a run would be refused for.
    """
    given = dict(given)
    notify = given.pop("notify", None)
    is_set = uri_file is not None or bool(os.environ.get("MONGODB_URI", "").strip())
    uri = read_uri(uri_file) if is_set else ""
    address = f"file {uri_file}" if uri_file else "environment MONGODB_URI"
    file = f"file {config or DEFAULT_CONFIG}"
    sources = (f"connection string of {address}", file, "command line")
    origin = {
        path: source
        for source, layer in zip(sources, layers_of(uri, config, given), strict=True)
        for path in as_written(layer)
    }
    yield setting_line("uri", SECRET if is_set else text_of(None), address if is_set else "not set")
    if notify:
        yield setting_line("notify", SECRET, "command line")
    elif os.environ.get(URL_VARIABLE):
        yield setting_line("notify", SECRET, f"environment {URL_VARIABLE}")
    settings = describe(load_settings(uri, config, given))
    for name in ("asked", "reached_by", "named_by"):
        del settings[name]
    for path, value in as_written(settings).items():
        yield setting_line(path, text_of(value), origin.get(path, "default"))


def setting_line(name: str, value: str, origin: str) -> str:
    return f"{name:<30} {value:<26} {origin}"


def config_schema() -> dict[str, Any]:
    """The JSON Schema of the config file, TOML being read as JSON."""
    tables = {
        of_table: {key: SETTINGS[name].kind.schema for key, name in known.items()}
        for of_table, known in IN_A_FILE.items()
    }
    of_file = tables.pop("")
    for name in [it for it in tables if "." in it]:  # its keys stand among the fields of another
        owner, _, key = name.rpartition(".")
        fields = tables[owner][key]
        fields = {**fields, "properties": {**fields["properties"], **tables.pop(name)}}
        tables[owner] = {**tables[owner], key: fields}
    members = {**of_file, **{name: table_of(members) for name, members in tables.items()}}
    return {"$schema": DRAFT, "title": "Settings of session-repair", **table_of(members)}


def table_of(members: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(members), "additionalProperties": False}
