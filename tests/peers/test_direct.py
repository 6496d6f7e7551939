"""The real clients and servers understand each other with nothing between them.

What fails here is no fault of the relay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.peers.exchanges import EXCHANGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import Host, Network
    from tests.peers.site import Meeting

pytestmark = [pytest.mark.netns, pytest.mark.peers]


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.__name__)
def test_exchange(
    exchange: Callable[[Meeting], None],
    network: Network,
    meet: Callable[[Host, Host, str], Meeting],
) -> None:
    client, server = network.host("client"), network.host("server")
    network.link(client, server, ["192.0.2.2/24"], ["192.0.2.80/24"])
    exchange(meet(client, server, "192.0.2.80"))
