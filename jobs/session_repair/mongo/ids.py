"""Ids: how a session id comes from the server, and which can be looked up.

Text, ObjectIds and whole numbers come as text, which is cheapest; other ids in an envelope, and so
do the numbers whose digits do not say all of what is stored: doubles and decimals.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from session_repair.mongo.bson_types import INEXACT, type_of_id
from session_repair.mongo.census import Census
from session_repair.mongo.utf8 import UNLIKE_ANY, is_string
from session_repair.rules.usual_types import ENVELOPED, NO_UTF8, plain_kind

AS_TEXT = ("string", "objectId", "int", "long")
AS_ENVELOPE = (*ENVELOPED, *INEXACT)


def plain_in(events: Census) -> str:
    """The kind of the ids that are their own keys, in both collections: that of most events."""
    return plain_kind(events.usual["session_id"][0])


def usual_id(path: str, types: Iterable[str]) -> dict[str, Any]:
    """The id of a document with the usual type: its text, or its envelope."""
    (kind,) = types
    if kind in ENVELOPED:
        return {"exact_id": {"v": f"${path}"}}
    return {"session_id": f"${path}" if kind == "string" else {"$toString": f"${path}"}}


def odd_id(path: str) -> dict[str, Any]:
    """The id of a document whose types are told in the variable ``types``; null where malformed."""
    return of_type("$$types.session_id", f"${path}")


def of_type(kind: Any, value: str) -> dict[str, Any]:
    """The text and the envelope of an id of this type, as far as it has them."""
    whole = {"$toString": {"$toLong": value}}
    in_digits = {"$cond": [{"$in": [kind, list(INEXACT)]}, whole, None]}
    return {
        "session_id": {"$cond": [{"$in": [kind, list(AS_TEXT)]}, {"$toString": value}, in_digits]},
        "exact_id": {"$cond": [{"$in": [kind, list(AS_ENVELOPE)]}, {"v": value}, None]},
    }


def is_looked_up(path: str) -> dict[str, Any]:
    """The filter of what holds in the field an id that is looked up: any that is well formed.

    Null would find all that has no id, an array would match on both sides, and what is no UTF-8
    would be taken for the text that it is shown as. Told so that the server uses no index for it.
    """
    others = [it for it in (*AS_TEXT, *AS_ENVELOPE) if it != "string"]
    is_other = {"$expr": {"$in": [type_of_id(path), others]}}
    is_text = {"$and": [is_string(path), {"$nor": [{path: UNLIKE_ANY}]}]}
    return {"$or": [is_text, is_other]}


def odd_ids(path: str) -> list[dict[str, Any]]:
    """Stages that count the documents whose id is not looked up, by its type; of text NO_UTF8."""
    kind = type_of_id(path)
    told = {"$cond": [{"$eq": [kind, "string"]}, NO_UTF8, kind]}
    return [
        {"$match": {"$nor": [is_looked_up(path)]}},
        {"$group": {"_id": told, "documents": {"$sum": 1}}},
    ]
