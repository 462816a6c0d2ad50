"""Sessions that keep their fields inside others, in each way in which these may be there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bson import Int64, ObjectId

from demo.ingest import new_event
from tests.harness.commands import Command, Ended
from tests.harness.documents import SESSIONS, Db, Document
from tests.harness.runs import the_run

NESTED = """
[fields.sessions]
event_count = "stats.count"
pages = "stats.seen.pages"
last_event_at = "stats.seen.last"
first_event_at = "first.at"
user_id = "owner.id"
"""
PARENTS: dict[str, Document] = {
    "all absent": {},
    "all null": {"stats": None, "first": None, "owner": None},
    "all there": {"stats": {"seen": {}}, "first": {}, "owner": {}},
    "with other things": {"owner": {"x": 1}, "stats": {"seen": {"a": 1}, "b": [2]}, "first": {}},
    "half": {"stats": {"seen": None, "count": 0}, "z": 1},
    "full": {"stats": {"count": Int64(0), "seen": {"pages": [], "k": 1, "last": None}}},
}


@dataclass(frozen=True)
class Nested:
    """A planned run over sessions with nested fields; a call runs a verb on it."""

    db: Db
    command: Command
    run: str
    config: str

    @staticmethod
    def planned(db: Db, command: Command, folder: Path) -> Nested:
        config = folder / "nested.toml"
        config.write_text(NESTED)
        user = ObjectId()
        for name, parents in PARENTS.items():
            db[SESSIONS].insert_one({"session_id": name, **parents, "note": "n"})
            for page in ("/a", "/b"):
                made = ObjectId("68dced900000000000000000")
                at = made.generation_time
                event = new_event(made, user, name, at, page, "page_view", {}, "c")
                db["events"].insert_one({**event, "_id": ObjectId()})
        absent = ("--allow-absent", "first.at", "--allow-absent", "owner.id")
        ended = command("fix", "--plan", "--settle", "0s", "--config", str(config), *absent, on=db)
        assert (ended.code, the_run(db)["planned"]) == (3, len(PARENTS)), ended.told
        return Nested(db, command, the_run(db)["_id"], str(config))

    def __call__(self, verb: str, *words: str) -> Ended:
        return self.command(verb, self.run, *words, "--config", self.config, on=self.db)
