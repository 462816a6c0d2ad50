"""Typed: commands as a shell takes them, that go on where another command ended.

What a run's document knows is left to it. What leads to that document, and which configuration it
was made under, no run can know: that is typed once more.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from session_repair.home import COMMAND, IS_CHECKOUT, ROOT
from session_repair.settings import SETTINGS


def typed(reached_by: Iterable[str], *words: str) -> str:
    """The command, for a shell in this folder, on the database that was reached by the options."""
    return shlex.join([called(), *words, *reached_by])


def called() -> str:
    """What the command is called in this folder."""
    script, here = ROOT / "spark-submit.sh", Path(COMMAND)
    if not IS_CHECKOUT or (here.is_file() and here.samefile(script)):
        return COMMAND
    return str(script)


def on_the_same(*words: str, settings: Mapping[str, Any]) -> str:
    """The command over what one with these settings, described, was asked to look at."""
    named_by = settings.get("named_by") or ()  # in place of all the ids that a file names
    names = [it for it in settings.get("asked", ()) if it != "session_ids" or not named_by]
    asked = [word for name in names for word in option(name, settings[name])]
    return typed(settings.get("reached_by", ()), *words, *named_by, *asked)


def option(name: str, value: Any) -> list[str]:
    """The words that ask for the setting; none for the database, which is reached otherwise."""
    row = SETTINGS[name]
    if name == "database" or not row.help or value is None or value is False or value == []:
        return []
    if row.kind.plain is bool:
        return [row.typed(name)]
    values = value if row.kind.plain is list else [value]
    return [word for it in values for word in (row.typed(name), str(it))]
