"""Layers: the settings that the connection string, the config file and the options give."""

from __future__ import annotations

import os
import re
import sys
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from session_repair.errors import Refused
from session_repair.home import COMMAND, DEFAULT_CONFIG, IS_CHECKOUT
from session_repair.settings import (
    ASKED,
    COLLECTIONS,
    EVENT_FIELDS,
    LAST_SUCCESS,
    SESSION_FIELDS,
    TLS_FILES,
    Settings,
    parse_duration,
)

FIELD_PATH = re.compile(r"[^.$][^.]*(\.[^.$][^.]*)*")
# The secret, and what is asked of one run only; fields and TLS have tables of their own.
NOT_IN_A_FILE = (
    "uri",
    "session_ids",
    "since",
    "until",
    "allow_absent",
    "allow",
    "only",
    "asked",
    "break_lease",
    "duplicates",
    "session_fields",
    "event_fields",
    *(f"tls_{name}" for name in TLS_FILES),
)


def read_uri(uri_file: str | None) -> str:
    """The connection string, from ``--uri-file`` or MONGODB_URI; never from the command line."""
    if uri_file is None:
        uri = os.environ.get("MONGODB_URI", "")
        if not uri.strip():
            raise Refused(
                "MONGODB_URI is not set. Export it, write it to a file and pass --uri-file"
                f"{f', or try {COMMAND} demo' if IS_CHECKOUT else ''}."
            )
        return uri.strip()
    try:
        uri = Path(uri_file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Refused(f"--uri-file {uri_file}: {error.strerror}. Name a readable file.") from None
    except UnicodeDecodeError:
        raise Refused(f"--uri-file {uri_file} is not text in UTF-8. Write it again.") from None
    if not uri:
        raise Refused(f"--uri-file {uri_file} is empty. Write the connection string into it.")
    return uri


def load_settings(uri: str, config: str | None, options: Mapping[str, Any]) -> Settings:
    """Settings from the connection string, then the config file, then options.

    The file is that of ``--config``, else conf/session_repair.toml; an option of None was not
    given. Raises Refused on a file, key or value that is not understood.
    """
    layers = layers_of(uri, config, options)
    asked = tuple(name for name in ASKED if name in layers[-1])
    values = dict(ChainMap(*reversed(layers)))
    defaults = Settings(uri=uri)
    for name in ("session_fields", "event_fields"):
        values[name] = {**getattr(defaults, name), **values.get(name, {})}
    settings = replace(defaults, **values, asked=asked)
    if "lookback" in layers[-1] and settings.since != LAST_SUCCESS:
        raise Refused(
            f"--lookback is how far before --since {LAST_SUCCESS} to begin. Leave it out."
        )
    return settings


def layers_of(uri: str, config: str | None, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values that the connection string, the config file and the options give; later ones win.

    Raises Refused on a file, key or value that is not understood.
    """
    file = Path(config) if config else DEFAULT_CONFIG
    named = database_in(uri)
    return [
        {**({"database": named} if named else {}), **tls_files_in(uri)},
        read_config(file) if config or file.exists() else {},
        {name: value for name, value in options.items() if value is not None},
    ]


def database_in(uri: str) -> str:
    """The database that the path of the connection string names; empty where it names none."""
    hosts_and_path = uri.partition("?")[0].rpartition("@")[2].rpartition("://")[2]
    return unquote(hosts_and_path.partition("/")[2].partition(".")[0])


def tls_files_in(uri: str) -> dict[str, str]:
    """The PEM files that the options of the connection string name."""
    given = {name.lower(): value for name, value in parse_qsl(uri.partition("?")[2])}
    in_uri = {f"tls_{name}": given.get(option.lower()) for name, option in TLS_FILES.items()}
    return {name: value for name, value in in_uri.items() if value}


def read_config(path: Path) -> dict[str, Any]:
    """The settings that a TOML file names, as keyword arguments of Settings."""
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise Refused(f"--config {path}: {error.strerror}. Name a readable TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"--config {path} is not TOML: {error}.") from None
    collections = table(path, "collections", document.pop("collections", {}))
    field_names = table(path, "fields", document.pop("fields", {}))
    refuse_unknown(path, "collections", collections, COLLECTIONS)
    tls = table(path, "tls", document.pop("tls", {}))
    refuse_unknown(path, "tls", tls, TLS_FILES)
    settings: dict[str, Any] = {}
    for name, file in tls.items():
        if not isinstance(file, str):
            raise Refused(f"--config {path}: tls.{name} = {file!r} is not of type str.")
        settings[f"tls_{name}"] = file
    if named := sorted(document.keys() & set(COLLECTIONS)):
        raise Refused(
            f"--config {path}: {named[0]} is the name of a collection; write [collections]."
        )
    for key, value in [*document.items(), *collections.items()]:
        settings[key] = config_value(path, key, value)
    for owner, known in (("sessions", SESSION_FIELDS), ("events", EVENT_FIELDS)):
        names = table(path, f"fields.{owner}", field_names.pop(owner, {}))
        refuse_unknown(path, f"fields.{owner}", names, known)
        for name, stored_as in names.items():
            if not isinstance(stored_as, str) or not FIELD_PATH.fullmatch(stored_as):
                raise Refused(f"--config {path}: {owner}.{name} = {stored_as!r} is no field name.")
        settings[f"{owner.removesuffix('s')}_fields"] = names
    refuse_unknown(path, "fields", field_names, ("sessions", "events"))
    return settings


def table(path: Path, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"--config {path}: {key} = {value!r} is no table; write [{key}].")
    return dict(value)


def config_value(path: Path, key: str, value: Any) -> Any:
    """One value of the file, with the type that Settings wants."""
    kinds = {f.name: str(f.type) for f in fields(Settings) if f.name not in NOT_IN_A_FILE}
    refuse_unknown(path, "it", [key], kinds)
    kind = kinds[key].removesuffix(" | None")
    wanted = "str" if kind == "timedelta" else kind
    if type(value).__name__ != wanted:
        raise Refused(f"--config {path}: {key} = {value!r} is not of type {wanted}.")
    if kind == "timedelta":
        try:
            return parse_duration(value)
        except ValueError as error:
            raise Refused(f"--config {path}: {key}: {error}.") from None
    return value


def refuse_unknown(path: Path, where: str, names: Any, known: Any) -> None:
    for name in names:
        if name not in known:
            raise Refused(
                f"--config {path}: unknown key {name!r} in {where}; known are {', '.join(known)}."
            )
