"""Shown: how the values of a finding are told, and what else a reader needs to judge it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pyspark.sql import Column
from pyspark.sql import functions as F

from session_repair.aggregates import FROM_NOTHING, SUM, Aggregate, Shape
from session_repair.errors import LONGEST
from session_repair.fields import EVENT_FIELDS, SESSION_FIELDS
from session_repair.rules import held, tokens
from session_repair.rules.envelope import date_text, readable
from session_repair.rules.predicates import fits_into_a_document, rebuilt


def in_short(value: Column, longest: int = LONGEST) -> Column:
    cut = F.concat(F.substring(value, 1, longest), F.lit("…"))
    return F.when(F.length(value) > longest, cut).otherwise(value)


def number_text(value: Column) -> Column:
    return value.cast("string")


# What else a reader needs


def canonical_document() -> Column:
    return F.concat(F.lit("canonical _id "), in_short(readable(F.col("canonical_key"))))


def wrong_types(shape: Shape) -> Column:
    named = {it: shape.in_sessions(it) for it in (*SESSION_FIELDS, *shape.names)}
    of_session = F.concat(F.lit("session "), as_named(F.col("malformed"), named))
    sizes = [F.lit("over 16 MB: rebuilt pages of "), rebuilt("pages_size"), F.lit(" bytes")]
    size = F.concat(*sizes)
    too_large = F.when(~fits_into_a_document(), size)
    return in_short(F.concat_ws(", ", of_session, wrong_types_of_events(shape), too_large))


def wrong_types_of_events(shape: Shape) -> Column:
    named = {it: shape.in_events(it) for it in EVENT_FIELDS}
    types = as_named(F.array_join(rebuilt("malformed.types"), ", "), named)
    return F.when(F.size(rebuilt("malformed")) > 0, F.concat(F.lit("event "), types))


MARK = "\x01"  # before what is named already


def as_named(types: Column, named: Mapping[str, str]) -> Column:
    """The same 'field: type' of each, under the name that the documents have for the field."""
    others = {name: path for name, path in named.items() if name != path}
    for name, path in others.items():
        there = path.replace("\\", r"\\").replace("$", r"\$")
        types = F.regexp_replace(types, f"(^|, ){name}: ", f"$1{MARK}{there}: ")
    return F.translate(types, MARK, "") if others else types


def untold(aggregates: Iterable[Aggregate]) -> Column:
    """What keeps those that are declared from being told, each by its field; null where nothing."""
    why = [F.concat(F.lit(f"{it.path} ("), held.wrong_with(it), F.lit(")")) for it in aggregates]
    told = F.concat_ws(", ", *why)
    return F.when(told != "", F.concat(F.lit("only this cannot be told: "), told))


def number_of_events(shape: Shape) -> Column:
    count = rebuilt("event_count") + rebuilt("malformed_events")
    noun = F.when(count == 1, " event").otherwise(" events")
    told = F.concat(count.cast("string"), noun)
    return in_short(F.concat_ws(", ", told, wrong_types_of_events(shape)))


Text = tuple[Callable[[Column], Column], Callable[[Column], Column]]


def all_wrong(shape: Shape) -> Column:
    types = wrong_types(shape)
    if not shape.declared:
        return types
    return in_short(F.concat_ws(", ", F.nullif(types, F.lit("")), untold(shape.declared)))


def evidence_of(shape: Shape) -> dict[str, Callable[[], Column]]:
    """What else a reader needs to judge a finding, by its code."""
    return {
        "duplicate_session": canonical_document,
        "orphan_events": lambda: number_of_events(shape),
        "malformed": lambda: all_wrong(shape),
    }


def texts_of(shape: Shape, longest: int = LONGEST) -> dict[str, Text]:
    """How what a session holds of each field is shown, and how what its events say."""
    basics: dict[str, Callable[[Column], Column]] = {
        "event_count": number_text,
        "first_event_at": date_text,
        "last_event_at": date_text,
        "pages": shortly(F.to_json, longest),
        "user": shortly(readable, longest),
    }
    declared = {it.name: declared_texts(it, longest) for it in shape.declared}
    return {**{name: (text, text) for name, text in basics.items()}, **declared}


def declared_texts(aggregate: Aggregate, longest: int) -> Text:
    """The texts of its tokens, and of its values; numbers are never long, which saves a third."""
    if aggregate.is_list:
        text = shortly(tokens.text_of_list, longest)
        return text, text
    if "number" not in aggregate.members:
        text = shortly(tokens.text_of, longest)
        return text, lambda value: text(value["token"])
    if aggregate.kind not in FROM_NOTHING:
        return tokens.text_of_date, lambda value: tokens.text_of_date(value["token"])
    return tokens.text_of_number, sum_in if aggregate.kind == SUM else number_in


def shortly(text: Callable[[Column], Column], longest: int) -> Callable[[Column], Column]:
    return lambda value: in_short(text(value), longest)


def sum_in(value: Column) -> Column:
    """The text of a sum: all its digits, but of doubles."""
    return F.coalesce(tokens.without_zeros(value["exact"]), number_in(value))


def number_in(value: Column) -> Column:
    """The text of a number, whole where it is."""
    return F.coalesce(
        tokens.whole_in(value["number"]).cast("string"), value["number"].cast("string")
    )
