"""Addresses that a gateway gets after its daemon has started: by VRRP, by PPPoE, at boot.

`tests.netns.test_sources` has those of ``[[source]]``.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import dns.exception
import dns.message
import dns.query
import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, PREFIX, SERVER
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.netns.gateway import Gateway
from tests.netns.service import Echo, answers, connect_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

    Start = Callable[[str], Gateway]

pytestmark = pytest.mark.netns

LATE_V6 = "2001:db8:6::99"
LATE_V4 = "192.0.2.99"
MAPPED = "192.0.2.102"
MAP_PORT = 4000
ZONE = f"""{EXAMPLE}www 60 IN AAAA {CLIENT}
old 60 IN A {SERVER}
"""
BASE = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "2323"
"""
NONLOCAL = {"4": "net.ipv4.ip_nonlocal_bind", "6": "net.ipv6.ip_nonlocal_bind"}


@pytest.fixture(params=[0, 1], ids=["bound by itself", "ip_nonlocal_bind"], autouse=True)
def nonlocal_bind(lab: ThreeHosts, request: pytest.FixtureRequest) -> bool:
    """Both settings of a router with VRRP: an address that is absent is bound in either case."""
    for name in NONLOCAL.values():
        lab.gateway.sysctl(name, request.param)
    return bool(request.param)


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Start:
    return lambda text: Gateway(lab, tmp_path, BASE + text)


@pytest.fixture
def echo(lab: ThreeHosts) -> Iterator[None]:
    """A server on the IPv6 host, which a map or a pool is about."""
    with contextlib.closing(Echo(lab.client, MAP_PORT)):
        yield


@pytest.fixture
def zones(lab: ThreeHosts) -> Iterator[None]:
    with lab.client.call(lambda: NameServer(Zones(ZONE), CLIENT, 53)):
        yield


def arrives(lab: ThreeHosts, address: str) -> None:
    link = "to-client" if ":" in address else "to-server"
    lab.gateway.run(
        [
            "ip",
            "address",
            "add",
            f"{address}/{64 if ':' in address else 24}",
            "dev",
            link,
            *(["nodad"] if ":" in address else []),
        ]
    )


def without_addresses(lab: ThreeHosts) -> None:
    """Have the gateway be without any IPv4 address, as before PPPoE."""
    lab.gateway.run(["ip", "-4", "address", "flush", "dev", "to-server"])


def metrics_at(lab: ThreeHosts, address: str) -> bool:
    def read() -> bool:
        with socket.create_connection((address, 9064), timeout=5) as sock:
            sock.sendall(b"GET /readyz HTTP/1.1\r\n\r\n")
            with sock.makefile("rb") as answer:
                return answer.readline().startswith(b"HTTP/1.1 ")

    try:
        return lab.gateway.call(read)
    except OSError:  # the kernel makes an IPv6 address local some time after it was added
        return False


@pytest.mark.parametrize("address", [LATE_V4, LATE_V6])
def test_metrics(lab: ThreeHosts, start: Start, address: str, nonlocal_bind: bool) -> None:
    host = f"[{address}]" if ":" in address else address
    faithd = start(f'[metrics]\nlisten = "{host}:9064"')
    said = f"no metrics at {address} until this host has that address"
    assert (said in faithd.said) != nonlocal_bind, "the kernel does not say so by ip_nonlocal_bind"
    arrives(lab, address)
    wait_until(lambda: metrics_at(lab, address), 5, "an answer at the new address")
    assert faithd.stop() == 0


@pytest.mark.usefixtures("zones")
@pytest.mark.parametrize("address", [LATE_V4, LATE_V6])
def test_names(lab: ThreeHosts, start: Start, address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    start(f'[dns]\nlisten = ["{host}:53"]\nforward = ["{CLIENT}"]')
    arrives(lab, address)
    query = dns.message.make_query("old.example.", "AAAA")
    asking = lab.client if ":" in address else lab.server

    def told(ask: Callable[..., dns.message.Message]) -> bool:
        try:
            reply = asking.call(lambda: ask(query, address, timeout=2))
        except (OSError, dns.exception.Timeout):  # as in `metrics_at`
            return False
        return [str(one) for rrset in reply.answer for one in rrset] == [lab.mapped()]

    for ask in (dns.query.udp, dns.query.tcp):
        wait_until(lambda ask=ask: told(ask), 10, "an answer at the new address")  # type: ignore[misc]


@pytest.mark.usefixtures("echo")
def test_a_map(lab: ThreeHosts, start: Start) -> None:
    without_addresses(lab)
    start(f'[[map]]\nv4 = "{MAPPED}"\nv6 = "{CLIENT}"')
    arrives(lab, GATEWAY_V4)
    with connect_from(lab.server, MAPPED, MAP_PORT) as connection:
        assert answers(connection)


@pytest.mark.usefixtures("zones", "echo")
def test_a_pool(lab: ThreeHosts, start: Start, tmp_path: Path) -> None:
    without_addresses(lab)
    start(
        f'[dns]\nlisten = ["{GATEWAY_V4}:53"]\nforward = ["{CLIENT}"]\n'
        f'pool = ["198.51.100.0/28"]\npool_file = "{tmp_path}/pool"'
    )
    lab.server.links.add_route("default", GATEWAY_V4)
    arrives(lab, GATEWAY_V4)
    # Until it has read that the client is on a link of its own, it refuses.
    wait_until(lambda: leased(lab), 5, "a lease")
    with connect_from(lab.server, leased(lab)[0], MAP_PORT) as connection:
        assert answers(connection)


def leased(lab: ThreeHosts) -> list[str]:
    """The addresses that the IPv6 host has for an IPv4 client."""
    query = dns.message.make_query("www.example.", "A")
    reply = lab.server.call(lambda: dns.query.udp(query, GATEWAY_V4, timeout=5))
    return [str(one) for rrset in reply.answer for one in rrset]


@pytest.mark.usefixtures("echo")
def test_a_relay_is_there_before_any_address(lab: ThreeHosts, start: Start) -> None:
    """As at boot: neither side has an address yet."""
    without_addresses(lab)
    lab.gateway.run(["ip", "-6", "address", "flush", "dev", "to-client", "scope", "global"])
    start("")
    arrives(lab, GATEWAY_V4)
    arrives(lab, "2001:db8:6::1")
    with contextlib.closing(Echo(lab.server, 2323)):
        wait_until(lambda: relayed(lab), 5, "a session")


def relayed(lab: ThreeHosts) -> bool:
    try:
        with connect_from(lab.client, lab.mapped(), 2323) as connection:
            return answers(connection)
    except OSError:
        return False


def test_directories_are_made(lab: ThreeHosts, tmp_path: Path) -> None:
    """/run is empty at every boot."""
    pid, control = tmp_path / "run" / "a" / "pid", tmp_path / "run" / "b" / "control"
    faithd = Gateway(lab, tmp_path, f'control = "{control}"\npid_file = "{pid}"\n{BASE}')
    assert int(pid.read_text()) == faithd.process.pid
    assert control.is_socket()
    assert faithd.stop() == 0
    assert not pid.exists()


@pytest.mark.parametrize("listen", ["224.0.0.1", "[ff02::1]", "255.255.255.255"])
def test_what_can_never_be_its_address_is_refused(start: Start, listen: str) -> None:
    with pytest.raises(AssertionError, match=r"metrics.listen: .* the address of a group"):
        start(f'[metrics]\nlisten = "{listen}:9064"')


def test_a_port_that_is_taken_is_still_an_error(lab: ThreeHosts, start: Start) -> None:
    with (
        lab.gateway.call(lambda: socket.create_server(("192.0.2.1", 9064))),
        pytest.raises(AssertionError, match=r"listen on 192.0.2.1 port 9064: Address already in"),
    ):
        start('[metrics]\nlisten = "192.0.2.1:9064"')
