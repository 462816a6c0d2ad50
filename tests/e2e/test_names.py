"""Names: a field of the settings that no document has stops every verb before it plans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from demo.generate import generate
from session_repair.fields import SESSION_FIELDS
from tests.harness.commands import Command, Ended
from tests.harness.documents import JOURNAL, SESSIONS, Db, Document, data_of, stored_bytes
from tests.harness.shop import Shop

WRITING = [("fix", "--apply"), ("fix", "--plan"), ("delete-orphans", "--apply")]
LOOKING = [("verify",), ("fix",), ("delete-orphans",)]

Stopped = Callable[..., Ended]


@pytest.fixture
def stopped(command: Command, db: Db) -> Stopped:
    """Runs a verb that must end with 4 in one line, and must have written no data."""

    def run(*words: str) -> Ended:
        before = data_of(db)
        ended = command(*words, on=db)
        assert (ended.code, ended.out, ended.complaints.count("\n")) == (4, "", 1), ended
        assert data_of(db) == before
        return ended

    return run


def config(folder: Path, text: str) -> tuple[str, str]:
    file = folder / "names.toml"
    file.write_text(text)
    return "--config", str(file)


def all_verbs(stopped: Stopped, *options: str) -> set[str]:
    """What the verbs complain of, without their own name and what they advise."""
    told = [stopped(*words, *options) for words in (*WRITING, *LOOKING)]
    return {it.complaints.partition(": ")[2].partition(" Name ")[0] for it in told}


def test_a_field_that_no_session_has_stops_every_verb_and_its_like_is_named(
    db: Db, stopped: Stopped, tmp_path: Path
) -> None:
    generate(db, 40)
    wrong = {it: it.replace("e", "", 1) for it in SESSION_FIELDS}
    lines = [f'{field} = "{name}"' for field, name in wrong.items()]
    told = all_verbs(stopped, *config(tmp_path, "\n".join(["[fields.sessions]", *lines])))
    (line,) = told
    assert line.startswith(
        "no session of 'sessions' has the field 'sssion_id' (alike: 'session_id'"
    )
    assert line.endswith(". Nothing was written.")
    for field, name in wrong.items():
        assert f"{name!r} (alike: {field!r}" in line


@pytest.mark.parametrize("field", SESSION_FIELDS)
def test_each_field_of_the_sessions_alone_stops_a_fix(
    db: Db, stopped: Stopped, tmp_path: Path, field: str
) -> None:
    generate(db, 10)
    ended = stopped("fix", "--apply", *config(tmp_path, f'[fields.sessions]\n{field} = "qqq"'))
    assert "no session of 'sessions' has the field 'qqq'" in ended.err
    assert "alike" not in ended.err


def test_a_nested_field_is_known_by_its_whole_path(
    db: Db, stopped: Stopped, tmp_path: Path
) -> None:
    generate(db, 10)
    db[SESSIONS].update_many({}, {"$rename": {"pages": "meta.visited.pages"}})
    asked = config(tmp_path, '[fields.sessions]\npages = "meta.pages"')
    (line,) = all_verbs(stopped, *asked)
    assert "the field 'meta.pages' (alike: 'meta.visited.pages')" in line


def test_a_user_that_no_event_has_stops_every_verb(
    db: Db, stopped: Stopped, tmp_path: Path
) -> None:
    generate(db, 10)
    (line,) = all_verbs(stopped, *config(tmp_path, '[fields.events]\nuser_id = "userId"'))
    assert "no event of 'events' has the field 'userId' (alike: 'user_id')" in line


def test_a_field_that_no_session_has_yet_is_let_through_by_its_name_and_no_other(
    command: Command, db: Db, stopped: Stopped
) -> None:
    figures = generate(db, 100)
    db[SESSIONS].update_many({}, {"$unset": {"first_event_at": 1, "user_id": 1}})
    allowed = ("--allow-absent", "first_event_at", "--allow-absent", "user_id")
    assert "'user_id'" in stopped("fix", "--apply", *allowed[:2]).err
    refused = command("fix", "--apply", "--allow-absent", "evnt_count", on=db)
    assert (refused.code, refused.out) == (2, "")
    assert "--allow-absent evnt_count" in refused.err
    assert command("fix", "--apply", *allowed, on=db).code == 0
    filled = {"first_event_at": {"$type": "date"}, "user_id": {"$type": "objectId"}}
    assert db[SESSIONS].count_documents(filled) == figures.broken == 28


def test_a_session_id_that_no_session_has_is_let_through_by_no_option(
    db: Db, stopped: Stopped
) -> None:
    generate(db, 10)
    db[SESSIONS].update_many({}, {"$rename": {"session_id": "sessionId"}})
    for words in (*WRITING, *LOOKING):
        ended = stopped(*words, "--allow-absent", "session_id")
        assert "the field 'session_id' (alike: 'sessionId')" in ended.err
        assert "--allow-absent" not in ended.err


# Deletion


def test_sessions_that_are_filled_under_other_names_are_never_deleted_as_empty(
    db: Db, stopped: Stopped
) -> None:
    generate(db, 40)
    db[SESSIONS].update_many({}, {"$rename": {"pages": "pageList", "event_count": "eventCount"}})
    db["events"].delete_many({"session_id": {"$gte": "68e4"}})
    options = ("--max-delete", "100%", "--allow-absent", "pages", "--allow-absent", "event_count")
    for words in (WRITING[-1], LOOKING[-1]):
        for more in ((), ("--duplicates",)):
            told = stopped(*words, *options, *more).err
            assert "'pages' (alike: 'pageList')" in told
            assert "'event_count' (alike: 'eventCount')" in told
    assert db[JOURNAL].count_documents({}) == 0


def test_a_session_that_has_neither_pages_nor_a_count_is_not_deleted(
    command: Command, db: Db
) -> None:
    """Where others have both, it may be filled under the names of another program."""
    shop = Shop(db)
    shop.session("sound", event_count=1, pages=["/home"])
    shop.session("full", event_count=1, pages=["/home"])
    for name in ("sound", "full"):
        shop.events(name, {0: "/home"})
    other = {"pageList": ["/home"], "eventCount": 1}
    kept = [shop.session("other", **other), shop.session("full", **other)]
    gone = [shop.session("null", event_count=None, pages=None), shop.session("one", **other)]
    gone.append(shop.session("full", **other))
    for session in kept:
        unset(db, session, "pages", "event_count")
    unset(db, gone[1], "pages")
    unset(db, gone[2], "event_count")
    before = stored_bytes(db)
    for more in ((), ("--duplicates",)):
        ended = command("delete-orphans", "--apply", "--max-delete", "100%", *more, on=db)
        assert ended.code == 0, ended
    left = {it["_id"] for it in gone}
    assert stored_bytes(db) == {key: before[key] for key in before if key not in left}


def unset(db: Db, session: Document, *fields: str) -> None:
    db[SESSIONS].update_one({"_id": session["_id"]}, {"$unset": dict.fromkeys(fields, 1)})
