"""Real IPv6 clients reach real IPv4-only servers through a faithd, and nothing is altered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faithd import Faithd
from tests.peers.exchanges import EXCHANGES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import Host, ThreeHosts
    from tests.peers.site import Meeting

pytestmark = [pytest.mark.netns, pytest.mark.peers]


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.__name__)
def test_exchange(
    exchange: Callable[[Meeting], None],
    lab: ThreeHosts,
    meet: Callable[[Host, Host, str], Meeting],
    tmp_path: Path,
) -> None:
    faithd = Faithd(lab.gateway, tmp_path / "log", "-P", lab.prefix, "1-65535")
    faithd.wait_said("serving")
    exchange(meet(lab.client, lab.server, lab.mapped()))
    assert faithd.stop() == 0
    assert "end=closed" in faithd.said
