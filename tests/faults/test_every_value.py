"""Whatever the two collections hold, many times over: found, repaired and undone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from pymongo.database import Database

from tests.e2e.anything import Shop, shops
from tests.e2e.test_every_value import Bench, find_repair_and_undo
from tests.harness.commands import Command
from tests.harness.documents import Document
from tests.harness.examples import unshrunk

pytestmark = pytest.mark.usefixtures("adaptive")


@settings(unshrunk, max_examples=60)
@given(shop=shops())
def test_much_more_is_found_repaired_and_undone(
    command: Command,
    db: Database[Document],
    tmp_path_factory: pytest.TempPathFactory,
    shop: Shop,
) -> None:
    find_repair_and_undo(Bench(command, db, tmp_path_factory), shop)
