"""From a name to the page behind it: real clients that have IPv6 and ``nameserver``, no more.

The gateway runs what its manual says: ``faith -e``, ``faithd http`` and ``faith dns``, with one
definition of the prefix, which is the first's.
"""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

import pytest

from faith.lab import Network, three_hosts, wait_until
from faith.lab.topology import GATEWAY_V6, PREFIX, SERVER
from tests.dns.program import FaithDns
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.faithd import ENVIRONMENT, Faithd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import Host

    Need = Callable[[str], str]

pytestmark = [pytest.mark.netns, pytest.mark.peers]

FAITH = [sys.executable, "-m", "faith.cli.faith"]
OTHER_PREFIX = "2001:db8:ffff:1::/96"
ZONE = f"""{EXAMPLE}www 60 IN A {SERVER}
alias 60 IN CNAME www
both 60 IN A {SERVER}
both 60 IN AAAA {GATEWAY_V6}
"""


class Page(http.server.BaseHTTPRequestHandler):
    """Tells by which family it was reached."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"over IPv6" if ":" in self.client_address[0] else b"over IPv4")

    def log_message(self, *_: object) -> None:
        return


class V6Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


@contextmanager
def serving(host: Host, kind: type[http.server.HTTPServer], address: str) -> Iterator[None]:
    server = host.call(kind, (address, 80), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Site:
    """The lab with everything running, and the client's tools."""

    def __init__(self, network: Network, directory: Path, need: Need) -> None:
        self.lab = three_hosts(network)
        self._directory = directory
        self._need = need
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as running:
            zones = self.lab.server.call(lambda: NameServer(Zones(ZONE), SERVER, 53))
            running.enter_context(zones)
            running.enter_context(serving(self.lab.server, http.server.HTTPServer, SERVER))
            running.enter_context(serving(self.lab.gateway, V6Server, GATEWAY_V6))
            self.faith("-e", "-p", PREFIX)
            self.faithd = Faithd(self.lab.gateway, self._directory / "faithd.log", "http")
            self.faithd.wait_said("serving")
            self.dns = FaithDns(self.lab.gateway, self._directory / "dns.log", "--forward", SERVER)
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def faith(self, *words: str) -> None:
        self.lab.gateway.run([*FAITH, *words], env=ENVIRONMENT)

    def client(self, program: str, *words: str, nameserver: str = GATEWAY_V6) -> str:
        """What *program* writes where resolv.conf has one line.

        Raises CalledProcessError.
        """
        file = self._directory / "resolv.conf"
        file.write_text(f"nameserver {nameserver}\n")
        script = f'mount --bind {file} /etc/resolv.conf && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, "sh", self._need(program), *words]
        return self.lab.client.run(command).stdout

    def addresses(self, name: str, **how: str) -> set[str]:
        """What the C library finds."""
        lines = self.client("getent", "ahosts", name, **how).splitlines()
        return {line.split()[0] for line in lines}

    def page(self, name: str, **how: str) -> str:
        return self.client("curl", "--silent", "--max-time", "5", "-6", f"http://{name}/", **how)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, need: Need) -> Iterator[Site]:
    with Network() as network, Site(network, tmp_path_factory.mktemp("site"), need) as site:
        yield site


@pytest.mark.parametrize("name", ["www.example", "alias.example"])
def test_a_server_that_has_ipv4_alone_is_reached(site: Site, name: str) -> None:
    assert site.addresses(name) == {site.lab.mapped()}
    assert site.page(name) == "over IPv4"


def test_a_server_that_has_both_is_reached_without_the_relay(site: Site) -> None:
    assert {address for address in site.addresses("both.example") if ":" in address} == {GATEWAY_V6}
    assert site.page("both.example") == "over IPv6"


def test_a_name_that_does_not_exist_stays_so(site: Site) -> None:
    for ask in (site.addresses, site.page):
        with pytest.raises(subprocess.CalledProcessError) as caught:
            ask("nowhere.example")
        assert caught.value.returncode == {site.addresses: 2, site.page: 6}[ask]
    assert "NXDOMAIN" in site.client("dig", "AAAA", "nowhere.example")


def test_the_prefix_is_discovered(site: Site) -> None:
    """RFC 7050 §3: the well-known addresses are found in the answer, at one place of the six."""
    found = site.client("dig", "+short", "+cdflag", "AAAA", "ipv4only.arpa").split()
    assert found == [site.lab.mapped("192.0.0.170"), site.lab.mapped("192.0.0.171")]
    found = site.client("dig", "+short", "+nocdflag", "AAAA", "ipv4only.arpa").split()
    assert len(found) == 2
    assert site.client("dig", "+short", "-x", found[0]) == "ipv4only.arpa.\n"


def test_another_prefix_takes_its_place_while_all_go_on(site: Site) -> None:
    """Names and relay follow what ``faith`` does, and nobody is started anew."""
    other = OTHER_PREFIX.removesuffix("/96") + "c000:250"
    site.faith("-e", "-p", OTHER_PREFIX)
    site.faith("-d", "-p", PREFIX)
    try:
        site.lab.client.run(["ip", "-6", "route", "get", other])
        wait_until(lambda: site.addresses("www.example") == {other}, 5, "the other prefix")
        assert site.page("www.example") == "over IPv4"
        found = site.client("dig", "+short", "AAAA", "ipv4only.arpa").split()
        assert found[0] == OTHER_PREFIX.removesuffix("/96") + "c000:aa"
    finally:
        site.faith("-e", "-p", PREFIX)
        site.faith("-d", "-p", OTHER_PREFIX)
    back = {site.lab.mapped()}
    wait_until(lambda: site.addresses("www.example") == back, 5, "the first prefix again")
    assert site.faithd.process.poll() is None
    assert site.dns.process.poll() is None


RESOLVED = """
mount -t tmpfs none /run && mkdir -p /run/systemd/resolve /run/private
mkdir -p /etc/systemd && : >>/etc/systemd/resolved.conf
grep -v ^systemd-resolve: /etc/passwd >/run/private/passwd
echo systemd-resolve:x:65533:65533::/:/bin/false >>/run/private/passwd
mount --bind /run/private/passwd /etc/passwd
printf '[Resolve]\\nDNS=%s\\nFallbackDNS=\\nLLMNR=no\\nMulticastDNS=no\\n' "$2" \\
    >/run/private/resolved.conf
mount --bind /run/private/resolved.conf /etc/systemd/resolved.conf
chown 65533:65533 /run/systemd/resolve
exec "$1"
"""
"""Runs systemd-resolved in a mount namespace, with neither a bus nor files of the machine's."""
STUB = "127.0.0.53"


@pytest.mark.usefixtures("real_root")
def test_by_way_of_systemd_resolved(site: Site, need: Need) -> None:
    """It has a cache, EDNS and a mind of its own, and asks with AD or DO."""
    words = [need("systemd-resolved"), GATEWAY_V6]
    command = ["unshare", "--mount", "sh", "-ec", RESOLVED, "sh", *words]
    site.lab.client.popen(command, stderr=subprocess.DEVNULL)
    site.lab.client.wait_listening(53, socket.AF_INET, "udp")
    for _ in range(2):
        assert site.addresses("www.example", nameserver=STUB) >= {site.lab.mapped()}
        assert site.page("alias.example", nameserver=STUB) == "over IPv4"
    found = site.client("dig", f"@{STUB}", "+short", "AAAA", "ipv4only.arpa").split()
    assert set(found) == {site.lab.mapped("192.0.0.170"), site.lab.mapped("192.0.0.171")}
    assert "NXDOMAIN" in site.client("dig", f"@{STUB}", "AAAA", "nowhere.example")
