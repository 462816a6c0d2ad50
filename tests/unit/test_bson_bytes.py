"""Bytes of BSON: taken apart and put together again, whatever they hold."""

from __future__ import annotations

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st

from session_repair.mongo.bson_bytes import (
    TYPE_NAMES,
    Element,
    array_of,
    as_document,
    document_of,
    elements,
    has_field_twice,
    nested,
)
from tests.harness.alike import OF_EVERY_TYPE, Typed, raw_document, typed

values = st.sampled_from(list(OF_EVERY_TYPE.values()))
names = st.sampled_from(["", "a", "b", "caf\u00e9", "$x", "a.b", "0"]) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4
)
fields = st.lists(st.tuples(names, values), max_size=8)  # a name may stand twice


def test_the_values_tried_are_of_every_type() -> None:
    assert {kind for kind, _ in OF_EVERY_TYPE.values()} == set(TYPE_NAMES)


@pytest.mark.parametrize("value", OF_EVERY_TYPE.values(), ids=OF_EVERY_TYPE)
def test_a_value_of_any_type_is_found_between_its_neighbours(value: Typed) -> None:
    document = raw_document(("before", typed(1)), ("v", value), ("after", typed("x")))
    assert list(elements(document)) == [
        Element(0x10, b"before", b"\1\0\0\0"),
        Element(value[0], b"v", value[1]),
        Element(0x02, b"after", b"\2\0\0\0x\0"),
    ]


@given(fields)
def test_a_document_taken_apart_and_put_together_is_the_same_to_the_byte(
    made: list[tuple[str, Typed]],
) -> None:
    document = raw_document(*made)
    parts = list(elements(document))
    assert [(it.name.decode(), (it.kind, it.value)) for it in parts] == made
    assert document_of(parts) == document == as_document(parts).raw
    assert [it.named("n") for it in parts] == [
        Element(value[0], b"n", value[1]) for _, value in made
    ]


def test_no_field_is_found_in_an_empty_document() -> None:
    assert list(elements(bson.encode({}))) == []
    assert document_of([]) == bson.encode({})


def test_what_is_nested_is_what_the_driver_makes_of_it() -> None:
    parts = list(elements(bson.encode({"a": 1, "b": "x"})))
    made = as_document([nested("inner", parts), array_of("list", parts)])
    assert made.raw == bson.encode({"inner": {"a": 1, "b": "x"}, "list": [1, "x"]})
    assert isinstance(made, RawBSONDocument)


@given(fields)
def test_a_field_stands_twice_where_a_name_is_met_again(made: list[tuple[str, Typed]]) -> None:
    is_twice = len({name for name, _ in made}) < len(made)
    assert has_field_twice(raw_document(*made)) is is_twice


A, B = ("a", typed(1)), ("b", typed({"a": 2}))
TWICE = (0x03, raw_document(A, A))
PLACES: dict[str, tuple[bytes, bool]] = {
    "in no place": (raw_document(A, B), False),
    "one inside, one outside": (raw_document(A, ("b", (0x03, raw_document(A)))), False),
    "at the top": (raw_document(A, B, A), True),
    "with other values": (raw_document(A, ("a", typed("x"))), True),
    "in an object": (raw_document(B, ("c", TWICE)), True),
    "in an object of an object": (raw_document(("c", (0x03, raw_document(("d", TWICE))))), True),
    "in an object of a list": (raw_document(("c", (0x04, raw_document(A, ("1", TWICE))))), True),
    "in a list": (raw_document(("c", (0x04, raw_document(("0", A[1]), ("0", B[1]))))), True),
    "in text that looks like it": (raw_document(("c", typed(raw_document(A, A).hex()))), False),
    "in a binary that holds it": (raw_document(("c", typed(raw_document(A, A)))), False),
}


@pytest.mark.parametrize(("document", "expected"), PLACES.values(), ids=PLACES)
def test_a_field_that_stands_twice_is_found_at_any_depth(document: bytes, expected: bool) -> None:
    assert has_field_twice(document) is expected
