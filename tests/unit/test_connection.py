"""What the server says of itself, and the address says to both drivers; what follows from it."""

from __future__ import annotations

import warnings

import pytest

from session_repair.errors import Refused
from session_repair.mongo.connection import client_of, require_version, spark_uri
from session_repair.settings import Settings


def test_a_server_that_lacks_an_operator_is_refused() -> None:
    for version in (15, 17, 21, 25):  # MongoDB 5.2, 6.0, 7.0, 8.0
        require_version({"maxWireVersion": version})
    for version in (9, 13, 14):  # 4.4, 5.0, 5.1
        with pytest.raises(Refused, match=r"older than 5\.2"):
            require_version({"maxWireVersion": version})


def pairs_for_java(query: str) -> list[str]:
    return spark_uri(Settings(uri=f"mongodb://h/?{query}")).partition("?")[2].split("&")


OF_EVERY_RUN = [
    "socketTimeoutMS=600000",
    "w=majority",
    "readConcernLevel=majority",
    "serverSelectionTimeoutMS=5000",
    "appName=session-repair",
    "directConnection=false",
]


@pytest.mark.parametrize(
    ("query", "mode", "to_java"),
    [
        ("readPreference=SECONDARY", "secondary", ["readPreference=secondary"]),
        ("readpreference=Secondary", "secondary", ["readpreference=secondary"]),
        ("readPreference=second%61ry", "secondary", ["readPreference=secondary"]),
        ("READPREFERENCE=secondarypreferred", "secondaryPreferred", None),
        ("readPreference=PrimaryPreferred", "primaryPreferred", None),
        ("readPreference=NEAREST", "nearest", None),
        ("readPreference=Primary", "primary", None),
        ("readPreference=secondary;readPreference=Primary", "primary", None),
        ("readPreference=primary&readPreference=SECONDARY", "secondary", None),
        ("", "primary", []),
        ("w=1;readConcernLevel=local;retryReads=true", "primary", ["retryReads=true"]),
        ("J=false&journal=false&wTimeoutMS=5&safe=false&wtimeout=5", "primary", []),
    ],
)
def test_both_drivers_are_told_the_same(query: str, mode: str, to_java: list[str] | None) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "(?!Duplicate|Unknown)")
        client = client_of(Settings(uri=f"mongodb://h/?{query}"), connect=False)
    said = [it for it in pairs_for_java(query) if it.lower().startswith("readpreference=")]
    assert client.read_preference.mongos_mode == mode
    assert ["readPreference=primary", *said][-1].partition("=")[2] == mode
    if to_java is not None:
        assert pairs_for_java(query) == [*to_java, *OF_EVERY_RUN]


def test_a_read_preference_that_is_none_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        client_of(Settings(uri="mongodb://ann:hush@h/?readPreference=secondry"), connect=False)
    assert str(refused.value) == (
        "the connection string gives readPreference a value that it does not take. Write primary, "
        "primaryPreferred, secondary, secondaryPreferred or nearest."
    )


def test_an_address_that_says_whether_it_is_of_one_member_is_believed() -> None:
    assert "directConnection=true" in pairs_for_java("directConnection=true")
    assert "directConnection=false" not in pairs_for_java("directconnection=true")
