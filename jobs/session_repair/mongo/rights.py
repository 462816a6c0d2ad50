"""Rights: what each verb does on the server, and which of it the user may not.

The server knows all roles of a user (``connectionStatus``), so whoever lacks a right is told before
anything is started, read or written. docs/rights.md has the roles that grant just these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from session_repair.errors import Refused
from session_repair.kinds import LAST_SUCCESS
from session_repair.mongo.store import Store
from session_repair.settings import COLLECTIONS, Settings

Document = dict[str, Any]
Rights = Mapping[str, frozenset[str]]  # actions by the setting of a collection, or by one of these:

DATABASE, CLUSTER = "database", "cluster"


def joined(*parts: Rights) -> Rights:
    """All rights of the parts."""
    places = [place for part in parts for place in part]
    nothing: frozenset[str] = frozenset()
    return {place: nothing.union(*(part.get(place, ()) for part in parts)) for place in places}


# Spark's connector asks for collStats where it splits a collection by itself.
TO_READ: Rights = {
    DATABASE: frozenset({"listCollections"}),
    "sessions": frozenset({"find", "listIndexes", "collStats"}),
    "events": frozenset({"find", "listIndexes", "collStats"}),
}
JOURNALED: Rights = {
    DATABASE: frozenset({"listCollections"}),
    "journal": frozenset({"find", "insert", "update"}),
    "runs": frozenset({"find", "insert", "update"}),
}
TO_LOOK_AGAIN = joined(TO_READ, {"journal": frozenset({"find"}), "runs": frozenset({"find"})})
TO_PLAN = joined(TO_READ, JOURNALED, {"journal": frozenset({"createIndex", "remove"})})
TO_CORRECT = joined(JOURNALED, {"sessions": frozenset({"find", "update", "listIndexes"})})
TO_PUT_BACK = joined(JOURNALED, {"sessions": frozenset({"find", "insert", "listIndexes"})})
TO_DELETE = joined(TO_PUT_BACK, {"sessions": frozenset({"remove"}), "events": frozenset({"find"})})
FOR_HEALTH: Rights = {place: frozenset({"find"}) for place in ("sessions", "events", "runs")}
TO_SEE_LAG: Rights = {CLUSTER: frozenset({"replSetGetStatus", "replSetGetConfig"})}


def require_rights(store: Store, *needed: Rights) -> None:
    """Raise Refused, with each right that the user lacks, unless all are held."""
    status = store.client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
    if not status["authenticatedUsers"]:
        return  # the server runs without access control, or will deny the first command
    lacking = lacking_rights(status["authenticatedUserPrivileges"], store.settings, joined(*needed))
    if lacking:
        user = status["authenticatedUsers"][0]["user"]
        raise Refused(
            f"user {user!r} lacks the right to {'; '.join(lacking)}. "
            "Grant it: docs/rights.md has the roles. Nothing was read or written."
        )


def rights_to_read(settings: Settings) -> Rights:
    """Those of a verb that reads; ``--since last-success`` reads the history too."""
    if settings.since != LAST_SUCCESS:
        return TO_READ
    return joined(TO_READ, {"runs": frozenset({"find"})})


def lacking_rights(privileges: Iterable[Document], settings: Settings, needed: Rights) -> list[str]:
    """The needed actions that no privilege grants: "find, update on shop.sessions"."""
    lacking = []
    for place, actions in needed.items():
        held: set[str] = set()
        for privilege in privileges:
            if covers(privilege["resource"], settings, place):
                held.update(privilege["actions"])
        missing = sorted(actions - held)
        if missing and "anyAction" not in held:
            lacking.append(f"{', '.join(missing)} on {name_of(settings, place)}")
    return lacking


def covers(resource: Document, settings: Settings, place: str) -> bool:
    """Whether a privilege's resource includes the place. One on ``system_buckets`` never does."""
    if resource.get("anyResource"):
        return True
    if place == CLUSTER:
        return bool(resource.get("cluster"))
    collection = getattr(settings, place) if place in COLLECTIONS else ""
    is_database = resource.get("db") in ("", settings.database)
    return is_database and resource.get("collection") in ("", collection)


def name_of(settings: Settings, place: str) -> str:
    if place in COLLECTIONS:
        return f"{settings.database}.{getattr(settings, place)}"
    return f"database {settings.database}" if place == DATABASE else "the cluster"
