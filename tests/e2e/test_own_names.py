"""Own names: what people read names the fields and collections as the user's documents do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from typing import Any

import pytest
from bson import Decimal128

from tests.harness.commands import Command, Ended
from tests.harness.documents import Db, Document
from tests.harness.shop import ANN, BOB, MORNING, made_at, minute

pytestmark = pytest.mark.needs("many_runs")

CONFIG = """
settle = "0s"

[collections]
sessions = "touren"
events = "klicks"
journal = "buch"
runs = "laeufe"

[fields.sessions]
session_id = "sid"
user_id = "wer.id"
event_count = "stats.count"
first_event_at = "stats.von"
last_event_at = "stats.bis"
pages = "seiten"

[fields.events]
session_id = "tour"
user_id = "kunde"
timestamp = "zeit"
page = "url"

[[aggregates]]
field = "stats.umsatz"
is = "sum"
of = "betrag"

[[aggregates]]
field = "einstieg"
is = "first"
of = "url"
"""
# What no reader is to meet: the job's names of fields that have others here, and of values.
OURS = r"session_ids?|user_id|event_count|first_event_at|last_event_at|timestamp|stats_umsatz"
ROLES = re.compile(
    rf'(?m)(?<![\w."-])(?:{OURS})(?![\w-])|\b(?:pages?|user) is |^ *(?:pages|user): '
)
WRAPPED = re.compile(r'\{"(?:\$\w+|v)":|\bNone\b')
PAGES = [f"/seite/{number:02}/mit-einem-langen-namen" for number in range(31)]
LONG = "/suche?" + "&".join(f"wort{number}=nichts" for number in range(20))


def tour(db: Db, number: int, sid: Any, *pages: Any, **fields: Any) -> None:
    """A session that is right: of one event for each of the pages, a minute apart; but for …"""
    session = {
        "_id": made_at(MORNING, number),
        "sid": sid,
        "wer": {"id": ANN},
        "stats": {
            "count": len(pages),
            "von": minute(0),
            "bis": minute(max(0, len(pages) - 1)),
            "umsatz": Decimal128(str(len(pages))),
        },
        "seiten": list(pages),
        "einstieg": pages[0] if pages else None,
    }
    for path, value in fields.items():
        inner, _, name = path.rpartition("__")
        (session[inner] if inner else session)[name] = value
    db["touren"].insert_one(session)
    for at, page in enumerate(pages):
        event = {"tour": sid, "kunde": ANN, "zeit": minute(at), "url": page}
        _id = made_at(minute(at), 1_000 * number + at)
        db["klicks"].insert_one({"_id": _id, **event, "betrag": Decimal128("1")})


EMPTY: Document = {"stats__count": 0, "seiten": [], "wer__id": None}


def fill(db: Db) -> None:
    tour(db, 1, "gut", "/a", "/b")
    tour(db, 2, "leer", "/a", "/b", **EMPTY)
    tour(db, 3, "leer am Ende ", "/a", **EMPTY)
    tour(db, 4, "tab\tnul\0", "/a", **EMPTY)
    tour(db, 5, "lang", *PAGES, seiten=[*PAGES[:15], *PAGES[16:]], stats__count=30)
    tour(db, 6, "mehr", "/a", seiten=["/a", "/zu viel "])
    tour(db, 7, "suche", f"{LONG}&seite=2", einstieg=f"{LONG}&seite=1")
    tour(db, 8, "doppelt", "/a")
    tour(db, 9, "doppelt", stats__count=0)
    tour(db, 10, "verwaist ", stats__von=None, stats__bis=None)
    tour(db, 11, "gefüllt", seiten=["/a"], stats__count=1)
    tour(db, 12, "falsch ", "/a", stats__count="eins")
    tour(db, 13, "wer", "/a", wer__id=7)
    tour(db, 14, "summe", "/a", stats__umsatz=Decimal128("0.50"))
    tour(db, 15, "spät", "/a", stats__bis=minute(9))
    tour(db, 16, "klick", "/a", "/b")
    db["klicks"].update_one({"tour": "klick"}, {"$set": {"zeit": "gestern", "betrag": "viel"}})
    tour(db, 17, "zwei", "/a", "/b")
    db["klicks"].update_one({"tour": "zwei"}, {"$set": {"kunde": BOB}})
    db["touren"].insert_one({"_id": 18, "seiten": [], "stats": {"count": 0}})
    db["klicks"].insert_one({"tour": "niemand ", "zeit": minute(0), "url": "/a"})
    for name, field in (("touren", "sid"), ("klicks", "tour")):
        db[name].create_index(field)


@dataclass(frozen=True)
class Told:
    """What each verb printed of these sessions, by its command line, and wrote into files."""

    ended: dict[str, Ended]
    page: str
    report: Document

    def lines(self, words: str) -> list[str]:
        return [line.strip() for line in self.ended[words].out.splitlines()]


@pytest.fixture(scope="module")
def told(module_db: Db, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Told:
    db, folder = module_db, tmp_path_factory.mktemp("touren")
    fill(db)
    files = {name: folder / name for name in ("page.html", "report.json", "touren.toml")}
    outputs = ("--html", str(files["page.html"]), "--json", str(files["report.json"]))
    files["touren.toml"].write_text(CONFIG)
    ended: dict[str, Ended] = {}

    def run(words: str, *more: str, config: str = CONFIG) -> None:
        files["touren.toml"].write_text(config)
        verb, *options = words.split()
        limits = ("--max-malformed", "50%") if verb in ("verify", "fix", "delete-orphans") else ()
        given = (*options, *more, *limits, "--config", str(files["touren.toml"]))
        ended[words] = command(verb, *given, on=db)

    run("verify", *outputs)
    run("fix --since 1d")
    run("fix --allow-absent nix")
    run("fix --apply", config=CONFIG.replace('"seiten"', '"seitn"'))
    run("fix --plan --scope all")
    run("apply last", config=CONFIG.replace('"seiten"', '"stats.seiten"'))
    db["touren"].update_one({"sid": "leer am Ende "}, {"$set": {"stats.count": 3}})
    run("apply last --plan-ttl 1h")
    run("verify --run last")
    run("runs")
    run("runs last")
    run("runs last --rows")
    db["touren"].update_one({"sid": "tab\tnul\0"}, {"$set": {"stats.count": 3}})
    run("undo last")
    run("undo last --apply")
    run("delete-orphans --min-age 0s")
    db["touren"].drop_index("sid_1")
    run("fix --strategy lookup")
    run("config --show")
    return Told(ended, files["page.html"].read_text(), json.loads(files["report.json"].read_text()))


def test_no_verb_says_a_name_of_the_job_for_a_field_that_has_another(told: Told) -> None:
    as_json = ("runs last", "runs last --rows")
    said = {words: it.told for words, it in told.ended.items() if words not in as_json}
    said["page"] = shown_in(told.page)
    found = {words: [*ROLES.findall(text), *WRAPPED.findall(text)] for words, text in said.items()}
    assert {words: it for words, it in found.items() if it} == {}


def test_nor_does_a_value_in_json(told: Told) -> None:
    run = json.loads(told.ended["runs last"].out)
    for document in (told.report, run):
        assert [it for it in texts_in(document) if ROLES.search(it)] == []


def test_each_field_is_said_as_the_documents_have_it(told: Told) -> None:
    verified = told.lines("verify")
    for line in (
        "Documents that repeat a sid: 1",
        "user_mismatch  wer  7 → 68d000000000000000000001",
        "stats_umsatz_mismatch  summe  0.50 → 1",
        "malformed  18  session sid: missing",
        'malformed  "falsch "  session stats.count: string',
        "malformed  klick  event zeit: string",
        f"1 of klicks: zeit is string, as in {made_at(minute(0), 16_000)}",
    ):
        assert line in verified
    assert [it["field"] for it in told.report["malformed"]] == ["sid", "stats.count", "zeit"]
    changed = [it["field"] for it in told.report["corrections"][0]["changes"]]
    assert changed == ["stats.count", "seiten", "wer.id"]
    shown = told.lines("config --show")
    assert "fields.sessions.event_count" in {it.partition(" ")[0] for it in shown}
    why = 'was planned with fields.sessions.pages = "seiten", now it is "stats.seiten".'
    assert why in told.ended["apply last"].err


def test_what_differs_is_seen(told: Told) -> None:
    verified = told.lines("verify")
    steps = f'15 alike, + "{PAGES[15]}", 15 alike'
    for line in (
        f"pages_missing  lang  {steps}",
        'pages_extra  mehr  1 alike, - "/zu viel "',
        'einstieg_mismatch  suche  - "…wort19=nichts&seite=1", + "…wort19=nichts&seite=2"',
        "user_mismatch  leer  nothing → 68d000000000000000000001",
        "last_event_mismatch  spät  2025-10-20T08:09:00.000Z → 2025-10-20T08:00:00.000Z",
        'orphan_events  "niemand "  1 event',
    ):
        assert line in verified
    assert f"seiten: {steps}" in told.lines("fix --plan --scope all")
    page = " ".join(shown_in(told.page).split())
    for text in (f'lang 15 alike , + "{PAGES[15]}" , 15 alike', '"leer am Ende "', r"tab\tnul\x00"):
        assert text in page


def test_a_blank_and_a_control_character_are_seen_in_what_is_left_alone(told: Told) -> None:
    assert r"tab\tnul\x00  changed since, left alone" in told.lines("undo last --apply")
    assert '"verwaist "' in told.lines("delete-orphans --min-age 0s")
    run = json.loads(told.ended["runs last"].out)
    assert "leer am Ende " in [it["session_id"] for it in run["report"]["left"]]


def shown_in(page: str) -> str:
    """The text of a page, but for the settings, which name what the fields are to the job."""
    page = re.sub(r"(?s)<style.*?</style>|<svg.*?</svg>|<h2>Settings</h2>.*", "", page)
    return unescape(re.sub(r"<[^>]+>", " ", page))


def texts_in(value: Any) -> Iterator[str]:
    """The texts in a JSON document, but for its settings."""
    if isinstance(value, dict):
        for name, it in value.items():
            if name not in ("settings", "asked"):
                yield from texts_in(it)
    elif isinstance(value, list):
        for it in value:
            yield from texts_in(it)
    elif isinstance(value, str):
        yield value
