"""``faith dns`` before all kinds of servers: NSD, BIND, unbound, dnsmasq, one of odd habits."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

import dns.message
import dns.query
import dns.rcode
import dns.reversename
import pytest

from faith.lab import Network, three_hosts, wait_until
from faith.lab.topology import GATEWAY_V6
from tests.dns.program import FAITH_DNS, FaithDns
from tests.dns.zones import NameServer, Zones
from tests.faithd import ENVIRONMENT
from tests.peers import unbound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

    Need = Callable[[str], str]

pytestmark = [pytest.mark.netns, pytest.mark.peers]

ZONE = """$TTL 300
@ SOA ns host 1 3600 1200 604800 60
@ NS ns
ns A 192.0.2.80
www A 192.0.2.1
www MX 10 www
real AAAA 2001:db8::80
trailed A 192.0.2.2
failed MX 10 www
long 2147483647 A 192.0.2.3
"""
REVERSE = """$TTL 300
@ SOA ns.example. host.example. 1 3600 1200 604800 60
@ NS ns.example.
1 PTR www.example.
"""
ZONES = {"example": ZONE, "2.0.192.in-addr.arpa": REVERSE}
NSD, BIND, UNBOUND, DNSMASQ, ODD = (f"192.0.2.{n}" for n in (83, 80, 84, 85, 86))
ALL = {"nsd": NSD, "bind": BIND, "unbound": UNBOUND, "dnsmasq": DNSMASQ, "odd": ODD}


class Odd(Zones):
    """A server that says of every name that it does not know that there is none, .arpa included."""

    def __init__(self) -> None:
        nothing = "$ORIGIN .\n@ 300 IN SOA a. b. 1 3600 1200 604800 300\n"
        texts = (f"$ORIGIN {zone}.\n{text}" for zone, text in ZONES.items())
        super().__init__(nothing, *(text.replace("\n@ NS", "\n@ IN NS") for text in texts))

    def __call__(self, wire: bytes) -> bytes:
        reply = super().__call__(wire)
        if b"\7trailed" in wire:
            return reply + b"junk"
        if b"\6failed" in wire:
            return reply[:3] + bytes([reply[3] | dns.rcode.SERVFAIL]) + reply[4:]
        return reply


class Site:
    """The lab with all of these servers on the server's side."""

    def __init__(self, network: Network, directory: Path, need: Need) -> None:
        self.lab = three_hosts(network, [NSD, UNBOUND, DNSMASQ, ODD])
        self._directory = directory
        self._need = need
        for zone, text in ZONES.items():
            (directory / zone).write_text(text)
        self._nsd()
        self._bind()
        self._unbound()
        self._dnsmasq()
        self.odd = self.lab.server.call(lambda: NameServer(Odd(), ODD, 53))

    def _nsd(self) -> None:
        zones = "".join(f"zone:\n  name: {zone}\n  zonefile: {zone}\n" for zone in ZONES)
        text = f"""server:
  ip-address: {NSD}
  zonesdir: "{self._directory}"
  username: ""
  database: ""
  pidfile: ""
  logfile: "{self._directory}/nsd.log"
  xfrdfile: "{self._directory}/xfrd"
  xfrdir: "{self._directory}"
  zonelistfile: "{self._directory}/zone.list"
  server-count: 1
remote-control:
  control-enable: no
{zones}"""
        self._start("nsd", text, ["-d", "-c"], NSD)

    def _bind(self) -> None:
        zones = "".join(f'zone "{zone}" {{ type master; file "{zone}"; }};\n' for zone in ZONES)
        text = f"""options {{
    directory "{self._directory}";
    listen-on {{ {BIND}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    pid-file none;
    session-keyfile none;
}};
controls {{ }};
{zones}"""
        self._start("named", text, ["-g", "-c"], BIND)

    def _unbound(self) -> None:
        lines = (
            f"interface: {UNBOUND}",
            'local-zone: "2.0.192.in-addr.arpa." transparent',
            'local-zone: "arpa." static',
        )
        text = unbound.configuration(lines, dict.fromkeys(ZONES, BIND))
        self._start("unbound", text, ["-d", "-c"], UNBOUND)

    def _dnsmasq(self) -> None:
        text = f"""listen-address={DNSMASQ}
bind-interfaces
no-resolv
no-hosts
no-daemon
local=/arpa/
server=/example/{BIND}
server=/2.0.192.in-addr.arpa/{BIND}
pid-file=
user=root
"""
        self._start("dnsmasq", text, ["-C"], DNSMASQ)

    def _start(self, program: str, text: str, words: list[str], address: str) -> None:
        file = self._directory / f"{program}.conf"
        file.write_text(text)
        with (self._directory / f"{program}.out").open("w") as log:
            process = self.lab.server.popen(
                [self._need(program), *words, str(file)], stdout=log, stderr=log
            )
        self.lab.server.wait_listening(53, socket.AF_INET, "udp", program=process, seconds=10)
        assert process.poll() is None, (self._directory / f"{program}.out").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, need: Need) -> Iterator[Site]:
    with Network() as network:
        site = Site(network, tmp_path_factory.mktemp("servers"), need)
        with site.odd:
            yield site


@pytest.fixture(params=ALL)
def forwarder(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[FaithDns]:
    """``faith dns`` that asks one of them."""
    words = ("-p", site.lab.prefix, "--forward", ALL[request.param])
    found = FaithDns(site.lab.gateway, tmp_path / "dns.log", *words)
    yield found
    found.process.terminate()
    found.process.wait(5)


def ask(lab: ThreeHosts, owner: str, kind: str) -> dns.message.Message:
    query = dns.message.make_query(owner, kind, use_edns=0)
    return lab.client.call(lambda: dns.query.udp(query, GATEWAY_V6, timeout=6))


def data(lab: ThreeHosts, owner: str, kind: str) -> list[str]:
    return sorted(str(rdata) for rrset in ask(lab, owner, kind).answer for rdata in rrset)


def test_no_query_takes_a_name_from_others(site: Site, forwarder: FaithDns) -> None:
    for kind in ("TYPE0", "TYPE65280", "TYPE254"):
        ask(site.lab, "www.example", kind)
    assert data(site.lab, "www.example", "A") == ["192.0.2.1"]
    assert data(site.lab, "www.example", "AAAA") == ["2001:db8:ffff::c000:201"]
    assert data(site.lab, "www.example", "MX") == ["10 www.example."]


def test_no_server_hides_what_is_ours(site: Site, forwarder: FaithDns) -> None:
    named = dns.reversename.from_address("2001:db8:ffff::c000:201").to_text()
    for kind in ("TXT", "ANY", "AAAA", "DS"):
        assert ask(site.lab, named, kind).rcode() != dns.rcode.NXDOMAIN
        ask(site.lab, "ipv4only.arpa", kind)
    assert data(site.lab, named, "PTR") == ["www.example."]
    assert len(data(site.lab, "ipv4only.arpa", "AAAA")) == 2
    assert len(data(site.lab, "ipv4only.arpa", "A")) == 2
    assert ask(site.lab, "_dns.resolver.arpa", "SVCB").rcode() == dns.rcode.NOERROR


@pytest.fixture
def before_odd(site: Site, tmp_path: Path) -> Iterator[None]:
    """``faith dns`` that asks the odd one."""
    words = ("-p", site.lab.prefix, "--forward", ODD)
    found = FaithDns(site.lab.gateway, tmp_path / "dns.log", *words)
    yield
    found.process.terminate()
    found.process.wait(5)


@pytest.mark.usefixtures("before_odd")
def test_an_odd_server_is_understood(site: Site) -> None:
    assert data(site.lab, "trailed.example", "A") == ["192.0.2.2"]
    assert data(site.lab, "trailed.example", "AAAA") == ["2001:db8:ffff::c000:202"]
    failed = ask(site.lab, "failed.example", "MX")
    assert (failed.rcode(), failed.answer) == (dns.rcode.SERVFAIL, [])
    week = 7 * 86400
    for _ in range(2):
        assert week - 5 < ask(site.lab, "long.example", "A").answer[0].ttl <= week


def test_a_resolver_of_the_gateways_own_is_asked(site: Site, need: Need, tmp_path: Path) -> None:
    """unbound on the loopback addresses, as Debian has it, and ``faith dns`` on all others."""
    file = tmp_path / "unbound.conf"
    file.write_text(
        f"""server:
interface: 127.0.0.1
interface: ::1
chroot: ""
username: ""
pidfile: ""
use-syslog: no
do-not-query-localhost: no
module-config: "iterator"
local-zone: "2.0.192.in-addr.arpa." transparent
remote-control:
control-enable: no
forward-zone:
name: "."
forward-addr: {BIND}
"""
    )
    gateway = site.lab.gateway
    unbound = gateway.popen([need("unbound"), "-d", "-c", str(file)], stderr=subprocess.DEVNULL)
    gateway.wait_listening(53, socket.AF_INET, "udp", program=unbound, seconds=10)
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    script = f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *FAITH_DNS, "-p", site.lab.prefix]
    with (tmp_path / "dns.log").open("w") as log:
        faith = gateway.popen(command, stderr=log, env=ENVIRONMENT)
    try:
        gateway.wait_listening(53, socket.AF_INET6, "tcp", program=faith, seconds=10)
        wait_until(lambda: "serving" in (tmp_path / "dns.log").read_text(), 10, "serving")
        assert data(site.lab, "www.example", "AAAA") == ["2001:db8:ffff::c000:201"]
        said = (tmp_path / "dns.log").read_text()
        for address in ("127.0.0.1", "[::1]"):
            assert f"listen on {address}:53: the port is taken by" in said
    finally:
        for program in (faith, unbound):
            program.terminate()
            program.wait(10)
