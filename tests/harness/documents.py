"""What a database holds, seen by plain pymongo: bytes, hashes, a copy to go back to."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.database import Database

Document = dict[str, Any]
Db = Database[Document]

SESSIONS, JOURNAL, RUNS = "sessions", "session_repair_journal", "session_repair_runs"
# Some dates are beyond the years that Python knows, some text is no UTF-8.
RAW: Any = CodecOptions(
    RawBSONDocument,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
    unicode_decode_error_handler="surrogateescape",
)


@contextmanager
def new_database(client: MongoClient[Document]) -> Iterator[Db]:
    """An empty database of its own name, dropped afterwards."""
    db = client[f"test_{uuid.uuid4().hex[:12]}"]
    yield db
    client.drop_database(db.name)


def raw_documents(db: Db, collection: str = SESSIONS) -> list[Any]:
    """Every document as the server holds it: a RawBSONDocument."""
    return list(db.get_collection(collection, codec_options=RAW).find())


def stored_bytes(db: Db, collection: str = SESSIONS) -> dict[Any, bytes]:
    """Every document as its bytes, by its _id."""
    return {document["_id"]: document.raw for document in raw_documents(db, collection)}


def joined(*documents: bytes | Document) -> RawBSONDocument:
    """One document of the fields of several, among which one name may stand twice."""
    whole = [it if isinstance(it, bytes) else bson.encode(it) for it in documents]
    body = b"".join(it[4:-1] for it in whole)
    return RawBSONDocument((len(body) + 5).to_bytes(4, "little") + body + b"\0")


def with_bytes(document: Document, others: bytes) -> RawBSONDocument:
    """The document with other bytes, that are no UTF-8 for one, for as many ``~`` in it."""
    return RawBSONDocument(bson.encode(document).replace(b"~" * len(others), others), RAW)


def put_in_place(db: Db, key: Any, document: RawBSONDocument) -> None:
    """A session is this document from now on, to the byte."""
    raw: Any = db.get_collection(SESSIONS, codec_options=RAW)
    assert raw.delete_one({"_id": key}).deleted_count == 1
    raw.insert_one(document)


def differing(db: Db, expected: dict[Any, bytes]) -> list[Any]:
    """The _ids of the sessions that are not, byte for byte, what is expected."""
    found = stored_bytes(db)
    return [key for key in {**expected, **found} if expected.get(key) != found.get(key)]


def decoded(raw: bytes) -> Document:
    options: CodecOptions[Document] = CodecOptions(tz_aware=True)
    return bson.decode(raw, options)


def hash_of(db: Db, collection: str = SESSIONS) -> str:
    """The server's own hash over a collection."""
    answer: str = db.command("dbHash", collections=[collection])["collections"][collection]
    return answer


def fingerprint(db: Db) -> tuple[Any, Any]:
    """The hash of every collection, and the list of collections with their options."""
    hashes = db.command("dbHash")["collections"]
    listed = sorted(db.list_collections(), key=lambda collection: collection["name"])
    return hashes, listed


def data_of(db: Db) -> tuple[Any, Any]:
    """The fingerprint but for the history of runs, where a run that failed stands too."""
    hashes, listed = fingerprint(db)
    hashes.pop(RUNS, None)
    return hashes, [collection for collection in listed if collection["name"] != RUNS]


@dataclass(frozen=True)
class Snapshot:
    """Every document of a database, as bytes, to begin with again."""

    db: Db
    documents: dict[str, list[Any]]

    def restored(self) -> Db:
        """The database, as it was."""
        for name in {*self.documents, *self.db.list_collection_names()}:
            self.db[name].delete_many({})
            if documents := self.documents.get(name):
                self.db.get_collection(name, codec_options=RAW).insert_many(documents)
        return self.db


@contextmanager
def made_once(db: Db, make: Callable[[Db], object]) -> Iterator[Snapshot]:
    """What is made in a database, for several tests to begin with; dropped afterwards."""
    make(db)
    yield Snapshot(db, {name: raw_documents(db, name) for name in db.list_collection_names()})
    db.client.drop_database(db)
