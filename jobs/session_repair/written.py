"""Written: the settings under the names by which a user writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from session_repair.roles import ONCE
from session_repair.settings import SETTINGS


def name_of(setting: str) -> str:
    """The key of a setting in a config file; its option where no file holds it."""
    row = SETTINGS[setting]
    return row.typed(setting) if row.role & ONCE else row.key or setting


def as_written(described: Mapping[str, Any]) -> dict[str, Any]:
    """The described settings by what a user writes, each field of the documents as its own."""
    written: dict[str, Any] = {}
    for setting, value in described.items():
        name = name_of(setting)
        if isinstance(value, Mapping):
            written |= {f"{name}.{field}": path for field, path in value.items()}
        else:
            written[name] = value
    return written


def text_of(value: Any) -> str:
    """The value of a setting as JSON; what is not set is nothing."""
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)
