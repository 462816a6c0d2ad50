"""The README is as true as the code: its tables, its options, its commands and what they print."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from pymongo.database import Database

import delete_orphan_sessions
import fix_empty_sessions
import resume_run
import verify_sessions
from demo.generate import Figures, generate
from demo.server import EmbeddedMongod
from session_repair.cli.commands import commands
from session_repair.errors import Exit
from session_repair.symptoms import OF_EMPTY
from tests.e2e.notebook import run_notebook
from tests.harness.commands import ROOT, spark_submit
from tests.harness.documents import Document
from tests.harness.table import CODES, CORRECTED_CODES
from tests.oracle import rebuilt

README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_LINES = 200  # what a stranger reads
DOCS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
OPTIONS_OF_OTHERS = {
    "--help",
    "--version",
    "--seed",
    "--keep",
    "--sessions",
    "--all",
    "--faults",
    "--spark",
    "--master",
    "--driver-memory",
    "--deploy-mode",
    "--check",
    "--verbs",
    "--files",
    "--from-file",
    "--jars",
    "--packages",
    "--py-files",
    "--conf",
    "--driver-java-options",
    "--executor-cores",
    "--num-executors",
    "--require-hashes",
    "--no-build-isolation",
    "--no-deps",
    "--properties-file",
    "--times",
    "--rounds",
    "--against",
    "--shuffled",
}


def section(heading: str, page: str = README) -> str:
    """The text below a heading, up to the next one of its rank or higher."""
    rank = heading.partition(" ")[0]
    body = f"\n{page}".split(f"\n{heading}\n")[1]
    return re.split(rf"\n#{{1,{len(rank)}}} ", body)[0]


def first_cells(table: str) -> list[str]:
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    return [row.split("|")[1].strip() for row in rows[1:]]


def test_the_table_of_findings_lists_every_symptom_in_order() -> None:
    assert first_cells(section("## What it finds")) == [f"`{code}`" for code in CODES]


def test_the_table_of_findings_says_in_which_scope_each_is_corrected() -> None:
    rows = [line.split("|") for line in section("## What it finds").splitlines()]
    told = {cells[1].strip(" `"): cells[-2].strip() for cells in rows if len(cells) > 3}
    always = [code for code in CODES if told[code] == "yes"]
    corrected = [code for code in CODES if told[code] == "yes" or "--scope all" in told[code]]
    assert (always, corrected) == (list(OF_EMPTY), list(CORRECTED_CODES))


def test_the_table_of_exit_codes_lists_every_code_in_order() -> None:
    assert first_cells(section("### Exit codes")) == [str(int(code)) for code in Exit]


def test_every_option_it_names_exists() -> None:
    verbs = [
        verify_sessions.command,
        fix_empty_sessions.command,
        delete_orphan_sessions.command,
        resume_run.command,
        *commands.commands.values(),
    ]
    known = {option for verb in verbs for it in verb.params for option in it.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", "\n".join([README, *DOCS.values()])))
    assert named - OPTIONS_OF_OTHERS <= known


def test_every_test_it_names_exists() -> None:
    assert "`test_" in section("## What it promises", DOCS["promises.md"])
    pages = [README, *DOCS.values()]
    named = [name for page in pages for name in re.findall(r"`(test_\w+)`", page)]
    written = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) >= 100
    assert [name for name in named if f"def {name}(" not in written] == []


def test_every_file_it_links_exists() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    ]
    assert {page.name for page, _ in links} >= {"README.md", "reading-the-report.md"}
    assert [link for page, link in links if not (page.parent / link).exists()] == []


def test_it_can_be_read_at_one_sitting() -> None:
    assert len(README.splitlines()) <= MOST_LINES


@dataclass(frozen=True)
class Story:
    """The README's commands on the demo's data at its full size, and what they left."""

    database: Database[Document]
    figures: Figures
    orphans_before: list[Document]
    before: str
    fixed: str
    report: Path
    page: Path


@pytest.fixture(scope="module")
def story(full_size: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    report = tmp_path_factory.mktemp("story") / "demo-report"
    page = report.parent / "report.html"
    written = ("--report", str(report), "--html", str(page))

    def command(uri: str, expected: Exit, *words: str) -> str:
        ended = spark_submit(*words, uri=uri)
        assert ended.code == expected, ended.err
        return ended.out

    with EmbeddedMongod(cache_gb=1) as server, server.client() as client:
        database = client["browsing"]
        figures = generate(database)
        orphans = orphan_sessions(database)
        yield Story(
            database=database,
            figures=figures,
            orphans_before=orphans,
            before=command(server.uri, Exit.FIXABLE_REMAINS, "verify"),
            fixed=command(server.uri, Exit.CLEAN, "fix", "--apply", *written),
            report=report,
            page=page,
        )


def orphan_sessions(database: Database[Document]) -> list[Document]:
    alive = database["events"].distinct("session_id")
    return list(database["sessions"].find({"session_id": {"$nin": alive}}).sort("_id", 1))


def blocks(mark: str) -> list[str]:
    """The fenced blocks that follow the mark, up to the next line of prose of some length."""
    after = README.split(f"<!-- {mark} -->")[1]
    until = re.split(r"\n[A-Z`][^\n]{60,}", after)[0]
    return re.findall(r"```\n(.*?)```", until, re.DOTALL)


def test_the_repair_prints_what_it_shows(story: Story) -> None:
    shown = "".join(blocks("demo: fix")).splitlines()
    printed = story.fixed.splitlines()
    # The batches shrink on a busy server, so these lines only have to rise to the total.
    done = [int(line.split()[1].partition("/")[0]) for line in printed if is_progress(line)]
    assert done == sorted(set(done))
    assert done[-1] == story.figures.broken
    shown_rest = [line for line in shown if not is_progress(line)]
    rest = [line for line in printed if not is_progress(line)]
    first = rest.index(shown_rest[0])
    assert rest[first : first + len(shown_rest)] == shown_rest


def is_progress(line: str) -> bool:
    return line.startswith("  Processed ")


def test_the_verification_prints_what_it_shows(story: Story) -> None:
    (shown,) = blocks("demo: verify")
    assert story.before.startswith(shown)


def test_every_session_of_the_demo_is_what_its_events_say(story: Story) -> None:
    expected = rebuilt(story.database)
    assert (len(expected), story.figures.orphans) == (44_989, 302)
    differing = [
        session["session_id"]
        for session in story.database["sessions"].find({"session_id": {"$in": list(expected)}})
        if any(session[name] != value for name, value in expected[session["session_id"]].items())
    ]
    assert differing == []
    assert orphan_sessions(story.database) == story.orphans_before
    assert len(story.orphans_before) == 302


def test_the_parquet_report_counts_what_the_terminal_counts(story: Story) -> None:
    findings = pd.read_parquet(story.report / "findings")
    counts = findings.groupby("code").size().to_dict()
    assert counts["empty_pages"] == counts["zero_events"] == 12_545
    assert counts["orphan_session"] == 302
    corrections = pd.read_parquet(story.report / "corrections")
    assert corrections.groupby("outcome").size().to_dict() == {"applied": 12_545}


def test_the_page_says_what_the_terminal_says(story: Story) -> None:
    page = story.page.read_text("utf-8")
    assert "<h1>Repaired: 12,545 sessions</h1>" in page
    assert "Of 45,291 sessions the empty ones were compared with their events." in page
    assert "302 orphan sessions remain" in page
    days = re.findall(r'<th scope="row">(2025-\d\d-\d\d)</th><td class="n">([\d,]+)</td>', page)
    assert sum(int(count.replace(",", "")) for _, count in days) == 12_847
    assert [day for day, _ in days] == sorted(day for day, _ in days)


def test_the_notebook_says_of_the_report_what_mongodb_says(story: Story, tmp_path: Path) -> None:
    database = story.database
    plans = [row["plan"] for row in database["session_repair_journal"].find()]
    ids = [plan["session_id"] for plan in plans]
    corrected = list(database["sessions"].find({"session_id": {"$in": ids}}))
    pages = Counter(page for plan in plans for page in plan["new"]["pages"])
    users = Counter(session["user_id"] for session in corrected)
    days = Counter(session["first_event_at"].date() for session in corrected)
    most = max(days.values())
    assert database.client.address is not None
    host, port = database.client.address
    uri = f"mongodb://{host}:{port}/?directConnection=true"
    told = run_notebook(story.report, tmp_path, MONGODB_URI=uri)
    for line in (
        "Of 45,291 sessions the empty ones were compared with their events",
        f"12,847 sessions are empty, {len(plans):,} can be corrected",
        f"{len(corrected):,} of 12,545 were corrected",
        f"Repairable sessions began on {len(days)} days, from {min(days)} to {max(days)}",
        f"Most on one day: {most:,} on {min(day for day in days if days[day] == most)}",
        f"12,545 corrections, {len(users):,} users, {len(pages):,} pages",
        f"Most often among users: {users.most_common(1)[0][0]} ({users.most_common(1)[0][1]:,})",
        f"Most often among pages: {pages.most_common(1)[0][0]} ({pages.most_common(1)[0][1]:,})",
    ):
        assert f"{line}\n" in told
    (shown,) = re.findall(r"^Session (\w+): 1 documents, (\d+) events$", told, re.MULTILINE)
    assert shown[0] in ids
    assert int(shown[1]) == database["events"].count_documents({"session_id": shown[0]})
