"""The shape of every frame, one literal each: the contract, the data dictionary and the proof.

Instants are UTC. ``session_key`` and ``user`` hold a BSON value of any type as the extended JSON
document ``{"v": value}``: exact, comparable as text, and safe to embed in another document. Events,
which are many, carry the shorter *keys* of such values. ``session_id`` is the key of
``rules/ids``, by which sessions and events are joined.
"""

from __future__ import annotations

from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)


def column(name: str, kind: DataType, meaning: str) -> StructField:
    return StructField(name, kind, nullable=True, metadata={"comment": meaning})


PAGES = ArrayType(StringType())

DECLARED = MapType(StringType(), StringType())

KEY_ORDER = StructType(
    [
        column("rank", IntegerType(), "place of the type in MongoDB's order of types"),
        column("number", DoubleType(), "value of a number"),
        column("text", StringType(), "a string itself, the digits of binary data"),
    ]
)

TYPES = StructType(
    [
        column("session_id", StringType(), "BSON type of session_id, 'missing' when absent"),
        column("user_id", StringType(), "BSON type of user_id"),
        column("event_count", StringType(), "BSON type of event_count"),
        column("first_event_at", StringType(), "BSON type of first_event_at"),
        column("last_event_at", StringType(), "BSON type of last_event_at"),
        column("pages", StringType(), "BSON type of pages"),
        column("_id", StringType(), "BSON type of the document's own _id"),
    ]
)

EXACT = StructType(
    [
        column("first_event_at", StringType(), "as stored; null where it is no number"),
        column("last_event_at", StringType(), "as stored; null where it is no number"),
    ]
)

SESSIONS = StructType(
    [
        column("session_key", StringType(), "_id of the document"),
        column("key_order", KEY_ORDER, "sorts before session_key; null where all are ObjectIds"),
        column("session_id", StringType(), "key of the id; null when absent or malformed"),
        column("exact_id", StringType(), "envelope of an id but text, ObjectId, int or long"),
        column("user", StringType(), "user_id as stored; null when absent or null"),
        column("event_count", LongType(), "stored number of events; null when absent or malformed"),
        column("first_event_at", TimestampType(), "stored; null when absent or malformed"),
        column("last_event_at", TimestampType(), "stored; null when absent or malformed"),
        column("pages", PAGES, "stored pages in stored order; null when absent or malformed"),
        column("created_at", TimestampType(), "second of the ObjectId in _id; null for other _ids"),
        column("size", LongType(), "bytes of the document in BSON, and a few more"),
        column("types", TYPES, "BSON type names, which tell null from missing; null for the usual"),
        column(
            "parents",
            ArrayType(StringType()),
            "object, null or missing for each path above nested fields; null where none is nested",
        ),
        column("exact", EXACT, "dates that are numbers; null where their usual type tells all"),
        column(
            "malformed", StringType(), "'field: type' of each field of a wrong type; null for none"
        ),
    ]
)

EVENTS = StructType(
    [
        column("event_key", StringType(), "key of the _id of the event"),
        column("key_order", KEY_ORDER, "sorts before event_key; null where all are ObjectIds"),
        column("session_id", StringType(), "key of the id; null when absent or malformed"),
        column("user", StringType(), "key of the user_id; null when absent or null"),
        column("timestamp", TimestampType(), "when it happened; null when absent or malformed"),
        column("page", StringType(), "the page it names; null when it names none"),
        column(
            "malformed", StringType(), "'field: type' of each field of a wrong type; null for none"
        ),
    ]
)

STORED = StructType(
    [SESSIONS[name] for name in ("event_count", "pages", "first_event_at", "last_event_at")]
    + [SESSIONS[name] for name in ("exact_id", "user", "size", "types", "parents", "exact")]
)

MALFORMED_EVENTS = StructType(
    [
        column("types", StringType(), "'field: type' of each field of a wrong type"),
        column("events", LongType(), "number of such events"),
    ]
)

REBUILT = StructType(
    [
        column("event_count", LongType(), "number of its events"),
        column("pages", PAGES, "distinct pages by first visit: timestamp, then event _id"),
        column("first_event_at", TimestampType(), "least timestamp"),
        column("last_event_at", TimestampType(), "greatest timestamp"),
        column("user", StringType(), "the one user of its events; null if none or several"),
        column("user_conflict", BooleanType(), "its events name several users"),
        column("last_created_at", TimestampType(), "latest ObjectId time that the count misses"),
        column("last_active_at", TimestampType(), "greatest timestamp that is no clock error"),
        column("malformed_events", LongType(), "events with a field of a wrong type, not counted"),
        column("malformed", ArrayType(MALFORMED_EVENTS), "those events by their wrong types"),
        column("checked_events", LongType(), "events old enough to be compared with a count"),
        column("pages_size", LongType(), "bytes that the pages take in BSON, at most"),
    ]
)

DIAGNOSED = StructType(
    [
        column("session_key", StringType(), "_id of the session; null for events without one"),
        column("session_id", StringType(), "key of the id; null when absent or malformed"),
        column("created_at", TimestampType(), "second of the ObjectId in _id; null for other _ids"),
        column("stored", STORED, "what the session says; null where nothing was found"),
        column("rebuilt", REBUILT, "what its events say; null without events or findings"),
        column("canonical_key", StringType(), "_id of the document to keep among duplicates"),
        column("started_at", TimestampType(), "first event, else stored first, else creation"),
        column("in_flight", BooleanType(), "active within the settle window; never null"),
        column("names_no_page", BooleanType(), "a session whose pages are absent or empty"),
        column("counts_nothing", BooleanType(), "a session whose count is absent or 0"),
        column("events", LongType(), "number of its events; null for a session without events"),
        column("checked_events", LongType(), "those the server's count covers"),
        column("malformed", StringType(), "'field: type' of each field of it or of a duplicate"),
        column("symptoms", ArrayType(StringType()), "their codes; empty for a sound session"),
    ]
)

CHANGES = StructType(
    [
        column("event_count", LongType(), "the count to write; null to leave it"),
        column("pages", PAGES, "the pages to write; null to leave them"),
        column("first_event_at", TimestampType(), "the date to write; null to leave it"),
        column("last_event_at", TimestampType(), "the date to write; null to leave it"),
        column("user", StringType(), "the user to write; null to leave it"),
    ]
)

FINDING = StructType(
    [
        column("code", StringType(), "the symptom"),
        column(
            "field",
            StringType(),
            "the field of the session it concerns, by its name here; null for none",
        ),
        column("stored", StringType(), "the stored value as text; null when there is none"),
        column("rebuilt", StringType(), "the rebuilt value as text; null when there is none"),
        column("evidence", StringType(), "what else a reader needs to judge; null for none"),
        column("action", StringType(), "correct, defer (in flight) or report"),
        column("why", StringType(), "the reason for which it is left alone; null where corrected"),
    ]
)

CORRECTED = StructType(
    [
        *(f for f in DIAGNOSED.fields if f.name not in ("malformed", "symptoms")),
        column("changes", CHANGES, "what to write; null when nothing is to be written"),
        column("findings", ArrayType(FINDING), "its symptoms, each with what is done"),
    ]
)

JOURNAL_ROWS = StructType(
    [
        column("_id", StringType(), "run, attempt and _id of the session, by colons"),
        column("run_id", StringType(), "the run that planned it"),
        column("plan", StringType(), "extended JSON: session, observed, parents, new, findings"),
        column("expires_at", TimestampType(), "when MongoDB drops the row"),
    ]
)

# Rises when a column is added; columns are only ever added. Version 4, the last before the first
# release, dropped one.
SCHEMA_VERSION = 4

SESSION_IDENTITY = [
    column("session", StringType(), "_id of the session: hex digits of an ObjectId, else JSON"),
    column("session_type", StringType(), "BSON type of that _id"),
    column(
        "session_id",
        StringType(),
        "text, digits of an ObjectId or a number, a UUID, else JSON; null when absent or malformed",
    ),
    column("started_at", TimestampType(), "first event, else stored first, else creation"),
]

FINDING_ROWS = StructType(
    [
        *SESSION_IDENTITY,
        *FINDING.fields,
        column("outcome", StringType(), "what became of its correction; null for none"),
    ]
)

CORRECTION_ROWS = StructType(
    [
        *SESSION_IDENTITY,
        column(
            "old",
            StructType([STORED[name] for name in CHANGES.fieldNames()]),
            "as planned on",
        ),
        column("new", CHANGES, "the fields written; null for those left alone"),
        column("old_declared", DECLARED, "as planned on, of declared aggregates; JSON by name"),
        column("new_declared", DECLARED, "those written; JSON by name"),
        column("outcome", StringType(), "what became of it, see below; null before that is known"),
    ]
)

DELETION_ROWS = StructType(
    [
        *SESSION_IDENTITY,
        column("canonical", StringType(), "_id of the document that stays; null of an orphan"),
        column("outcome", StringType(), "what became of it, see below; null before that is known"),
    ]
)

SUMMARY_ROWS = StructType(
    [
        column("verb", StringType(), "the command that ran"),
        column("server_time", TimestampType(), "the server's clock when the run began"),
        column("database", StringType(), "the database that it read"),
        column("scope", StringType(), "empty or all: what it corrects, or would"),
        column("strategy", StringType(), "scan or lookup: how it read"),
        column("names", StringType(), "JSON: its collections, and the paths of their fields"),
        column("metric", StringType(), "the figure's name"),
        column("value", LongType(), "its value; null where a look-up did not read what it is of"),
    ]
)

JOURNAL_OUTCOMES = StructType(
    [
        column("session_key", StringType(), "_id of the document"),
        column("outcome", StringType(), "what became of the correction; null before it is known"),
    ]
)
