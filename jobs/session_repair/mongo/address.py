"""Address: the options of a connection string, of which pymongo only warns where one is none."""

from __future__ import annotations

import re

from pymongo.errors import PyMongoError
from pymongo.uri_parser import split_options

from session_repair.errors import Refused
from session_repair.launch.options import meant

# Those that Spark's connector knows, and pymongo does not.
OF_JAVA = {"maxlifetimems", "sslinvalidhostnameallowed", "streamtype"}
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def require_known_options(uri: str) -> None:
    """Raise Refused on an option that MongoDB does not have, or whose value it does not take.

    Values are not told, nor what may be a password with a ``?`` or ``&`` in it.
    """
    query = uri.partition("?")[2]
    for option in filter(None, query.replace(";", "&").split("&")):
        name, is_given, _ = option.partition("=")
        if name.lower() in OF_JAVA or "@" in query or not NAME.fullmatch(name):
            continue
        if not is_given:
            raise Refused(f"the connection string gives {name} no value. Write {name}=….")
        try:
            split_options(option, validate=True, warn=False)
        except (PyMongoError, ValueError, TypeError) as error:
            raise Refused(complaint(name, str(error))) from None
        except OSError:
            continue  # of a file that it names, which the client tells


def complaint(name: str, reason: str) -> str:
    """What is wrong with the option, and what to do."""
    if "Unknown option" not in reason:
        return (
            f"the connection string gives {name} a value that it does not take. Correct it, or "
            "leave it out."
        )
    asked = meant(name.lower(), re.findall(r"\w+", reason.partition("Did you mean")[2]))
    return (
        f"the connection string has the unknown option {name}.{asked} Correct it, or leave it out."
    )
