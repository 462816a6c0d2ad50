"""Page: the report as HTML, of reports made by hand."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from datetime import date, timedelta
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from session_repair.repair.outcomes import Outcomes
from session_repair.repair.report import (
    OTHER,
    Correction,
    Day,
    FieldChange,
    Left,
    OddType,
    Report,
    Sample,
    Symptoms,
    Totals,
    Verification,
)
from session_repair.reporting.charts import timeline
from session_repair.reporting.html import report_page
from session_repair.verbs import DELETE_ORPHANS
from tests.harness.table import CODES
from tests.unit.frames import NOW

ROOT = Path(__file__).resolve().parents[2]
VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}

SETTINGS = {
    "database": "shop",
    "scope": "empty",
    "settle": "15m",
    "since": None,
    "session_ids": ["a", "b"],
    "session_fields": {"pages": "meta.pages", "user_id": "user_id"},
    "allow_shrink": False,
    "asked": ["scope"],
}


def sample(number: int, stored: str | None, rebuilt: str | None) -> Sample:
    key = f'{{"v": {{"$oid": "68e33b8e7b61f174166a{number:04x}"}}}}'
    return Sample(f"68e33b8e7b61f174166a{number:04x}", key, stored, rebuilt, None)


def symptoms(**found: Symptoms) -> tuple[Symptoms, ...]:
    return tuple(found.get(code, Symptoms(code, 0, 0, 0, ())) for code in CODES)


CLEAN = Report(
    verb="verify",
    run_id="r20251101-120000-abcdef",
    server_time=NOW,
    settings=SETTINGS,
    totals=Totals(45_291, 320_410, 0, 0, 0, 0, 0, 0),
    symptoms=symptoms(),
    corrections=(),
)
EMPTY = replace(CLEAN, totals=Totals(0, 0, 0, 0, 0, 0, 0, 0))
PAGES = '["/home","/category/bags","/product/home/oak-stool","/cart","/checkout/address","/thanks"]'
BROKEN = replace(
    CLEAN,
    totals=Totals(45_291, 320_410, 12_847, 12_847, 12_847, 0, 12_545, 7),
    symptoms=symptoms(
        empty_pages=Symptoms(
            "empty_pages",
            12_552,
            12_545,
            7,
            (sample(1, "[]", '["/home","/account/orders"]'), sample(2, None, PAGES)),
        ),
        zero_events=Symptoms("zero_events", 12_552, 12_545, 7, (sample(1, "0", "12"),)),
        count_mismatch=Symptoms("count_mismatch", 61, 0, 0, (sample(9, "14", "12"),)),
        orphan_session=Symptoms("orphan_session", 302, 0, 0, (sample(3, None, None),)),
        orphan_events=Symptoms(
            "orphan_events", 1, 0, 0, (Sample("68ff", None, None, None, "3 events"),)
        ),
    ),
    corrections=(
        Correction(
            "68e33b8e7b61f174166a0001",
            (
                FieldChange("event_count", "0", "12"),
                FieldChange("pages", "[]", PAGES),
                FieldChange(
                    "last_event_at", "2025-10-06T08:00:00.000Z", "2025-10-06T08:14:37.022Z"
                ),
            ),
        ),
        Correction(
            "blank at the end ",
            (
                FieldChange(
                    "pages", PAGES, PAGES, ("5 alike", '- "/x"', '+ "/checkout/address"', "1 alike")
                ),
            ),
        ),
    ),
    days=(
        *(
            Day(
                f"{date(2025, 10, 1) + timedelta(days=day)}",
                300 + day * 40 % 370,
                290 + day * 40 % 370,
                {"empty_pages": 290 + day * 40 % 370, "orphan_session": 10},
            )
            for day in range(28)
        ),
        Day(OTHER, 3, 0, {"orphan_session": 3}),
    ),
)
REPAIRED = replace(
    BROKEN,
    verb="fix",
    totals=replace(BROKEN.totals, deferred=0),
    outcomes=Outcomes(12_545, 12_545, 0, 0, 0, 0),
    verification=Verification(45_291, 44_989, 302, 12_545, 0, 0, 0),
)
PARTIAL = replace(
    BROKEN,
    verb="fix",
    outcomes=Outcomes(12_545, 12_540, 0, 3, 1, 1),
    verification=Verification(45_290, 44_983, 307, 12_538, 0, 2, 0),
    left=(
        Left("68e33b8e7b61f174166a0001", "skipped_changed", None),
        Left("68e33b8e7b61f174166a0002", "skipped_gone", None),
        Left("68e33b8e7b61f174166a0003", "failed", "Document failed validation"),
    ),
)
DELETION = replace(
    BROKEN,
    verb=DELETE_ORPHANS,
    totals=replace(BROKEN.totals, planned=302),
    corrections=(),
)
COPIES = replace(
    DELETION,
    settings={**SETTINGS, "duplicates": True},
    totals=replace(BROKEN.totals, planned=2),
    symptoms=symptoms(duplicate_session=Symptoms("duplicate_session", 5, 0, 0, (), {"filled": 3})),
)
NASTY = (
    "<script>window.hurt = 1</script><img src=x onerror='window.hurt = 1'>"
    "\"'&\x00\x1b[31m\u202egnp.exe\u2066\u200b"
)
LONG = "x" * 1_000_000
SPAN = ("0001-01-01", "1969-12-31", "2025-10-20", "9999-12-31")
HOSTILE = replace(
    PARTIAL,
    run_id=NASTY,
    settings={**SETTINGS, "database": NASTY, "session_fields": {"pages": NASTY}},
    symptoms=symptoms(
        empty_pages=Symptoms(
            "empty_pages",
            3,
            3,
            0,
            (
                Sample(NASTY, NASTY, NASTY, NASTY, NASTY),
                Sample(LONG, LONG, LONG, LONG, LONG),
                Sample("שלום", None, "مرحبا", "Z̸̢̛̗͔̄̀͝a̷͎̓l̶̡̛̝̎g̴o" * 30, None),
            ),
        ),
        duplicate_session=Symptoms(
            "duplicate_session", 1, 0, 0, (Sample(None, NASTY, None, None, NASTY),)
        ),
    ),
    malformed=(OddType(NASTY, NASTY, NASTY, 3, (NASTY, LONG)),),
    corrections=(
        Correction(
            NASTY,
            (FieldChange("pages", NASTY, LONG), FieldChange(NASTY, NASTY, LONG, (NASTY, LONG))),
        ),
    ),
    days=tuple(Day(day, 1, 1, {"empty_pages": 1}) for day in SPAN),
    left=(Left(NASTY, "failed", NASTY), Left(None, "failed", LONG)),
)
WHERE = {"event_type": ["purchase", "purchase_of_a_gift", "renewal", "refund"]}
PAID = {"field": "stats.purchases", "is": "count", "where": WHERE, "name": "stats_purchases"}
LENIENT = {"scope": "empty", "allow_shrink": False, "allow": [f"{it}=100%" for it in CODES]}
MANY = replace(
    BROKEN,
    settings={**SETTINGS, "aggregates": [PAID, {"field": "exit_page", "is": "last", "of": "page"}]},
    symptoms=tuple(
        Symptoms(code, 3 ** (number % 8), 0, 0, (), {"scope": 3 ** (number % 8)})
        for number, code in enumerate((*CODES, "stats_purchases_mismatch"))
    ),
)
LOOKUP = replace(
    MANY, symptoms=(*(replace(it, found=None) for it in MANY.symptoms[1:]), MANY.symptoms[0])
)
REPORTS = {
    "clean": CLEAN,
    "many": MANY,
    "lookup": LOOKUP,
    "empty": EMPTY,
    "broken": BROKEN,
    "repaired": REPAIRED,
    "partial": PARTIAL,
    "deletion": DELETION,
    "copies": COPIES,
    "hostile": HOSTILE,
}


def left_rows(page: str) -> dict[tuple[str, str, str], int]:
    """What the page says is left alone: by finding, reason and what changes that, how many."""
    table = page.partition("<h2>Left alone, and what changes that</h2>")[2].partition("</table>")[0]
    body = table.replace("<wbr>", "").partition("<tbody>")[2]
    rows = [re.sub("(<[^>]+>)+", "\n", row).strip() for row in body.strip().splitlines()[:-1]]
    parts = [unescape(row).split("\n") for row in rows]
    told = {(code, why, change): int(n.replace(",", "")) for code, n, why, change in parts}
    assert len(told) == len(parts)
    return told


class Parsed(HTMLParser):
    """The elements of a page, in their order; every one is closed, and in its parent."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} repeats an attribute"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self._open, f"only SVG knows <{tag}/>"
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


@pytest.fixture(scope="module", params=list(REPORTS))
def page(request: pytest.FixtureRequest) -> str:
    return report_page(REPORTS[request.param])


@pytest.mark.parametrize(
    ("report", "verdict"),
    [
        (CLEAN, "Nothing is to be repaired"),
        (EMPTY, "There are no sessions to check"),
        (BROKEN, "12,545 sessions can be repaired"),
        (replace(BROKEN, totals=replace(BROKEN.totals, planned=1)), "1 session can be repaired"),
        (REPAIRED, "Repaired: 12,545 sessions"),
        (PARTIAL, "Repaired: 12,540 of 12,545 sessions"),
        (replace(REPAIRED, outcomes=Outcomes(0, 0, 0, 0, 0, 0)), "Nothing was to be repaired"),
        (DELETION, "302 orphan sessions can be deleted"),
        (replace(DELETION, outcomes=Outcomes(1, 1, 0, 0, 0, 0)), "Deleted: 1 orphan session"),
        (COPIES, "2 empty copies can be deleted"),
        (replace(COPIES, outcomes=Outcomes(1, 1, 0, 0, 0, 0)), "Deleted: 1 empty copy"),
    ],
)
def test_the_verdict_is_the_title_and_the_first_line(report: Report, verdict: str) -> None:
    page = report_page(report)
    assert f"<title>{verdict}</title>" in page
    body = re.sub(r"<[^>]+>", "\n", page.partition("<body")[2].partition(">")[2])
    assert body.strip().splitlines()[0] == verdict


def test_it_is_well_formed(page: str) -> None:
    elements = Parsed(page).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    ranks = [int(tag[1]) for tag, _ in elements if re.fullmatch(r"h[1-6]", tag)]
    assert ranks[0] == 1
    assert ranks.count(1) == 1
    assert all(below <= rank + 1 for rank, below in pairwise(ranks))
    assert all(attributes.get("scope") for tag, attributes in elements if tag == "th")
    pictures = [attributes for tag, attributes in elements if tag == "svg"]
    assert all(it["role"] == "img" and it["aria-label"] for it in pictures)


def test_it_names_nothing_outside_of_itself(page: str) -> None:
    for tag, attributes in Parsed(page).elements:
        assert tag not in {"script", "link", "img", "iframe", "object", "base"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in {"src", "srcset"}
            assert name != "href" or (value or "").startswith("#")
    assert "@import" not in page
    assert "://" not in page
    assert re.findall(r"url\((?!#)", page) == []


def test_charts_take_their_colours_and_font_from_the_page() -> None:
    page = report_page(BROKEN)
    for chart in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(chart)
        assert set(re.findall(r"#[0-9a-f]{3,6}\b", chart)) == set()
        assert "DejaVu" not in chart
        assert "var(--repair)" in chart
        assert set(re.findall(r"var\(--(\w+)\)", chart)) <= set(re.findall(r"--(\w+): #", page))


def test_no_setting_that_is_a_secret_or_was_not_set_is_shown() -> None:
    settings = {**SETTINGS, "uri": "mongodb://user:secret@host"}
    page = report_page(replace(BROKEN, settings=settings))
    assert "secret" not in page
    shown = page.partition("<h2>Settings</h2>")[2]
    assert "since" not in shown
    rows = re.findall(r'<th scope="row">(.*?)</th>.*?<code>(.*?)</code>', shown)
    assert ("fields.sessions.pages", "meta.pages") in rows
    assert [it for it in rows if "user_id" in it[0]] == []  # named as here


def test_of_lists_the_page_shows_what_is_dropped_and_added() -> None:
    page = unescape(re.sub(r"<[^>]+>", "", report_page(BROKEN)))
    assert '5 alike, - "/x", + "/checkout/address", 1 alike' in page
    assert '"blank at the end "' in page


@pytest.mark.parametrize(
    ("report", "badge"),
    [
        (CLEAN, "Clean exit 0"),
        (EMPTY, "Not found exit 0"),
        (BROKEN, "Not clean exit 3"),
        (replace(BROKEN, settings=LENIENT), "Let pass exit 0"),
        (replace(MANY, totals=CLEAN.totals), "Left alone exit 0"),
        (replace(REPAIRED, settings={}), "Done exit 0"),
        (PARTIAL, "Partial exit 5"),
        (replace(DELETION, settings={}), "Not deleted yet exit 0"),
    ],
)
def test_a_badge_says_how_it_ended_in_a_word_and_its_exit_code(report: Report, badge: str) -> None:
    (told,) = re.findall(r'<p class="badge">(.*?)</p>', report_page(report))
    assert re.sub("<[^>]+>", "", told) == badge


def test_each_bar_leads_to_its_section_and_no_link_leads_nowhere(page: str) -> None:
    elements = Parsed(page).elements
    ids = {attributes.get("id") for _, attributes in elements}
    links = [attributes for tag, attributes in elements if tag == "a"]
    assert {(it["href"] or "")[1:] for it in links} <= ids
    bars = [it for it in links if it.get("class") == "kind"]
    assert len(bars) == page.count('<span class="bar"')
    assert [f"#{it['id']}" for tag, it in elements if tag == "h3" and "id" in it] == [
        it["href"] for it in bars
    ]


def test_bars_are_as_long_as_what_they_count_and_the_longest_first() -> None:
    page = report_page(BROKEN)
    bars = re.findall(r'href="#(\w+)".*?<span class="bar" [^>]*>(.*?)</span></a>', page)
    assert [code for code, _ in bars] == [
        *("empty_pages", "zero_events", "orphan_session", "count_mismatch", "orphan_events")
    ]
    parts = [re.findall(r"var\(--(\w+)\); width: ([\d.]+%)", bar) for _, bar in bars]
    assert parts[0] == parts[1] == [("repair", "99.94%"), ("wait", "0.06%")]
    assert parts[2:] == [[("stay", "2.41%")], [("stay", "0.49%")], [("stay", "0.01%")]]


def test_the_whole_of_a_setting_is_shown() -> None:
    page = unescape(report_page(MANY))
    assert (
        '<code>field = "stats.purchases", is = "count", where = {"event_type": ["purchase", '
        '"purchase_of_a_gift", "renewal", "refund"]}, name = "stats_purchases"</code>'
    ) in page
    assert '<code>field = "exit_page", is = "last", of = "page"</code>' in page
    ids = [f"{number:024}" for number in range(100)]
    page = report_page(replace(BROKEN, settings={**SETTINGS, "session_ids": ids}))
    assert f"<code>{', '.join(ids)}</code>" in page


def test_what_was_left_stands_there_with_its_reason() -> None:
    page = report_page(PARTIAL)
    for word in (
        "active within 15m",
        "skipped_changed: changed since the plan",
        "skipped_gone: deleted since the plan",
        "failed: MongoDB refused the change",
        "moved_on: changed further",
        "68e33b8e7b61f174166a0003",
        "Document failed validation",
    ):
        assert word in page
    assert "Skipped and deferred" not in report_page(REPAIRED)


def test_wrong_types_are_listed_with_some_of_their_documents() -> None:
    odd = OddType("sessions", "pages", "string", 2, ("68e33b8e", "68e33b8f"))
    page = report_page(replace(BROKEN, malformed=(odd,)))
    assert "<li>2 of sessions: pages is string, as in 68e33b8e, 68e33b8f</li>" in page
    assert "Wrong types" not in report_page(BROKEN)


def test_what_a_deletion_leaves_alone_is_told() -> None:
    page = report_page(COPIES)
    assert "What would be deleted" not in page
    assert left_rows(page) == {("duplicate_session", "a copy that is not empty", "no option"): 3}
    assert "orphan session" not in page


def test_what_is_left_alone_stands_in_a_table_also_what_a_look_up_cannot_count() -> None:
    of_scope = ("outside of --scope empty", "--scope all")
    expected = {(it.code, *of_scope): it.left["scope"] for it in MANY.symptoms}
    assert len(expected) == len(CODES) + 1
    assert left_rows(report_page(MANY)) == left_rows(report_page(LOOKUP)) == expected


def test_hostile_values_are_shown_escaped_and_short() -> None:
    page = report_page(HOSTILE)
    assert "&lt;script&gt;window.hurt = 1&lt;/script&gt;" in page
    assert "\\x1b" in page
    letters = set(page) - {"\n"}
    assert [it for it in letters if not it.isprintable()] == []
    assert "x" * 101 not in page
    assert len(page) < 110_000


def test_a_page_of_many_days_and_values_stays_small() -> None:
    days = [f"{date(2020, 1, 1) + timedelta(days=number)}" for number in range(366)]
    many = tuple(Day(day, 7, 3, dict.fromkeys(CODES, 1)) for day in days)
    assert len(report_page(replace(BROKEN, days=many))) < 400_000


def test_a_document_of_a_report_becomes_the_report_again() -> None:
    assert Report.from_document(asdict(PARTIAL)) == PARTIAL


def test_bars_hold_every_session_once() -> None:
    line = timeline(BROKEN.days)
    assert line is not None
    assert (line.step, len(line.begins), line.last) == (1, 28, date(2025, 10, 28))
    assert line.outside == 3
    assert sum(line.repair) == sum(day.to_correct for day in BROKEN.days)
    assert sum(line.stay) + line.outside + sum(line.repair) == sum(
        it.sessions for it in BROKEN.days
    )


@pytest.mark.parametrize(
    ("days", "begin", "last", "outside"),
    [
        (["2025-10-20"], "2025-10-20", "2025-10-20", 0),
        (["0001-01-01", "2025-10-20", "9999-12-31"], "2025-10-20", "2025-10-20", 2),
        (["2025-10-18", "2025-10-20"], "2025-10-18", "2025-10-20", 0),
        (["1970-01-01"] + ["2025-10-20", "2025-10-21"] * 100, "2025-10-20", "2025-10-21", 1),
    ],
)
def test_days_far_from_the_others_do_not_flatten_the_chart(
    days: list[str], begin: str, last: str, outside: int
) -> None:
    counted = tuple(Day(day, days.count(day), 0, {}) for day in sorted(set(days)))
    line = timeline(counted)
    assert line is not None
    assert (f"{line.begins[0]}", f"{line.last}", line.outside) == (begin, last, outside)
    assert "Breakage over time" in report_page(replace(BROKEN, days=counted))


@pytest.mark.parametrize("days", [["0001-01-01", "9999-12-31"], [OTHER], []])
def test_without_a_credible_day_there_is_no_chart_over_time(days: list[str]) -> None:
    counted = tuple(Day(day, 1, 0, {"malformed": 1}) for day in days)
    assert "Breakage over time" not in report_page(replace(BROKEN, days=counted))


def test_the_template_is_found_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        for file in (ROOT / "jobs" / "session_repair").rglob("*"):
            if file.is_file():
                archive.write(file, file.relative_to(ROOT / "jobs"))
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'package.zip')!r})\n"
        "from session_repair.reporting import html\n"
        "assert 'package.zip' in html.__file__\n"
        "print(html.environment().get_template('report.html.j2').name)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert ended.stdout == "report.html.j2\n"
