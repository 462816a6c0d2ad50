"""By scan and by look-up the same is planned, of many databases."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from pymongo.database import Database

from tests.e2e.anything import Shop, shops
from tests.e2e.test_strategy import few_at_once, plan_both_ways  # noqa: F401
from tests.harness.commands import Command
from tests.harness.documents import Document
from tests.harness.examples import unshrunk


@settings(unshrunk, max_examples=40)
@given(shop=shops())
def test_scan_and_look_up_plan_the_same_of_much_more(
    command: Command, db: Database[Document], tmp_path: Path, shop: Shop
) -> None:
    plan_both_ways(command, db, tmp_path, shop)
