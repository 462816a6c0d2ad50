"""A whole fix whose reader goes."""

from __future__ import annotations

import pytest

from tests.harness.commands import run_into
from tests.harness.documents import Db, differing
from tests.harness.runs import the_run
from tests.oracle import recomputed_documents


@pytest.mark.parametrize("output", ["| head -n 1", "2>&1 | head -n 1"])
def test_a_fix_whose_reader_goes_ends_as_one_whose_reader_stays(
    shop: Db, mongo_uri: str, output: str
) -> None:
    expected = recomputed_documents(shop)
    words = ("fix", "--apply", "--batch-size", "10", "-vv")
    assert run_into(output, mongo_uri, shop, *words) == 0
    assert differing(shop, expected) == []
    assert (the_run(shop)["state"], the_run(shop)["verdict"]) == ("done", 0)
