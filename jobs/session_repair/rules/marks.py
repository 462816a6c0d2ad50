"""Marks: text that is not UTF-8, told from text that holds itself what that is shown with. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_

from pyspark.sql import Column
from pyspark.sql import functions as F

from session_repair.rules.ids import key_of_id, key_of_text
from session_repair.rules.usual_types import MARK, NO_UTF8

# What of the fields may be text, as Spark is shown it.
SESSION_TEXTS = {"session_id": "session_id", "user_id": "user", "pages": "pages", "_id": "key"}
EVENT_TEXTS = {"session_id": "session_id", "user_id": "user", "page": "page"}


def told_types(texts: Mapping[str, str], usual: Mapping[str, str]) -> Column:
    """The names of the types, NO_UTF8 for what is shown with a MARK that it does not hold."""
    is_odd = {field: is_marked(field, column) for field, column in texts.items()}
    names = [
        F.when(is_odd.get(field, F.lit(False)), NO_UTF8)
        .otherwise(F.coalesce(f"types.{field}", F.lit(name)))
        .alias(field)
        for field, name in usual.items()
    ]
    return F.when(reduce(or_, is_odd.values()), F.struct(*names)).otherwise(F.col("types"))


def is_marked(field: str, column: str) -> Column:
    """True where the text holds a MARK, as far as it is known not its own. Never null."""
    text = F.coalesce(F.col(f"unmarked.{field}"), F.col(column))
    if field == "pages":
        text = F.concat_ws("", text)
    return F.coalesce(text.contains(MARK), F.lit(False))


def joinable_id(usual: str, plain: str) -> Column:
    """The key of the session_id; null where it is no UTF-8: as it is shown it may be another's.

    Nearly all are of the ``usual`` BSON type, which is not told of them.
    """
    is_text = ~F.coalesce(F.col("unmarked.session_id").contains(MARK), F.lit(False))
    text, exact = F.when(is_text, F.col("session_id")), F.col("exact_id")
    kind = F.col("types.session_id")
    key = F.when(kind.isNull(), key_of_text(text, exact, usual, plain))
    return key.otherwise(key_of_id(text, exact, kind, plain)).alias("session_id")
