"""Steering by redirect, from another host and from the gateway, with the guard in place."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.kernel.nft.nftables import Nftables
from faith.kernel.sockets import tcp_sockets
from faith.kernel.steering import redirect
from faith.lab.topology import CLIENT, GATEWAY_V6
from tests.netns.steered import ALL, ALSO_MAPPED, HTTP, MAPPED, OTHER, PREFIX, everyone

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import Network, ThreeHosts
    from tests.netns.conftest import Arrive

pytestmark = pytest.mark.netns


def destination(accepted: socket.socket) -> tuple[str, int]:
    with accepted:
        address, port = tcp_sockets.original_destination(accepted)
        return socket.inet_ntop(socket.AF_INET6, address), port


@pytest.mark.usefixtures("on_gateway")
@pytest.mark.parametrize("port", [1, 80, 6464, 65535])
def test_connections_arrive_with_the_original_destination(
    port: int, from_client: Arrive, arrive: Arrive
) -> None:
    with redirect.create(ALL, [PREFIX], 1) as steering:
        assert steering.redirected
        for connect in (from_client, arrive):
            _, accepted = connect(everyone(steering), MAPPED, port)
            assert destination(accepted) == (MAPPED, port)


@pytest.mark.usefixtures("on_gateway")
def test_another_daemon_keeps_its_own_traffic(from_client: Arrive) -> None:
    with socket.create_server(("::", 80), family=socket.AF_INET6) as other:
        with redirect.create(HTTP, [PREFIX], 1) as steering:
            for who, address in enumerate((GATEWAY_V6, MAPPED)):
                reached, accepted = from_client([other, *everyone(steering)], address, 80)
                accepted.close()
                assert reached == who
        with pytest.raises(ConnectionRefusedError):
            from_client([other], MAPPED, 80)


@pytest.mark.usefixtures("on_gateway")
def test_the_listeners_own_port_is_refused_under_the_prefix(from_client: Arrive) -> None:
    with redirect.create(HTTP, [PREFIX], 1) as steering:
        port = everyone(steering)[0].getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            from_client(everyone(steering), MAPPED, port)
        # On an own address it is an own address: the relay has no server for it.
        _, accepted = from_client(everyone(steering), GATEWAY_V6, port)
        assert destination(accepted) == (GATEWAY_V6, port)


@pytest.mark.usefixtures("on_gateway")
def test_prefixes_come_and_go(from_client: Arrive) -> None:
    with redirect.create(HTTP, [PREFIX], 1) as steering:
        steering.set_prefixes([OTHER])
        with pytest.raises(ConnectionRefusedError):
            from_client(everyone(steering), MAPPED, 80)
        _, accepted = from_client(everyone(steering), ALSO_MAPPED, 80)
        assert destination(accepted) == (ALSO_MAPPED, 80)


def test_a_link_with_nothing_but_link_local_addresses(network: Network, arrive: Arrive) -> None:
    client, gateway = network.host("client"), network.host("gateway")
    network.link(client, gateway, [f"{CLIENT}/64"])
    (local,) = (a for a in gateway.links.addresses() if a.startswith("fe80:"))
    client.run(["ip", "-6", "route", "add", "default", "via", local[:-3], "dev", "to-gateway"])
    gateway.run(["ip", "-6", "route", "add", f"{CLIENT}/128", "dev", "to-client"])
    with gateway.inside():
        routes.reserve(PREFIX)
        guard.install([PREFIX])
        steering = redirect.create(HTTP, [PREFIX], 1)
    with steering, client.inside():
        _, accepted = arrive(everyone(steering), MAPPED, 80)
        assert destination(accepted) == (MAPPED, 80)


@pytest.mark.usefixtures("on_gateway")
def test_nothing_stays() -> None:
    before = os.listdir("/proc/self/fd")
    with redirect.create(HTTP, [PREFIX], 2):
        pass
    assert os.listdir("/proc/self/fd") == before
    with Nftables() as nft:
        assert not nft.exists(f"faith-{os.getpid()}")


@pytest.mark.usefixtures("on_gateway")
def test_the_text_is_what_nft_lists(lab: ThreeHosts, need: Callable[[str], str]) -> None:
    with redirect.create(HTTP, [PREFIX], 1) as steering:
        port = everyone(steering)[0].getsockname()[1]
        table = f"faith-{os.getpid()}"
        listed = lab.gateway.run([need("nft"), "list", "table", "ip6", table]).stdout
    assert listed.count(redirect._rule(port).text) == 2
    assert "flags owner" in listed
