"""Address: the connection string as both drivers read it alike, and its options."""

from __future__ import annotations

import re
from urllib.parse import unquote

from pymongo.errors import PyMongoError
from pymongo.uri_parser import split_options

from session_repair.errors import Refused
from session_repair.launch.options import meant
from session_repair.settings import Settings

MODES = ("primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest")
# Those that Spark's connector knows, and pymongo does not.
OF_JAVA = {"j", "maxlifetimems", "safe", "sslinvalidhostnameallowed", "streamtype", "wtimeout"}
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def address_of(settings: Settings) -> tuple[str, str]:
    """The connection string, told such that both drivers read it alike; its options apart.

    Raises Refused on a read preference that is none.
    """
    base, _, query = settings.uri.partition("?")
    return base, "&".join(in_known_letters(pair) for pair in re.split("[&;]", query) if pair)


def in_known_letters(pair: str) -> str:
    """The option; in other letters pymongo takes a read preference for none, Java's driver not."""
    name, _, value = pair.partition("=")
    if name.lower() != "readpreference":
        return pair
    modes = {it.lower(): it for it in MODES}
    mode = modes.get(unquote(value).lower())
    if mode is None:
        raise Refused(
            f"the connection string gives {name} a value that it does not take. "
            f"Write {', '.join(MODES[:-1])} or {MODES[-1]}."
        )
    return f"{name}={mode}"


def require_known_options(options: str) -> None:
    """Raise Refused on an option that MongoDB does not have, or whose value it does not take.

    Values are not told, nor what may be a password with a ``?`` or ``&`` in it.
    """
    for option in filter(None, options.split("&")):
        name, is_given, _ = option.partition("=")
        if name.lower() in OF_JAVA or "@" in options or not NAME.fullmatch(name):
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
