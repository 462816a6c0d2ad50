"""Shapes as they are met: from ``init`` to ``undo``, with the file as it is proposed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import bson
import pytest

from tests.harness import wild
from tests.harness.commands import Command
from tests.harness.documents import RUNS, Db, Document, decoded, stored_bytes

pytestmark = pytest.mark.needs("many_runs")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "shapes.md"
SHAPES = {
    "references": wild.references,
    "nested": wild.nested,
    "numbers": wild.numbers,
    "shop": wild.shop,
}


def comparable(document: Document) -> Document:
    """As MongoDB keeps it; without zeros, which what is absent counts as; sums as far as known.

    The sum of doubles depends on their order.
    """
    held = decoded(bson.encode(document))
    if "revenue" in held:
        held["revenue"] = round(held["revenue"], 6)
    if "stats" in held:
        held["stats"] = {name: value for name, value in held["stats"].items() if value != 0}
    return {name: value for name, value in held.items() if value != 0}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_from_the_wild_is_repaired_with_the_file_that_is_proposed(
    db: Db, command: Command, tmp_path: Path, shape: str
) -> None:
    made, file, told = SHAPES[shape], tmp_path / "shape.toml", tmp_path / "told.json"
    made(db)
    before, sessions = stored_bytes(db, made.names[0]), db[made.names[0]]
    proposed = command("init", "--file", str(file), on=db)
    assert proposed.code == 0, proposed.told
    shown = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    as_shown = shown[[*SHAPES].index(shape)]
    assert file.read_text().replace(db.name, "shop").strip() == as_shown.strip()
    config = ("--config", str(file))
    found = command("verify", *config, "--json", str(told))
    report = json.loads(told.read_text())
    assert (found.code, report["totals"]["sessions_malformed"]) == (3, 0), found.told
    assert stored_bytes(db, made.names[0]) == before
    empty = len(range(0, wild.SESSIONS, wild.BROKEN))
    fixed = command("fix", "--apply", *config)
    assert (fixed.code, fixed.figure("Read back as planned")) == (0, empty), fixed.told
    whole = made.whole()
    assert {it["_id"]: comparable(it) for it in sessions.find()} == {
        key: comparable(it) for key, it in whole.items()
    }
    [run] = db[RUNS].find({"planned": {"$gt": 0}})
    undone = command("undo", run["_id"], "--apply", *config)
    assert undone.code == 0, undone.told
    assert stored_bytes(db, made.names[0]) == before
