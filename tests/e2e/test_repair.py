"""The guide's story on generated data: what each command leaves, seen by plain pymongo."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
import pandas
import pytest
from pymongo.database import Database

from demo.generate import Figures, generate
from tests.e2e.shell import Mongosh
from tests.harness.commands import Command, Ended
from tests.harness.documents import JOURNAL, RUNS, Document, decoded, fingerprint, stored_bytes
from tests.oracle import rebuilt

SESSIONS = 300
FIGURES = Figures.of(SESSIONS)  # 2,122 events; 85 sessions are empty, 83 of them have events


@dataclass(frozen=True)
class Story:
    """verify, fix, fix --apply and twice more, and what stood in the database between them."""

    db: Database[Document]
    folder: Path
    before: dict[Any, bytes]
    after: dict[Any, bytes]
    rebuilt: dict[str, Document]
    fingerprints: dict[str, tuple[Any, Any]]
    ended: dict[str, Ended]
    first_files: dict[str, str]  # of the report, before another run wrote its own

    def json(self, name: str) -> Document:
        found: Document = json.loads((self.folder / f"{name}.json").read_text())
        return found

    def broken(self) -> dict[Any, Document]:
        """The sessions as they were that were empty although events of theirs exist."""
        sessions = {key: decoded(raw) for key, raw in self.before.items()}
        return {
            key: session
            for key, session in sessions.items()
            if session["event_count"] == 0 and session["session_id"] in self.rebuilt
        }


@pytest.fixture(scope="module")
def story(
    module_db: Database[Document], command: Command, tmp_path_factory: pytest.TempPathFactory
) -> Story:
    db, folder = module_db, tmp_path_factory.mktemp("story")
    assert generate(db, SESSIONS) == FIGURES
    before, from_events = stored_bytes(db), rebuilt(db)
    fingerprints, ended = {"generated": fingerprint(db)}, {}

    def act(name: str, verb: str, *options: str) -> None:
        options = ("--database", db.name, "--json", f"{folder}/{name}.json", *options)
        ended[name] = command(verb, *options)
        fingerprints[name] = fingerprint(db)

    report = ("--report", f"{folder}/report")
    act("verify", "verify", *report)
    first_files = digests(folder / "report")
    act("dry run", "fix")
    act("fix", "fix", "--apply", *report)
    after = stored_bytes(db)
    act("second fix", "fix", "--apply")
    act("second verify", "verify")
    return Story(db, folder, before, after, from_events, fingerprints, ended, first_files)


def test_the_exit_codes_tell_broken_from_mended(story: Story) -> None:
    codes = {name: ended.code for name, ended in story.ended.items()}
    assert codes == {"verify": 3, "dry run": 3, "fix": 0, "second fix": 0, "second verify": 0}


def test_no_command_complains(story: Story) -> None:
    assert {name: ended.complaints for name, ended in story.ended.items()} == dict.fromkeys(
        story.ended, ""
    )


def test_verify_and_a_dry_run_leave_the_database_as_it_was(story: Story) -> None:
    assert story.fingerprints["verify"] == story.fingerprints["generated"]
    assert story.fingerprints["dry run"] == story.fingerprints["generated"]


def test_every_session_with_events_equals_what_its_events_say(story: Story) -> None:
    stored = {
        session["session_id"]: {name: session[name] for name in story.rebuilt[sid]}
        for session in map(decoded, story.after.values())
        if (sid := session["session_id"]) in story.rebuilt
    }
    assert len(stored) == FIGURES.sessions - FIGURES.orphans == 298
    assert stored == story.rebuilt


def test_a_repaired_session_is_to_the_byte_the_old_one_with_the_rebuilt_fields(
    story: Story,
) -> None:
    broken = story.broken()
    assert len(broken) == FIGURES.broken == 83
    expected = {
        key: bson.encode({**session, **story.rebuilt[session["session_id"]]})
        for key, session in broken.items()
    }
    assert {key: story.after[key] for key in broken} == expected


def test_healthy_sessions_and_orphans_stay_as_they_were_to_the_byte(story: Story) -> None:
    others = story.before.keys() - story.broken().keys()
    assert len(others) == SESSIONS - 83
    assert {key: story.after[key] for key in others} == {key: story.before[key] for key in others}
    assert story.after.keys() == story.before.keys()


def test_the_bson_types_are_those_of_the_service(story: Story) -> None:
    types = {
        name: {"$type": f"${name}"}
        for name in ("_id", "session_id", "user_id", "event_count", "first_event_at")
    }
    pages: Document = {"$map": {"input": "$pages", "in": {"$type": "$$this"}}}
    kinds = {**types, "last_event_at": {"$type": "$last_event_at"}, "pages": {"$setUnion": [pages]}}
    repaired = {"$match": {"_id": {"$in": list(story.broken())}}}
    counted = {"$group": {"_id": kinds, "count": {"$sum": 1}}}
    grouped = list(story.db["sessions"].aggregate([repaired, counted]))
    assert grouped == [
        {
            "_id": {
                "_id": "objectId",
                "session_id": "string",
                "user_id": "objectId",
                "event_count": "int",
                "first_event_at": "date",
                "last_event_at": "date",
                "pages": ["string"],
            },
            "count": 83,
        }
    ]


def test_the_events_and_the_indexes_stay_as_they_were(story: Story) -> None:
    generated, fixed = story.fingerprints["generated"], story.fingerprints["fix"]
    assert fixed[0]["events"] == generated[0]["events"]
    assert set(story.db["sessions"].index_information()) == {"_id_", "session_id_1"}


def test_fix_adds_only_its_own_two_collections(story: Story) -> None:
    assert {collection["name"] for collection in story.fingerprints["fix"][1]} == {
        *("events", "sessions", JOURNAL, RUNS)
    }


def test_a_second_fix_plans_nothing_and_changes_no_session(story: Story) -> None:
    fixed, again = story.fingerprints["fix"][0], story.fingerprints["second fix"][0]
    assert story.json("second fix")["totals"]["planned"] == 0
    assert {name: again[name] for name in ("sessions", "events", JOURNAL)} == {
        name: fixed[name] for name in ("sessions", "events", JOURNAL)
    }


def test_fix_prints_the_figures_of_the_guide(story: Story) -> None:
    lines = [line for line in story.ended["fix"].out.splitlines() if line]
    assert lines == [
        "=" * 60,
        "Fix Empty Sessions",
        "=" * 60,
        "Found 85 potentially empty sessions",
        "Processing 83 sessions...",
        "  Processed 83/83...",
        "=" * 60,
        "✅ Fixed 83 sessions",
        "ℹ️  Found 2 orphan sessions (no events)",
        "=" * 60,
        "=== Verification ===",
        "Total sessions: 300",
        "Sessions with events: 298",
        "Empty sessions remaining: 2",
        "Read back as planned: 83",
        "✅ All fixable sessions have been fixed!",
        "   2 orphan sessions remain (created but no events)",
    ]


def test_verify_prints_the_figures_of_the_guide(story: Story) -> None:
    labels = (
        "Total sessions",
        "Total events",
        "Sessions with empty pages",
        "Sessions with 0 events",
    )
    before, after = story.ended["verify"], story.ended["second verify"]
    assert [before.figure(label) for label in labels] == [300, 2122, 85, 85]
    assert [after.figure(label) for label in labels] == [300, 2122, 2, 2]
    fix = f"./spark-submit.sh fix --apply --database {story.db.name}"
    assert f"⚠️  83 sessions can be repaired from their events: {fix}\n" in before.out
    assert "✅ Nothing in this scope is left to repair\n" in after.out


def test_samples_show_the_old_and_the_rebuilt_value_of_a_session(story: Story) -> None:
    shown = [
        line.split()
        for line in story.ended["verify"].out.splitlines()
        if line.strip().startswith("zero_events  ")
    ]
    assert len(shown) == 5
    broken = {session["session_id"] for session in story.broken().values()}
    for _, session_id, stored, arrow, count in shown:
        assert session_id in broken
        assert (stored, arrow) == ("0", "→")
        assert int(count) == story.rebuilt[session_id]["event_count"]


def test_a_dry_run_says_what_it_would_do(story: Story) -> None:
    told = story.ended["dry run"].out
    assert "Would fix 83 sessions. This was a dry run: nothing was written.\n" in told


@pytest.mark.parametrize("name", ["verify", "dry run", "fix", "second fix", "second verify"])
def test_json_has_the_verdict_and_the_figures_of_the_text(story: Story, name: str) -> None:
    written, ended = story.json(name), story.ended[name]
    assert written["verdict"] == ended.code
    assert written["verb"] == ("verify" if "verify" in name else "fix")
    totals = written["totals"]
    if "verify" in name:
        assert totals["sessions"] == ended.figure("Total sessions")
        assert totals["events"] == ended.figure("Total events")
        assert totals["names_no_page"] == ended.figure("Sessions with empty pages")
        assert totals["counts_nothing"] == ended.figure("Sessions with 0 events")
    else:
        assert f"Found {totals['potentially_empty']} potentially empty sessions\n" in ended.out
    if name == "fix":
        assert f"Fixed {written['outcomes']['applied']} sessions\n" in ended.out
        verified = written["verification"]
        assert verified["sessions"] == ended.figure("Total sessions")
        assert verified["with_events"] == ended.figure("Sessions with events")
        assert verified["empty_remaining"] == ended.figure("Empty sessions remaining")


def test_the_run_document_has_the_verdict_and_counts_of_the_report(story: Story) -> None:
    written = story.json("fix")
    run = story.db[RUNS].find_one({"_id": written["run_id"]})
    assert run is not None
    assert (run["state"], run["verdict"], run["planned"]) == ("done", 0, 83)
    assert "uri" not in run["settings"]


def test_the_journal_holds_what_each_corrected_session_said_and_nothing_is_written_to_it_later(
    story: Story,
) -> None:
    rows = [decoded(row) for row in stored_bytes(story.db, JOURNAL).values()]
    fields = ("event_count", "pages", "first_event_at", "last_event_at", "user_id")
    kept = {row["plan"]["session"]["v"]: bson.encode(row["plan"]["observed"]) for row in rows}
    assert kept == {
        key: bson.encode({name: session[name] for name in fields})
        for key, session in story.broken().items()
    }
    assert {tuple(sorted(row)) for row in rows} == {("_id", "expires_at", "plan", "run_id")}


def read_parquet(story: Story, dataset: str, name: str) -> pandas.DataFrame:
    frame = pandas.read_parquet(story.folder / "report" / dataset)
    return frame[frame["run_id"].astype(str) == story.json(name)["run_id"]]


@pytest.mark.parametrize("name", ["verify", "fix"])
def test_the_findings_in_parquet_count_what_the_report_counts(story: Story, name: str) -> None:
    counted = read_parquet(story, "findings", name)["code"].value_counts().to_dict()
    reported = {s["code"]: s["found"] for s in story.json(name)["symptoms"]}
    # Of some codes a look-up finds those of the sessions that it read, and cannot know them all.
    known = {code: count for code, count in reported.items() if count is not None}
    assert {code: counted.get(code, 0) for code in known} == known
    assert ("last_event_mismatch" in known) == (name == "verify")
    assert counted["orphan_session"] == FIGURES.orphans


def test_the_corrections_in_parquet_are_the_documents_before_and_after(story: Story) -> None:
    rows = read_parquet(story, "corrections", "fix")
    assert dict(rows["outcome"].value_counts()) == {"applied": 83}
    assert set(rows["session_type"]) == {"objectId"}
    written = {
        session: (new["event_count"], list(new["pages"]))
        for session, new in zip(rows["session"], rows["new"], strict=True)
    }
    assert written == {
        str(key): (
            story.rebuilt[s["session_id"]]["event_count"],
            story.rebuilt[s["session_id"]]["pages"],
        )
        for key, s in story.broken().items()
    }
    assert {old["event_count"] for old in rows["old"]} == {0}


def test_the_summary_in_parquet_has_every_figure_of_the_report(story: Story) -> None:
    rows = read_parquet(story, "summary", "fix")
    figures = {
        name: None if pandas.isna(value) else value
        for name, value in zip(rows["metric"], rows["value"], strict=True)
    }
    written = story.json("fix")
    expected = {"verdict": 0, **written["totals"]}
    for symptom in written["symptoms"]:
        for count in ("found", "to_correct", "deferred"):
            expected[f"{count}.{symptom['code']}"] = symptom[count]
    for part in ("outcomes", "verification"):
        expected.update({f"{part}.{name}": value for name, value in written[part].items()})
    # What a look-up of the empty sessions cannot know is null, there and here.
    of_empty = {"empty_pages", "zero_events", "orphan_session"}
    others = {f"found.{it['code']}" for it in written["symptoms"] if it["code"] not in of_empty}
    unknown = {name for name, value in expected.items() if value is None}
    without = "filled_without_events"
    of_events = {"events", "events_without_session", without, f"verification.{without}"}
    assert unknown == {*of_events, *others}
    assert len(others) == 11
    assert figures == expected


def test_a_run_leaves_the_parquet_files_of_another_alone(story: Story) -> None:
    report = story.folder / "report"
    assert story.first_files.items() <= digests(report).items()
    runs = sorted(f"run_id={story.json(name)['run_id']}" for name in ("verify", "fix"))
    for dataset in ("findings", "corrections", "summary"):
        assert sorted(path.name for path in report.glob(f"{dataset}/run_date=*/*")) == runs


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_three_shell_checks_of_the_guide_agree(
    story: Story, mongosh: Mongosh, mongo_uri: str
) -> None:
    session_id = min(session["session_id"] for session in story.broken().values())
    checks = """
      var session = db.sessions.findOne({session_id: "SESSION_ID"})
      var empty = db.sessions.find({event_count: {$gt: 0}, pages: {$size: 0}}).count()
      var wrong = [], right = 0
      db.sessions.find().forEach(function(session) {
        var actualCount = db.events.count({session_id: session.session_id})
        if (session.event_count === actualCount) right++; else wrong.push(session.session_id)
      })
      return {count: session.event_count, pages: session.pages, user: session.user_id.toString(),
              empty: empty, right: right, wrong: wrong}
    """
    expected = story.rebuilt[session_id]
    assert mongosh.evaluate(mongo_uri, story.db.name, checks.replace("SESSION_ID", session_id)) == {
        "count": expected["event_count"],
        "pages": expected["pages"],
        "user": str(expected["user_id"]),
        "empty": 0,
        "right": SESSIONS,
        "wrong": [],
    }
