"""Shown: how the values of a finding are told, and what else a reader needs to judge it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F

from session_repair.aggregates import FROM_NOTHING, SUM, Aggregate, Shape
from session_repair.errors import LONGEST
from session_repair.rules import held, tokens
from session_repair.rules.envelope import date_text, readable
from session_repair.rules.predicates import fits_into_a_document, rebuilt


def in_short(value: Column) -> Column:
    cut = F.concat(F.substring(value, 1, LONGEST), F.lit("…"))
    return F.when(F.length(value) > LONGEST, cut).otherwise(value)


def number_text(value: Column) -> Column:
    return value.cast("string")


def pages_text(pages: Column) -> Column:
    return in_short(F.to_json(pages))


def user_text(user: Column) -> Column:
    return in_short(readable(user))


# What else a reader needs


def canonical_document() -> Column:
    return F.concat(F.lit("canonical _id "), in_short(readable(F.col("canonical_key"))))


def wrong_types() -> Column:
    of_session = F.concat(F.lit("session "), F.col("malformed"))
    sizes = [F.lit("over 16 MB: rebuilt pages of "), rebuilt("pages_size"), F.lit(" bytes")]
    size = F.concat(*sizes)
    too_large = F.when(~fits_into_a_document(), size)
    return in_short(F.concat_ws(", ", of_session, wrong_types_of_events(), too_large))


def wrong_types_of_events() -> Column:
    types = F.array_join(rebuilt("malformed.types"), ", ")
    return F.when(F.size(rebuilt("malformed")) > 0, F.concat(F.lit("event "), types))


def untold(aggregates: Iterable[Aggregate]) -> Column:
    """What keeps those that are declared from being told, each by its name; null where nothing."""
    why = [F.concat(F.lit(f"{it.name} ("), held.wrong_with(it), F.lit(")")) for it in aggregates]
    told = F.concat_ws(", ", *why)
    return F.when(told != "", F.concat(F.lit("only this cannot be told: "), told))


def number_of_events() -> Column:
    count = rebuilt("event_count") + rebuilt("malformed_events")
    noun = F.when(count == 1, " event").otherwise(" events")
    told = F.concat(count.cast("string"), noun)
    return in_short(F.concat_ws(", ", told, wrong_types_of_events()))


Text = tuple[Callable[[Column], Column], Callable[[Column], Column]]
TEXT_OF_BASICS: dict[str, Callable[[Column], Column]] = {
    "event_count": number_text,
    "first_event_at": date_text,
    "last_event_at": date_text,
    "pages": pages_text,
    "user": user_text,
}
EVIDENCE_OF_BASICS: dict[str, Callable[[], Column]] = {
    "duplicate_session": canonical_document,
    "orphan_events": number_of_events,
    "malformed": wrong_types,
}


def evidence_of(shape: Shape) -> dict[str, Callable[[], Column]]:
    """What else a reader needs to judge a finding, by its code."""
    if not shape.declared:
        return EVIDENCE_OF_BASICS
    all_wrong = {
        "malformed": lambda: in_short(
            F.concat_ws(", ", F.nullif(wrong_types(), F.lit("")), untold(shape.declared))
        )
    }
    return {**EVIDENCE_OF_BASICS, **all_wrong}


def texts_of(shape: Shape) -> dict[str, Text]:
    """How what a session holds of each field is shown, and how what its events say."""
    basics = {name: (text, text) for name, text in TEXT_OF_BASICS.items()}
    return {**basics, **{it.name: declared_texts(it) for it in shape.declared}}


def declared_texts(aggregate: Aggregate) -> Text:
    """The texts of its tokens, and of its values; numbers are never long, which saves a third."""
    if aggregate.is_list:
        text = shortly(tokens.text_of_list)
        return text, text
    if "number" not in aggregate.members:
        text = shortly(tokens.text_of)
        return text, lambda value: text(value["token"])
    if aggregate.kind not in FROM_NOTHING:
        return tokens.text_of_date, lambda value: tokens.text_of_date(value["token"])
    return tokens.text_of_number, sum_in if aggregate.kind == SUM else number_in


def shortly(text: Callable[[Column], Column]) -> Callable[[Column], Column]:
    return lambda value: in_short(text(value))


def sum_in(value: Column) -> Column:
    """The text of a sum: all its digits, but of doubles."""
    return F.coalesce(tokens.without_zeros(value["exact"]), number_in(value))


def number_in(value: Column) -> Column:
    """The text of a number, whole where it is."""
    return F.coalesce(
        tokens.whole_in(value["number"]).cast("string"), value["number"].cast("string")
    )
