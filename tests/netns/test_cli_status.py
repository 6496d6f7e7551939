"""``faith status`` on real hosts: with many prefixes, and with what is outside of any daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from faith.cli import status
from faith.kernel.netlink import routes
from faith.kernel.netlink.netlink import Netlink
from faith.kernel.nft import guard
from faith.lab import wait_until
from faith.translation.prefix import Prefix
from tests.faithd import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Network

pytestmark = pytest.mark.netns

PREFIXES = [Prefix.parse(f"2001:db8:{number:x}:ffff::/96") for number in range(0x1000, 0x1040)]


@pytest.mark.usefixtures("private_network")
def test_it_reads_the_tables_as_often_for_many_prefixes_as_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once for each took 4 s with a thousand."""
    dumps, dump = [], Netlink.dump

    def counted(netlink: Netlink, kind: int, body: bytes) -> list[bytes]:
        dumps.append(kind)
        return dump(netlink, kind, body)

    monkeypatch.setattr(Netlink, "dump", counted)

    def dumps_of_status() -> int:
        dumps.clear()
        found = status.read()
        assert all(one.guarded for one in found.prefixes)
        return len(dumps)

    guard.install(PREFIXES)
    routes.reserve(PREFIXES[0])
    for_one = dumps_of_status()
    for prefix in PREFIXES[1:]:
        routes.reserve(prefix)
    assert len(status.read().prefixes) == len(PREFIXES)
    assert dumps_of_status() == for_one


# -- what no daemon tells ------------------------------------------------------------------------


FAITH = [sys.executable, "-m", "faith.cli.faith", "status"]
ROUTER = "192.0.2.80"
LISTENS = """
import socket, sys, time
sock = socket.socket(socket.AF_INET6)
sock.setsockopt(socket.IPPROTO_IPV6, 75, 1)  # IPV6_TRANSPARENT, as with Transparent=yes
sock.bind(("::", 23))
sock.listen()
print("listens", flush=True)
sys.stdin.read()
"""


TABLE = """table inet host {
    chain way {
        type filter hook input priority 0; policy drop;
        %s
    }
}
"""


class Site:
    """A host with a reserved prefix and an uplink, and without a daemon."""

    def __init__(self, network: Network) -> None:
        self.host, client = network.host("gateway"), network.host("client")
        self.router = network.host("router")
        network.link(client, self.host, ["2001:db8:6::2/64"], ["2001:db8:6::1/64"])
        network.link(self.host, self.router, ["192.0.2.1/24"], [f"{ROUTER}/24"])
        self.host.links.add_route("default", ROUTER)
        self.host.call(self._reserve)

    def _reserve(self) -> None:
        guard.install(PREFIXES[:1])
        routes.reserve(PREFIXES[0])

    def found(self) -> dict[str, str]:
        """The texts of failures and warnings, by id; the exit status agrees with them."""
        done = self.host.run([*FAITH, "--json"], check=False, env=ENVIRONMENT)
        findings = json.loads(done.stdout)["findings"]
        found = {one["id"]: one for one in findings if one["severity"] in ("failure", "warning")}
        assert done.returncode == (1 if found else 0), done.stderr
        return {kind: one["text"] for kind, one in found.items()}


@pytest.fixture
def gateway(network: Network) -> Site:
    return Site(network)


@pytest.fixture
def unit(gateway: Site) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a listener for others, as systemd does for a socket unit."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    program = gateway.host.popen([sys.executable, "-c", LISTENS], **pipes)
    assert program.stdout
    assert program.stdout.readline() == "listens\n"
    yield program
    program.communicate()


def test_without_a_daemon_nobody_serves(gateway: Site) -> None:
    assert [*gateway.found()] == ["no-daemon"]


def test_a_socket_unit_serves(gateway: Site, unit: subprocess.Popen[str]) -> None:
    assert gateway.found() == {}
    said = gateway.host.run(FAITH, env=ENVIRONMENT).stdout
    assert "listens  port 23, without a daemon: python" in said
    assert f"(pid {unit.pid})" in said


@pytest.mark.usefixtures("unit")
def test_an_uplink_that_is_gone_is_told(gateway: Site) -> None:
    gateway.host.run(["ip", "route", "del", "default"])
    assert [*gateway.found()] == ["no-default-route"]
    gateway.host.links.add_route("default", ROUTER)
    assert gateway.found() == {}
    gateway.router.run(["ip", "link", "set", "to-gateway", "down"])
    wait_until(lambda: [*gateway.found()] == ["uplink-down"], 10, "the carrier being gone")
    assert "to-router, which has no carrier" in gateway.found()["uplink-down"]
    gateway.host.run(["ip", "link", "set", "to-router", "down"])
    assert "to-router, which is down" in gateway.found()["uplink-down"]
    gateway.host.run(["ip", "addr", "flush", "dev", "to-router"])
    assert [*gateway.found()] == ["uplink-missing"]


@pytest.mark.usefixtures("unit")
def test_a_firewall_that_drops_all_is_told(gateway: Site, need: Callable[[str], str]) -> None:
    gateway.host.run([need("nft"), "-f", "-"], stdin=TABLE % "tcp dport 22 drop")
    assert [*gateway.found()] == ["firewall-drops"]
    assert "chain inet host way (hook input)" in gateway.found()["firewall-drops"]
    gateway.host.run([need("nft"), "-f", "-"], stdin="delete table inet host\n" + TABLE % "accept")
    assert gateway.found() == {}
