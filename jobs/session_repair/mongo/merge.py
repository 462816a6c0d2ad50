"""Merge: the one way in which documents are changed, and whether a sharded cluster allows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.database import Database
from pymongo.errors import OperationFailure

from session_repair.errors import Refused
from session_repair.mongo.connection import first_line

Document = dict[str, Any]


def merge_into(collection: str, when_matched: list[Document]) -> Document:
    """The stage that changes documents by their _id, and makes none."""
    return {
        "$merge": {
            "into": collection,
            "on": "_id",
            "whenMatched": when_matched,
            "whenNotMatched": "discard",
        }
    }


def require_mergeable(database: Database[Document], source: str, *targets: str) -> None:
    """Raise Refused where the server would not merge documents of ``source`` into one of these.

    A router alone may refuse that, by the key that a collection is sharded by. It is asked to
    explain a merge of no document, which writes nothing.
    """
    for target in targets:
        try:
            explain_merge(database, source, target)
        except OperationFailure as error:
            raise Refused(
                refusal(database.name, target, error, shard_key(database, target))
            ) from None


def explain_merge(database: Database[Document], source: str, target: str) -> Document:
    """The server's plan of a merge of no document. Raises what the merge would raise."""
    unchanged = merge_into(target, [{"$replaceWith": "$$ROOT"}])
    pipeline = [{"$match": {"_id": {"$in": []}}}, unchanged]
    command = {"aggregate": source, "pipeline": pipeline, "cursor": {}}
    return database.command("explain", command, verbosity="queryPlanner")


def refusal(
    database: str, target: str, error: OperationFailure, key: Mapping[str, Any] | None
) -> str:
    """Why the collection cannot be written to. ``key`` is None where it is not known."""
    by = dict(key) if key else "a key that config.collections does not show to this user"
    return (
        f"{database}.{target} cannot be merged into on _id: {first_line(error)}. "
        f"It is sharded by {by}. Only verify works on it."
    )


def shard_key(database: Database[Document], collection: str) -> Mapping[str, Any] | None:
    """The key that a collection is sharded by; None where the user may not know."""
    try:
        known = database.client["config"]["collections"].find_one(
            {"_id": f"{database.name}.{collection}"}
        )
    except OperationFailure:
        return None
    return None if known is None else known["key"]
