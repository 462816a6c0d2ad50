"""Observe: what the server says of a session, in the very shape in which a plan says it.

So a session is as the plan saw it where these bytes are those that the plan begins with. A field is
the same only if its BSON type is; absent is not null; and what a nested field stands in has to be
the same too. Where one of the fields stands twice, of which a projection shows the first, nothing
is as it was seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from session_repair.mongo.bson_bytes import Element, array_of, as_document, nested
from session_repair.mongo.bson_types import is_any_twice
from session_repair.mongo.store import Store

Document = dict[str, Any]

# An _id is its bytes, whatever the collection says.
SIMPLE: Mapping[str, Any] = {"locale": "simple"}
NOWHERE: Mapping[str, Any] = {"_id": {"$in": []}}  # finds no document, by its index


def observation(store: Store) -> list[Document]:
    """Stages that make of each session its _id, session_id, fields, and the types above nested."""
    seen: Document = {
        "session": {"v": "$_id"},
        "session_id": f"${store.path('session_id')}",
        "observed": {name: f"${store.path(name)}" for name in store.settings.shape.names},
    }
    if store.parents:
        seen["parents"] = [{"$type": f"${parent}"} for parent in store.parents]
    twice = {"$cond": [is_any_twice(store.settings.written_fields.values()), True, "$$REMOVE"]}
    return [{"$replaceWith": {**seen, "twice": twice}}]


def by_id(key: Element) -> Any:
    """The filter that finds the document with this _id."""
    return as_document([key.named("_id")])


def by_ids(keys: Iterable[Element]) -> Any:
    """The filter that finds the documents with these _ids."""
    return as_document([nested("_id", [array_of("$in", keys)])])
