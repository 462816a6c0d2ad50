"""Secret: what no command line shows, from a file or from the environment."""

from __future__ import annotations

import os
from pathlib import Path

from session_repair.errors import Refused


def is_text(given: str) -> bool:
    """False of what came as bytes that are no UTF-8, which neither MongoDB nor JSON takes."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_secret(option: str, file: str | None, variable: str, what: str) -> str:
    """What the file of the option holds, else the variable; empty where neither is there.

    Raises Refused on a file that cannot be read, or that holds nothing.
    """
    if file is None:
        secret = os.environ.get(variable, "").strip()
        if not is_text(secret):
            raise Refused(f"{variable} is not text in UTF-8. Export it again.")
        return secret
    try:
        secret = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Refused(f"{option} {file}: {error.strerror}. Name a readable file.") from None
    except UnicodeDecodeError:
        raise Refused(f"{option} {file} is not text in UTF-8. Write it again.") from None
    if not secret:
        raise Refused(f"{option} {file} is empty. Write {what} into it.")
    return secret
