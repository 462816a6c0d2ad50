"""Session ids: those that a file names, beside those of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from session_repair.errors import Refused
from session_repair.repair.recheck import MOST_NAMED
from session_repair.settings import SETTINGS

OPTION = "--session-ids-from"
MEGABYTES = 2  # of a file: the document of a run holds the ids several times


def named_in(file: str, named: Sequence[str]) -> dict[str, Any]:
    """The settings that say which sessions the file and the command line name, and how they do."""
    row = SETTINGS["session_ids"]
    words = [word for it in named for word in (row.typed("session_ids"), it)]
    return {
        "session_ids": tuple(dict.fromkeys((*named, *ids_in(file)))),
        "named_by": (*words, OPTION, file),
    }


def ids_in(file: str) -> list[str]:
    """The ids, each as it stands on its line; blank lines are none. Raises Refused."""
    most = MEGABYTES * 1024 * 1024
    try:
        with open(file, "rb") as opened:
            content = opened.read(most + 1)
    except OSError as error:
        raise Refused(f"{OPTION} {file}: {error.strerror}. Name a readable file.") from None
    if len(content) > most:
        raise Refused(f"{OPTION} {file} is larger than {MEGABYTES} MB. Split it.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise Refused(f"{OPTION} {file} is not text in UTF-8. Write it again.")
    ids = [line for it in text.split("\n") if (line := it.removesuffix("\r")).strip()]
    if not ids:
        raise Refused(f"{OPTION} {file} names no session. Write an id on each line.")
    if len(ids) > MOST_NAMED:
        raise Refused(
            f"{OPTION} {file} names {len(ids)} sessions, more than {MOST_NAMED}. Split it, or "
            "leave it out: to look at all is quicker."
        )
    return ids
