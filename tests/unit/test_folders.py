"""The name of a report's folder, so that Hadoop reads no character of it for something else."""

from __future__ import annotations

import pytest

from session_repair.reporting.folders import plain


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("report", "./report"),
        ("a:b", "./a:b"),
        ("/srv/a b", "/srv/a b"),
        ("//srv/report", "/srv/report"),
        ("hdfs:///report", "hdfs:///report"),
        ("s3a://bucket/a b", "s3a://bucket/a b"),
        ("file:/srv/a", "file:/srv/a"),
    ],
)
def test_only_what_has_a_scheme_keeps_its_colons(given: str, taken: str) -> None:
    assert plain(given) == taken
