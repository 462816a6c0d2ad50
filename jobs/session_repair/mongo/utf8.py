"""UTF-8: which text in MongoDB is none. Java shows it with a MARK, which other text may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from session_repair.rules.usual_types import MARK

UNLIKE_ANY: Mapping[str, Any] = {"$not": {"$regex": ".*"}}  # of text: what is no UTF-8


def is_string(path: str) -> dict[str, Any]:
    """The filter of what holds a string in the field: no array of some."""
    return {"$expr": {"$eq": [{"$type": f"${path}"}, "string"]}}


def is_no_utf8(field: str, path: str) -> dict[str, Any]:
    """The filter of what holds text in the field that is none."""
    if field == "pages":
        return {path: {"$elemMatch": {"$type": "string", **UNLIKE_ANY}}}
    return {"$and": [is_string(path), {path: UNLIKE_ANY}]}


def unmarked_texts(
    is_asked: bool, paths: Mapping[str, str], texts: Mapping[str, str]
) -> dict[str, Any]:
    """Where it is asked: the texts without the MARKs that they hold themselves."""
    if not is_asked:
        return {}
    kept = [field for field in texts if field in paths]
    return {"unmarked": {field: without_marks(field, paths[field]) for field in kept}}


def without_marks(field: str, path: str) -> dict[str, Any]:
    """The text in the field, a space for each MARK that it holds; null where it is no text.

    A MARK that it is shown with all the same stands for bytes that are no UTF-8.
    """
    value = f"${path}"
    if field != "pages":
        return {"$cond": [{"$eq": [{"$type": value}, "string"]}, unmarked(value), None]}
    texts = {"$filter": {"input": value, "cond": {"$eq": [{"$type": "$$this"}, "string"]}}}
    pages = {"$map": {"input": texts, "in": unmarked("$$this")}}
    return {"$cond": [{"$isArray": [value]}, pages, None]}


def unmarked(text: str) -> dict[str, Any]:
    return {"$replaceAll": {"input": text, "find": MARK, "replacement": " "}}
