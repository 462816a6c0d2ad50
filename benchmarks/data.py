"""The demo's data at a multiple of its size, on a MongoDB of its own, kept between runs.

Every multiple is what `demo/generate.py` makes of so many sessions: the guide's proportions, over
the same 28 days. The sessions as they were generated stand in a second database, from which the
server itself copies them back before each run that is timed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bson
import click
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure

from demo.generate import SEED, SESSIONS, Figures, generate, visits
from demo.member import POLL_SECONDS, START_SECONDS, Member
from demo.mongod import ServerStartError
from demo.server import OPLOG_MB, SET_NAME

Document = dict[str, Any]

DATABASE, PRISTINE = "browsing", "as_generated"  # the first is the default of --database
IN_ORDER = 10  # from this multiple on documents lie in the order of time
SAMPLED = 200  # sessions that tell whether the generator still makes the same
OF_WINDOWS = (("events", "timestamp"), ("sessions", "last_event_at"))
# Of a config file, in the order in which they are declared; what keep_more_aggregates stores.
MORE_AGGREGATES = (
    '[[aggregates]]\nfield = "clicks"\nis = "count"\nwhere = { event_type = "click" }\n',
    '[[aggregates]]\nfield = "landing_page"\nis = "first"\nof = "page"\n',
    '[[aggregates]]\nfield = "duration_ms"\nis = "span"\nunit = "ms"\n',
)
NOT_YET_INITIATED = 94
REPAIRED = ("event_count", "pages", "first_event_at", "last_event_at", "user_id")


def cache_folder() -> Path:
    """Where the data of every multiple is kept; the command's own cache holds it."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("SESSION_REPAIR_CACHE") or base / "session-repair") / "bench"


@dataclass(frozen=True)
class Bench:
    """A running server that holds the generated data of one multiple."""

    times: int
    member: Member
    client: MongoClient[Document]
    figures: Figures
    sessions_md5: str  # of the sessions as they were generated

    @property
    def uri(self) -> str:
        return uri_of(self.member)

    @property
    def database(self) -> Database[Document]:
        return self.client[DATABASE]

    def restore(self) -> None:
        """Makes the sessions what they were, drops all that runs left; checked, on the disk.

        Raises RuntimeError when the database is not as it was generated.
        """
        pristine = self.client[PRISTINE]["sessions"]
        pristine.aggregate([{"$out": {"db": DATABASE, "coll": "sessions"}}])  # keeps the indexes
        for name in set(self.database.list_collection_names()) - {"sessions", "events"}:
            self.database.drop_collection(name)
        for collection, field in OF_WINDOWS:
            if f"{field}_1" in self.database[collection].index_information():
                self.database[collection].drop_index(f"{field}_1")
        self.client.admin.command("fsync")  # else the next run would pay for this checkpoint
        found = {
            "sessions": md5_of(self.database, "sessions") == self.sessions_md5,
            "indexes": all(
                "session_id_1" in self.database[name].index_information()
                for name in ("sessions", "events")
            ),
        }
        if not all(found.values()):
            raise RuntimeError(f"the data of {self.times}x is not as it was generated: {found}")

    def index_for_windows(self) -> None:
        """Makes what --since finds active sessions by; the next restore drops it."""
        for collection, field in OF_WINDOWS:
            self.database[collection].create_index(field)

    def keep_more_aggregates(self) -> None:
        """Gives sessions MORE_AGGREGATES of their events; the next restore takes them away."""
        clicks = {"$sum": {"$cond": [{"$eq": ["$event_type", "click"]}, 1, 0]}}
        page = {"$top": {"sortBy": {"timestamp": 1, "_id": 1}, "output": "$page"}}
        dates = {"least": {"$min": "$timestamp"}, "greatest": {"$max": "$timestamp"}}
        group = {"_id": "$session_id", "clicks": clicks, "landing_page": page, **dates}
        duration = {"$subtract": ["$greatest", "$least"]}
        fields = {"_id": 0, "session_id": "$_id", "clicks": 1, "landing_page": 1}
        sessions = self.database["sessions"]
        unique = sessions.create_index("session_id", unique=True, name="of_merge")
        self.database["events"].aggregate(
            [
                {"$group": group},
                {"$project": {**fields, "duration_ms": duration}},
                {"$merge": {"into": "sessions", "on": "session_id", "whenNotMatched": "discard"}},
            ],
            allowDiskUse=True,
        )
        sessions.drop_index(unique)
        self.client.admin.command("fsync")

    def digest(self) -> str:
        """SHA-256 over the fields that a repair writes, of every session in the order of _id."""
        digest = hashlib.sha256()
        raw: Any = self.database.get_collection(
            "sessions", codec_options=bson.CodecOptions(RawBSONDocument)
        )
        for session in raw.find({}, dict.fromkeys(REPAIRED, 1)).sort("_id", 1):
            digest.update(session.raw)
        return digest.hexdigest()

    def broken_session(self) -> Document:
        """The first of the empty sessions that has events, as it was generated."""
        empty = self.client[PRISTINE]["sessions"].find({"event_count": 0}).sort("_id", 1)
        events = self.database["events"]
        return next(it for it in empty if events.find_one({"session_id": it["session_id"]}))

    def warm(self) -> None:
        """Brings both collections into the server's cache, as far as they fit; nothing is missing.

        Raises RuntimeError when documents are.
        """
        for name in ("sessions", "events"):
            found = self.database[name].count_documents({"session_id": {"$type": "string"}})
            wanted = getattr(self.figures, name)
            if found != wanted:
                raise RuntimeError(
                    f"{DATABASE}.{name} holds {found} documents where {wanted} were generated. "
                    f"Remove {self.member.folder} to have it generated again."
                )


@contextmanager
def bench(times: int, cache_gb: float, is_shuffled: bool = False) -> Iterator[Bench]:
    """The server with the data of that multiple; generated if the cache does not hold it.

    From IN_ORDER on the documents lie in the order of time, as an ingest stores them, unless they
    are to lie in the worst one, which has nothing to do with it: then every look-up and every write
    is of another page, and once the server's cache is full, of the disk.
    """
    in_order = times >= IN_ORDER and not is_shuffled
    folder = f"{times}x-in-order" if in_order else f"{times}x"
    with (
        kept_server(cache_folder() / folder, cache_gb) as member,
        MongoClient[Document](uri_of(member), tz_aware=True) as client,
    ):
        fingerprint = generator_fingerprint()
        about = {"sessions": times * SESSIONS, "generator": fingerprint, "in_order": in_order}
        kept = client[PRISTINE]["about"].find_one(about) or build(client, about)
        ready = Bench(times, member, client, Figures(**kept["figures"]), kept["sessions_md5"])
        ready.warm()
        yield ready


def build(client: MongoClient[Document], about: Document) -> Document:
    """What is known of the data that it generates; written last, so it tells that all is there."""
    for name in (DATABASE, PRISTINE):
        client.drop_database(name)
    began = time.monotonic()
    click.echo(f"Generating {about['sessions']:,} sessions …", err=True)
    figures = generate(client[DATABASE], about["sessions"], SEED)
    if about["in_order"]:
        for name in ("sessions", "events"):  # an ObjectId begins with the time
            sorted_anew: list[Document] = [{"$sort": {"_id": 1}}, {"$out": name}]
            client[DATABASE][name].aggregate(sorted_anew, allowDiskUse=True)
    client[DATABASE]["sessions"].aggregate([{"$out": {"db": PRISTINE, "coll": "sessions"}}])
    md5 = md5_of(client[PRISTINE], "sessions")
    client.admin.command("fsync")
    whole = {**about, "figures": asdict(figures), "sessions_md5": md5}
    client[PRISTINE]["about"].insert_one(whole)
    click.echo(f"  {figures} ({time.monotonic() - began:.0f} s)", err=True)
    return whole


def md5_of(database: Database[Document], collection: str) -> str:
    """The server's own hash of all documents in the order of _id."""
    md5: str = database.command("dbHash", collections=[collection])["collections"][collection]
    return md5


def generator_fingerprint() -> str:
    """SHA-256 of what the generator makes at a small size: another one, and kept data is stale."""
    digest = hashlib.sha256()
    for visit in visits(SAMPLED):
        for document in (visit.session(), *visit.events):
            digest.update(bson.encode(document))
    return digest.hexdigest()


@contextmanager
def kept_server(folder: Path, cache_gb: float) -> Iterator[Member]:
    """A replica set of one mongod on the folder, which stays when the block ends."""
    options = [
        *("--wiredTigerCacheSizeGB", str(cache_gb), "--oplogSize", str(OPLOG_MB)),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    ]
    member = Member(folder, SET_NAME, options, outlives_parent=False)
    with held(folder):
        member.start()
        try:
            make_primary(member)
            yield member
        finally:
            member.stop()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Within the block the folder is this process's alone; raises ServerStartError if it is not."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerStartError(f"another benchmark uses {folder}. Wait for its end.") from None
        yield


def make_primary(member: Member) -> None:
    """Makes the member a set of its own, at the address that it has this time."""
    with member.client() as client:
        try:
            config = client.admin.command("replSetGetConfig")["config"]
        except OperationFailure as error:
            if error.code != NOT_YET_INITIATED:
                raise
            config = {"_id": SET_NAME, "members": [{"_id": 0, "host": member.address}]}
            client.admin.command("replSetInitiate", config)
        else:
            config["version"] += 1
            config["members"][0]["host"] = member.address
            client.admin.command("replSetReconfig", config, force=True)
    deadline = time.monotonic() + START_SECONDS
    while not member.hello().get("isWritablePrimary"):
        if time.monotonic() > deadline:
            raise ServerStartError(f"no primary:\n{member.last_log_lines()}")
        time.sleep(POLL_SECONDS)


def uri_of(member: Member) -> str:
    return f"mongodb://{member.address}/?replicaSet={SET_NAME}"
