"""Plain: values of extended JSON as people write them. Pure."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from operator import itemgetter

from session_repair.wording import iso

EPOCH, UUID_BYTES = datetime(1970, 1, 1, tzinfo=timezone.utc), 16


def plain(text: str) -> str:
    """The text; values of extended JSON in it as people write them."""
    for pattern, told in PLAIN:
        text = pattern.sub(told, text)
    return text


def date_told(found: re.Match[str]) -> str:
    try:
        return iso(EPOCH + timedelta(milliseconds=int(found[1])))
    except OverflowError:
        return f"{found[1]} ms since 1970"


def binary_told(found: re.Match[str]) -> str:
    data = base64.b64decode(found[1])
    is_uuid = found[2] == "04" and len(data) == UUID_BYTES
    return str(uuid.UUID(bytes=data)) if is_uuid else f"binary {data.hex()}"


BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
PLAIN: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r'\{"\$date": ?\{"\$numberLong": ?"(-?\d{1,19})"\}\}'), date_told),
    (re.compile(r'\{"\$number\w+": ?"([^"\\]+)"\}'), itemgetter(1)),
    (re.compile(r'\{"\$oid": ?"([0-9a-f]{24})"\}'), itemgetter(1)),
    (
        re.compile(rf'\{{"\$binary": ?\{{"base64": ?"({BASE64})", ?"subType": ?"(\w+)"\}}\}}'),
        binary_told,
    ),
)
