"""What the server says of itself, and what follows from it."""

from __future__ import annotations

import pytest

from session_repair.errors import Refused
from session_repair.mongo.connection import require_version


def test_a_server_that_lacks_an_operator_is_refused() -> None:
    for version in (15, 17, 21, 25):  # MongoDB 5.2, 6.0, 7.0, 8.0
        require_version({"maxWireVersion": version})
    for version in (9, 13, 14):  # 4.4, 5.0, 5.1
        with pytest.raises(Refused, match=r"older than 5\.2"):
            require_version({"maxWireVersion": version})
