from __future__ import annotations

import pytest

from faith.errors import SetupError
from faith.kernel.steering import route
from faith.translation.ports import Ports


def test_more_ports_than_sockets_are_sensible_for_are_refused() -> None:
    with pytest.raises(SetupError, match=r"ports 1-65: 65 ports .* 64 is the most"):
        route.create(Ports([(1, 65)]), [], 1)
