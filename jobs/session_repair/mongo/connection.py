"""Connection: one pymongo client for the driver, one URI for the connector, errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from bson import json_util
from dns.exception import DNSException
from pymongo import MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    InvalidName,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from session_repair.errors import Refused, RepairError, Unreachable
from session_repair.mongo.address import address_of, require_known_options
from session_repair.mongo.store import Store
from session_repair.settings import TLS_FILES, Settings

Document = dict[str, Any]

NO_SCAN = "NoQueryExecutionPlans"  # the server's name for what notablescan leaves without a plan
SCANS_FORBIDDEN = (
    "this MongoDB runs with notablescan, so it reads no collection as a whole, as a repair has to. "
    "Set that parameter to false while it runs."
)
UNAUTHORIZED, AUTHENTICATION_FAILED, INVALID_NAMESPACE = 13, 18, 73
USER_NOT_FOUND = 11  # of a certificate; who gives a password is not told
OLDEST = 15  # maxWireVersion of MongoDB 5.2
# Longer than a read skips documents before it hands on the first. Without it Java's driver waits
# for ever for a server that keeps its connections and says nothing; pymongo's notices by itself.
SILENCE = timedelta(minutes=10)
# What a run decides, by all the names that a driver knows for it: the last one given would win.
DECIDED = ("w", "j", "journal", "safe", "fsync", "wtimeout", "wtimeoutms", "readconcernlevel")
OF_PYTHON = (*TLS_FILES.values(), "tlsCertificateKeyFilePassword")
TLS_ADVICE = (
    "Check that the server speaks TLS, that tlsCAFile names the authority that signed its "
    "certificate, and that the certificate is for the host in the connection string."
)


@contextmanager
def connected(settings: Settings) -> Iterator[Store]:
    """The store, majority for reads and writes; MongoDB's errors become RepairErrors."""
    client = client_of(settings)
    store = store_of(client, settings)
    with client, clear_errors():
        require_version(hello_of(store))
        yield store


def store_of(client: MongoClient[Document], settings: Settings) -> Store:
    """The store, majority for reads and writes."""
    try:
        database = client.get_database(
            settings.database,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),
            write_concern=WriteConcern("majority"),
        )
    except InvalidName as error:
        raise Refused(f"{settings.database!r} is no name of a database: {error}.") from None
    return Store(database, settings)


def client_of(settings: Settings, **more: Any) -> MongoClient[Document]:
    """A client that has not connected yet.

    Raises Refused on an unusable connection string, Unreachable where its name does not resolve.
    """
    timeout_ms = settings.server_selection_timeout.total_seconds() * 1000
    if not settings.uri.startswith(("mongodb://", "mongodb+srv://")):
        raise Refused(
            "the connection string is not usable: it begins neither with mongodb:// "
            "nor with mongodb+srv://."
        )
    base, options = address_of(settings)
    require_known_options(options)
    try:
        return MongoClient(
            f"{base}?{options}",
            appname="session-repair",
            tz_aware=True,
            **tls_options(settings),
            **{"serverSelectionTimeoutMS": timeout_ms, "connectTimeoutMS": timeout_ms, **more},
        )
    except OSError as error:  # of a file that the string names; ssl.SSLError is one too
        raise Refused(unusable_tls_file(error)) from None
    except (InvalidURI, ConfigurationError, ValueError) as error:
        if isinstance(error.__cause__, DNSException):
            raise Unreachable(
                f"the mongodb+srv name cannot be resolved: {first_line(error)} "
                "Check the name, and the name server."
            ) from None
        if str(error).startswith("Private key doesn't match"):
            raise Refused(unusable_tls_file(error)) from None
        # The driver's message quotes parts of the string, the password among them.
        raise Refused(
            f"the connection string is not usable ({type(error).__name__}). Write "
            "mongodb://user:password@host:port/, with / : @ , in a password as %2F %3A %40 %2C."
        ) from None


def tls_options(settings: Settings) -> dict[str, Any]:
    """pymongo's options for the PEM files; to name one is to ask for TLS."""
    named = {option: getattr(settings, f"tls_{name}") for name, option in TLS_FILES.items()}
    given = {option: file for option, file in named.items() if file is not None}
    return {"tls": True, **given} if given else {}


def unusable_tls_file(error: Exception) -> str:
    return (
        f"a file that is named for TLS cannot be used: {error}. "
        "Check tlsCAFile, tlsCertificateKeyFile and [tls]."
    )


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what a user can cause or a server can do into one line with an exit code."""
    try:
        yield
    except ServerSelectionTimeoutError as error:
        raise Unreachable(f"MongoDB cannot be reached: {with_advice(error)}") from None
    except AutoReconnect as error:
        raise Unreachable(f"the connection to MongoDB broke: {first_line(error)}") from None
    except OperationFailure as error:
        first = first_of(error)
        if first.code == AUTHENTICATION_FAILED:
            raise Refused("MongoDB refused the user or the password. Check MONGODB_URI.") from None
        if first.code == USER_NOT_FOUND:
            raise Refused(
                f"MongoDB knows no user for the certificate: {first_line(first)}. "
                "docs/tls.md says how to make one."
            ) from None
        if (first.details or {}).get("codeName") == NO_SCAN:
            raise Refused(SCANS_FORBIDDEN) from None
        if first.code == INVALID_NAMESPACE:
            raise Refused(f"MongoDB takes no such name: {first_line(first)}") from None
        if first.code == UNAUTHORIZED:
            raise Refused(f"MongoDB denies a right: {first_line(first)}") from None
        raise RepairError(f"MongoDB answered with an error: {first_line(first)}") from error
    except PyMongoError as error:
        raise RepairError(f"MongoDB's driver failed: {first_line(error)}") from error


def first_of(error: OperationFailure) -> OperationFailure:
    """The error itself; of a bulk of writes, that of the first that it did not take."""
    if isinstance(error, BulkWriteError) and error.details["writeErrors"]:
        first = error.details["writeErrors"][0]
        return OperationFailure(first["errmsg"], first["code"], first)
    return error


def first_line(error: Exception) -> str:
    line = str(error)
    for end in ("\n", ", full error:", ", Timeout:", " (configured timeouts:"):
        line = line.partition(end)[0]
    return line


def with_advice(error: Exception) -> str:
    """The first line of the error, and where TLS may be the reason, what to check."""
    line = first_line(error)
    if "ssl" in line.lower():
        return f"{line}. {TLS_ADVICE}"
    if line.endswith("connection closed"):
        return f"{line}. If the server wants TLS, write tls=true."
    return line


def reason_of(any_error: OperationFailure) -> str:
    """Why MongoDB refused a document; where a validator did, with the rule that it breaks."""
    error = first_of(any_error)
    info = (error.details or {}).get("errInfo", {})
    rule = f": {json_util.dumps(info['details'])}" if "details" in info else ""
    return first_line(error) + rule


def hello_of(store: Store) -> Document:
    """What the server says of itself."""
    # A command decodes dates without a zone unless told otherwise.
    return store.client.admin.command("hello", codec_options=store.database.codec_options)


def server_time(store: Store) -> datetime:
    """The server's clock, the only one that decides what is in flight."""
    now: datetime = hello_of(store)["localTime"]
    return now


def require_version(hello: Document) -> None:
    """Raise Refused on a server that lacks an operator that some verb would miss, undo among them.

    By the version of its protocol, which MongoDB raises with each release.
    """
    if hello["maxWireVersion"] < OLDEST:
        raise Refused(
            "this MongoDB is older than 5.2, whose operators the job uses. "
            "Nothing was read or written."
        )


def is_router(hello: Document) -> bool:
    """Whether it is a mongos that said so, the router of a sharded cluster."""
    return hello.get("msg") == "isdbgrid"


def has_transactions(hello: Document) -> bool:
    """Whether the server that says hello is a replica set's, or the router of a cluster."""
    return "setName" in hello or is_router(hello)


def require_transactions(hello: Document) -> None:
    """Raise Refused where the server has no transactions, which a deletion needs."""
    if not has_transactions(hello):
        raise Refused("deleting needs transactions, so a replica set; this server is none.")


def spark_uri(settings: Settings) -> str:
    """The URI for the connector, where concerns and timeouts have no other place."""
    base, query = address_of(settings)
    scheme, _, rest = base.partition("://")
    login, at, hosts = rest.rpartition("@")
    # pymongo reads "+" as a space, the Java driver as a plus; %20 and %2B are the same to both.
    base = f"{scheme}://{login.replace('+', '%20')}{at}{hosts}"
    if "/" not in hosts:
        base += "/"
    given = [pair for pair in query.split("&") if pair]
    timeout_ms = int(settings.server_selection_timeout.total_seconds() * 1000)
    wanted = {
        "w": "majority",
        "readConcernLevel": "majority",
        "serverSelectionTimeoutMS": str(timeout_ms),
        "appName": "session-repair",
        **({"tls": "true"} if tls_options(settings) else {}),
    }
    # Java reads no files from it, and says so in a warning that may quote a password of theirs.
    names = {name.lower() for name in (*wanted, *DECIDED, *OF_PYTHON)}
    if "tls" in wanted:
        names.add("ssl")
    kept = [pair for pair in given if pair.partition("=")[0].lower() not in names]
    if not any(pair.lower().startswith("sockettimeoutms=") for pair in kept):
        kept.append(f"socketTimeoutMS={SILENCE // timedelta(milliseconds=1)}")
    # Of a member that is named alone pymongo finds the others, and the primary among them.
    if not any(pair.lower().startswith("directconnection=") for pair in kept):
        wanted["directConnection"] = "false"
    return base + "?" + "&".join([*kept, *(f"{name}={value}" for name, value in wanted.items())])


def refuse_unwritable(store: Store) -> None:
    """Raise Refused where documents cannot grow."""
    for found in store.database.list_collections(filter={"name": store.settings.sessions}):
        if found.get("options", {}).get("capped"):
            raise Refused(
                f"{store.sessions.full_name} is a capped collection, whose documents cannot "
                "grow. Copy it into another one to repair it; verify works on it."
            )


def require_bytewise(*collections: Collection[Document]) -> None:
    """Raise Refused where a collection lets a session, or its events, pass for those of another."""
    for collection in collections:
        if collation := collection.options().get("collation"):
            raise Refused(
                f"{collection.full_name} has a default collation "
                f"({collation['locale']}), under which '/A' may pass for '/a'. Copy it into a "
                "collection without one to repair it; verify works on it."
            )
