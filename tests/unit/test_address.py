"""The options of a connection string: what pymongo only warns of is refused, and no value told."""

from __future__ import annotations

import pytest

from session_repair.errors import Refused
from session_repair.mongo.address import address_of, require_known_options
from session_repair.settings import Settings

AT = "mongodb://ann:hush@h:27017/shop"


def refuse_what_is_none(uri: str) -> None:
    _, options = address_of(Settings(uri=uri))
    require_known_options(options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            "replicaSet=rs0&retryWrits=hush",
            "the connection string has the unknown option retryWrits. Did you mean retrywrites? "
            "Correct it, or leave it out.",
        ),
        (
            "authsource=admin;redPreference=hush",
            "the connection string has the unknown option redPreference. Did you mean "
            "readpreference? Correct it, or leave it out.",
        ),
        (
            "xyzzy=1",
            "the connection string has the unknown option xyzzy. Correct it, or leave it out.",
        ),
        (
            "maxPoolSize=hush",
            "the connection string gives maxPoolSize a value that it does not take. Correct it, "
            "or leave it out.",
        ),
        ("tls", "the connection string gives tls no value. Write tls=…."),
    ],
)
def test_an_option_that_is_none_is_refused(options: str, says: str) -> None:
    with pytest.raises(Refused) as refused:
        refuse_what_is_none(f"{AT}?{options}")
    assert str(refused.value) == says


@pytest.mark.parametrize(
    "uri",
    [
        AT,
        f"{AT}?replicaSet=rs0&w=majority&readPreferenceTags=dc:a&readPreferenceTags=",
        f"{AT}?maxLifeTimeMS=1000&sslInvalidHostNameAllowed=true",  # Java's alone
        f"{AT}?tls=true&tlsCAFile=/no/such/file&authMechanism=MONGODB-X509",
        "mongodb://ann:hu?sh&hushhush@h/shop",  # a password, which is nothing to be told
    ],
)
def test_what_either_driver_knows_is_let_through(uri: str) -> None:
    refuse_what_is_none(uri)
