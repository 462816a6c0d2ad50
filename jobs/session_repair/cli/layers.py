"""Layers: the settings that the connection string, the config file and the options give."""

from __future__ import annotations

import sys
from collections import ChainMap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from session_repair.cli.session_ids import named_in
from session_repair.errors import Refused
from session_repair.home import COMMAND, DEFAULT_CONFIG, IS_CHECKOUT
from session_repair.kinds import FIELD_PATH, LAST_SUCCESS, Kind
from session_repair.launch.options import meant
from session_repair.roles import ONCE
from session_repair.secret import read_secret
from session_repair.settings import (
    ASKED,
    COLLECTIONS,
    SETTINGS,
    TLS_FILES,
    Settings,
)


def keys_of_file() -> dict[str, dict[str, str]]:
    """By table of a config file, "" being the file itself: each key, and the setting that it is."""
    tables: dict[str, dict[str, str]] = {}
    for name, row in SETTINGS.items():
        if not row.role & ONCE:
            of_table, _, key = (row.key or name).rpartition(".")
            tables.setdefault(of_table, {})[key] = name
    return tables


IN_A_FILE = keys_of_file()


def read_uri(uri_file: str | None) -> str:
    """The connection string, from ``--uri-file`` or MONGODB_URI; never from the command line."""
    uri = read_secret("--uri-file", uri_file, "MONGODB_URI", "the connection string")
    if not uri:
        raise Refused(
            "MONGODB_URI is not set. Export it, write it to a file and pass --uri-file"
            f"{f', or try {COMMAND} demo' if IS_CHECKOUT else ''}."
        )
    return uri


def load_settings(uri: str, config: str | None, options: Mapping[str, Any]) -> Settings:
    """Settings from the connection string, then the config file, then options.

    The file is that of ``--config``, else conf/session_repair.toml; an option of None or of ()
    was not given. Raises Refused on a file, key or value that is not understood.
    """
    layers = layers_of(uri, config, options)
    asked = tuple(name for name in ASKED if name in layers[-1])
    values = dict(ChainMap(*reversed(layers)))
    for name in ("session_fields", "event_fields"):
        values[name] = SETTINGS[name].kind.read(values.get(name, {}))
    settings = Settings(uri, **values, asked=asked)
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
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if ids_from := given.pop("session_ids_from", None):
        given |= named_in(ids_from, given.get("session_ids", ()))
    return [
        {**({"database": named} if named else {}), **tls_files_in(uri)},
        read_config(file) if config or file.exists() else {},
        given,
    ]


def database_in(uri: str) -> str:
    """The database that the path of the connection string names; empty where it names none."""
    hosts_and_path = uri.partition("?")[0].rpartition("@")[2].rpartition("://")[2]
    return unquote(hosts_and_path.partition("/")[2].partition(".")[0])


def tls_files_in(uri: str) -> dict[str, str]:
    """The PEM files that the options of the connection string name."""
    given = {
        name.lower(): value for name, value in parse_qsl(uri.partition("?")[2].replace(";", "&"))
    }
    in_uri = {f"tls_{name}": given.get(option.lower()) for name, option in TLS_FILES.items()}
    return {name: value for name, value in in_uri.items() if value}


def read_config(path: Path) -> dict[str, Any]:
    """The settings that a TOML file names, as keyword arguments of Settings."""
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise Refused(f"--config {path}: {error.strerror}. Name a readable TOML file.") from None
    except UnicodeDecodeError:
        raise Refused(f"--config {path} is not TOML: it is not text in UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"--config {path} is not TOML: {error}.") from None
    names = [name for name in IN_A_FILE if name and "." not in name]
    tables = {name: table(path, name, document.pop(name, {})) for name in names}
    if named := sorted(document.keys() & set(COLLECTIONS)):
        raise Refused(
            f"--config {path}: {named[0]} is the name of a collection; write [collections]."
        )
    for name, value in document.items():
        if isinstance(value, dict) and name not in IN_A_FILE[""]:
            raise unknown(path, f"table [{name}]", name, names)
    settings: dict[str, Any] = {}
    for of_table, values in {"": document, **apart(tables)}.items():
        known = IN_A_FILE[of_table]
        refuse_unknown(path, of_table or "it", values, known)
        for key, value in values.items():
            where = f"{of_table}.{key}" if of_table else key
            settings[known[key]] = config_value(path, where, SETTINGS[known[key]].kind, value)
    return settings


def apart(tables: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The tables, and as ones of their own the settings that stand among the fields of some."""
    parted = dict(tables)
    for name in IN_A_FILE:
        owner, _, key = name.rpartition(".")
        if owner and isinstance(named := parted[owner].get(key), dict):
            parted[name] = {it: value for it, value in named.items() if it in IN_A_FILE[name]}
            fields = {it: value for it, value in named.items() if it not in IN_A_FILE[name]}
            parted[owner] = {**parted[owner], key: fields}
    return parted


def table(path: Path, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"--config {path}: {key} = {value!r} is no table; write [{key}].")
    return dict(value)


def config_value(path: Path, key: str, kind: Kind, value: Any) -> Any:
    """One value of the file, with the type that Settings wants."""
    if kind.plain is dict:
        return field_names(path, key, kind, value)
    if type(value) is not kind.plain:
        raise Refused(f"--config {path}: {key} = {value!r} is not of type {kind.plain.__name__}.")
    try:
        return kind.read(value)
    except ValueError as error:
        raise Refused(f"--config {path}: {key}: {error}.") from None


def field_names(path: Path, key: str, kind: Kind, value: Any) -> dict[str, str]:
    """The table of the file that says where the fields of a collection's documents stand."""
    names = table(path, key, value)
    refuse_unknown(path, key, names, [*kind.bounds["properties"], *IN_A_FILE.get(key, ())])
    for name, stored_as in names.items():
        if stored_as is False and "anyOf" in kind.bounds["properties"][name]:
            continue  # not kept
        if not isinstance(stored_as, str) or not FIELD_PATH.fullmatch(stored_as):
            owner = key.rpartition(".")[2]
            raise Refused(f"--config {path}: {owner}.{name} = {stored_as!r} is no field name.")
    return names


def refuse_unknown(path: Path, where: str, names: Any, known: Any) -> None:
    for name in names:
        if name not in known:
            raise unknown(path, f"key {name!r} in {where}", name, known)


def unknown(path: Path, what: str, name: str, known: Iterable[str]) -> Refused:
    """That the file says it, what was meant, and what it may say."""
    homes = [of_table for of_table, keys in IN_A_FILE.items() if name in keys]
    where = [f"under [{of_table}]" if of_table else "above all tables" for of_table in homes]
    hint = f" It belongs {where[0]}." if where else meant(name, known)
    return Refused(f"--config {path}: unknown {what}; known are {', '.join(known)}.{hint}")
