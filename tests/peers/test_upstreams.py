"""``faith dns`` and the servers it asks, on good days and on bad ones: NSD, BIND, unbound, dnsmasq.

And one of odd habits, which the others ask in turn: of its names some are slow, dead or broken.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest

from faith.lab import Network, three_hosts, wait_until
from faith.lab.topology import GATEWAY_V4, GATEWAY_V6, SERVER
from tests.dns.program import FAITH_DNS, FaithDns
from tests.dns.zones import NameServer, Zones
from tests.faithd import ENVIRONMENT
from tests.peers import unbound
from tests.peers.resolvers import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import Host, ThreeHosts

    Need = Callable[[str], str]
    Start = Callable[..., FaithDns]

pytestmark = [pytest.mark.netns, pytest.mark.peers]

NSD, UNBOUND, DNSMASQ, ODD, HALF, CIRCULAR = (f"192.0.2.{number}" for number in range(81, 87))
NAME = "dns.example"
MAPPED = ["2001:db8:ffff::c000:201", "2001:db8:ffff::c000:202"]
MANY = 40
"""Names that are asked for together."""

_HEAD = "$TTL 300\n@ SOA ns host 1 3600 1200 604800 60\n@ NS ns\nns A 192.0.2.80\n"
_LONG = " ".join([f'"{"x" * 250}"'] * 8)


class Odd:
    """Says nothing of names below ``dead``, fails for AAAA records below ``half``, after a while.

    All others have an A record.
    """

    def __init__(self, host: Host, address: str) -> None:
        self._sock = host.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((address, 53))
        self._late: list[threading.Timer] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            query, source = self._sock.recvfrom(4096)
            if not query:
                return
            name = dns.message.from_wire(query).question[0].name.to_text().lower()
            if ".dead." in name:
                continue
            is_broken = ".half." in name and b"\0\x1c\0\1" in query
            reply = self._reply(query, is_broken)
            if is_broken:
                self._late.append(threading.Timer(0.6, self._sock.sendto, (reply, source)))
                self._late[-1].start()
            else:
                self._sock.sendto(reply, source)

    @staticmethod
    def _reply(query: bytes, is_broken: bool) -> bytes:
        asked = dns.message.from_wire(query)
        reply = dns.message.make_response(asked)
        reply.flags |= 0x0400
        name = asked.question[0].name
        if is_broken:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif asked.question[0].rdtype == 1:
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.1"))
        else:
            soa = "ns.odd. host.odd. 1 1 1 1 60"
            reply.authority.append(dns.rrset.from_text("odd.", 60, "IN", "SOA", soa))
        return reply.to_wire()

    def close(self, host: Host) -> None:
        with host.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self._sock.getsockname())
        self._thread.join(5)
        for timer in self._late:
            timer.join()
        self._sock.close()


class Site:
    """The lab, with all these servers on its server."""

    def __init__(self, network: Network, directory: Path, need: Need) -> None:
        self.lab = three_hosts(network, [NSD, UNBOUND, DNSMASQ, ODD, HALF, CIRCULAR])
        self.server = self.lab.server
        self._directory = directory
        self._need = need
        Authority(self.server, SERVER, directory, need)
        self.odd = [Odd(self.server, address) for address in (ODD, HALF)]
        self.certificate = self._certificate()
        self._start_nsd()
        self._start_unbound()
        self._start_dnsmasq()

    def _certificate(self) -> Path:
        path = self._directory / "certificate.pem"
        words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        names = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
        files = ["-keyout", str(path), "-out", str(path)]
        command = [self._need("openssl"), *words.split(), *names, *files]
        subprocess.run(command, capture_output=True, check=True)
        return path

    def _start_nsd(self) -> None:
        directory = self._directory
        names = "".join(f"long{number} TXT {_LONG}\n" for number in range(MANY))
        text = f"{_HEAD}v4 A 192.0.2.1\nv4 A 192.0.2.2\nwho TXT nsd\n{names}"
        (directory / "nsd.zone").write_text(text)
        (directory / "nsd.conf").write_text(
            f"""server:
ip-address: {NSD}
username: ""
chroot: ""
pidfile: ""
database: ""
zonelistfile: "{directory}/nsd.list"
xfrdfile: "{directory}/nsd.xfrd"
xfrdir: "{directory}"
zonesdir: "{directory}"
server-count: 1
remote-control:
control-enable: no
zone:
name: example
zonefile: nsd.zone
"""
        )
        self._start(NSD, [self._need("nsd"), "-d", "-c", str(directory / "nsd.conf")])

    def _start_unbound(self) -> None:
        """By TLS as well as by UDP."""
        file = self._directory / "unbound.conf"
        lines = (
            f"interface: {UNBOUND}",
            *unbound.over_tls(UNBOUND, self.certificate),
            "outgoing-range: 8192",
            "num-queries-per-thread: 8192",
            """local-data: 'who.example. TXT "unbound"'""",
        )
        servers = {"example": SERVER, "dead.odd": ODD, "odd": HALF}
        file.write_text(unbound.configuration(lines, servers))
        self._start(UNBOUND, [self._need("unbound"), "-d", "-c", str(file)])

    def _start_dnsmasq(self) -> None:
        for address, server in ((DNSMASQ, NSD), (CIRCULAR, GATEWAY_V4)):
            options = ("-k", "-C", "/dev/null", "-u", "root", "--pid-file=", "--bind-interfaces")
            where = (f"--server={server}@{address}", f"--listen-address={address}", "--no-resolv")
            self._start(address, [self._need("dnsmasq"), *options, "--no-hosts", *where])

    def _start(self, address: str, command: list[str]) -> None:
        with (self._directory / f"{address}.log").open("w") as log:
            process = self.server.popen(command, stdout=log, stderr=log)
        wait_until(lambda: self._answers(address, process), 10, f"{command[0]} answering")

    def _answers(self, address: str, process: subprocess.Popen[str]) -> bool:
        assert process.poll() is None, (self._directory / f"{address}.log").read_text()
        if address == CIRCULAR:
            return self.server.is_listening(53, socket.AF_INET, "udp")
        query = dns.message.make_query("v4.example", "A")
        try:
            return bool(self.server.call(lambda: dns.query.udp(query, address, timeout=0.3)).answer)
        except (dns.exception.Timeout, OSError):
            return False

    def connections(self, address: str, port: int) -> int:
        """How many the gateway has to there."""
        words = ["ss", "-Htn", "state", "established", "dst", f"{address}:{port}"]
        return len(self.lab.gateway.run(words).stdout.splitlines())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, need: Need) -> Iterator[Site]:
    with Network() as network:
        site = Site(network, tmp_path_factory.mktemp("upstreams"), need)
        yield site
        for odd in site.odd:
            odd.close(site.server)


@pytest.fixture
def start(site: Site, tmp_path: Path) -> Iterator[Start]:
    """Start ``faith dns``; it ends with the test."""
    started: list[FaithDns] = []

    def start(*servers: str, words: tuple[str, ...] = ()) -> FaithDns:
        asked = [word for server in servers for word in ("--forward", server)]
        started.append(
            FaithDns(site.lab.gateway, tmp_path / "dns.log", "-p", site.lab.prefix, *asked, *words)
        )
        return started[-1]

    yield start
    for each in started:
        each.process.terminate()
        each.process.wait(5)


@pytest.fixture
def by_tls(site: Site, start: Start) -> FaithDns:
    return start(f"tls://{UNBOUND}#{NAME}", words=("--authorities", str(site.certificate)))


def ask(
    lab: ThreeHosts, name: str = "v4.example", kind: str = "AAAA", timeout: float = 6
) -> dns.message.Message:
    """What the client is told, by TCP if it takes that."""
    query = dns.message.make_query(name, kind, use_edns=0)
    reply, _ = lab.client.call(
        lambda: dns.query.udp_with_fallback(query, GATEWAY_V6, timeout=timeout)
    )
    return reply


def send(sock: socket.socket, *names: str, kind: str = "AAAA") -> None:
    for number, name in enumerate(names):
        sock.send(dns.message.make_query(name, kind, id=number).to_wire())


def received(sock: socket.socket, count: int, seconds: float) -> list[dns.message.Message]:
    """So many replies, or those that come in time."""
    end = time.monotonic() + seconds
    found: list[dns.message.Message] = []
    while len(found) < count and (left := end - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            found.append(dns.message.from_wire(sock.recv(4096)))
        except TimeoutError:
            break
    return found


def sending(host: Host, server: str) -> socket.socket:
    """A socket of *host* that leads to *server*."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    sock = host.call(socket.socket, family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sock.connect((server, 53))
    return sock


def addresses(message: dns.message.Message) -> list[str]:
    return sorted(str(rdata) for rrset in message.answer for rdata in rrset)


@pytest.mark.parametrize("server", [SERVER, NSD, UNBOUND, DNSMASQ])
@pytest.mark.parametrize("words", [(), ("--mixed-case",)])
def test_everybody_can_be_asked(
    server: str, words: tuple[str, ...], site: Site, start: Start
) -> None:
    start(server, words=words)
    assert addresses(ask(site.lab)) == MAPPED
    assert ask(site.lab, "nowhere.example").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("server", [NSD, DNSMASQ])
def test_rfc7766_6_2_1_1_many_are_asked_by_tcp_together(
    server: str, site: Site, start: Start
) -> None:
    """They are too long for UDP; dnsmasq answers in turn, NSD as many as it has read."""
    start(server)
    with site.lab.client.call(socket.create_connection, (GATEWAY_V6, 53), 5) as sock:
        for number in range(MANY):
            query = dns.message.make_query(f"long{number}.example", "TXT", id=number)
            dns.query.send_tcp(sock, query)
        ids = {dns.query.receive_tcp(sock, time.time() + 5)[0].id for _ in range(MANY)}
    assert ids == set(range(MANY))
    assert site.connections(server, 53) <= 2


class TestTls:
    def test_rfc7858_3_3_slow_names_stop_no_others(self, site: Site, by_tls: FaithDns) -> None:
        with sending(site.lab.client, GATEWAY_V6) as sock:
            send(sock, *(f"n{number}.dead.odd" for number in range(5 * MANY)))
            began = time.monotonic()
            assert addresses(ask(site.lab)) == MAPPED
            assert time.monotonic() - began < 0.6, "less than until somebody is asked again"
            for number in range(MANY):
                assert ask(site.lab, f"n{number}.odd").answer
            assert site.connections(UNBOUND, 853) <= 2


class TestSlow:
    def test_slow_names_are_not_the_servers_fault(self, site: Site, start: Start) -> None:
        """The preferred server stays so, and the log says nothing."""
        found = start(UNBOUND, NSD)
        for number in range(6):
            ask(site.lab, f"slow{number}.dead.odd", "TXT")
            (answer,) = ask(site.lab, "who.example", "TXT").answer
            assert str(answer[0]) == '"unbound"'
        assert "fails" not in found.said

    def test_rfc6147_5_1_2_aaaa_records_that_fail_slowly_by_a_real_server(
        self, site: Site, start: Start
    ) -> None:
        start(UNBOUND)
        began = time.monotonic()
        assert addresses(ask(site.lab, "www.half.odd")) == ["2001:db8:ffff::c000:201"]
        assert time.monotonic() - began < 5

    def test_and_directly(self, site: Site, start: Start) -> None:
        start(HALF)
        assert addresses(ask(site.lab, "www.half.odd")) == ["2001:db8:ffff::c000:201"]


class TestFlood:
    """Of names that nobody answers for, more than there is room for."""

    BURST = 3000

    @pytest.mark.parametrize("server", [UNBOUND, ODD])
    def test_others_have_their_names_and_so_has_the_client_itself(
        self, server: str, site: Site, start: Start
    ) -> None:
        start(server)
        with (
            sending(site.lab.client, GATEWAY_V6) as flooding,
            sending(site.lab.client, GATEWAY_V6) as same,
            sending(site.lab.server, GATEWAY_V4) as other,
        ):
            for first in range(0, self.BURST, 100):
                dead = (f"n{first + number}.dead.odd" for number in range(100))
                send(flooding, *dead)
                time.sleep(0.005)  # time: a socket's buffer is no part of this
            time.sleep(0.3)  # time: what is older gives way
            for sock, kind in ((same, "own"), (other, "other")):
                names = [f"{kind}{number}.odd" for number in range(20)]
                send(sock, *names, kind="A")
                replies = received(sock, len(names), 4)
                assert len(replies) == len(names), kind
                assert all(reply.answer for reply in replies), kind


class TestWho:
    def test_ourselves_are_refused_by_address(self, site: Site) -> None:
        for forward in (GATEWAY_V4, "0::0:1"):
            with pytest.raises(subprocess.CalledProcessError) as caught:
                site.lab.gateway.run([*FAITH_DNS, "--forward", forward], env=ENVIRONMENT)
            assert "where this server listens itself" in caught.value.stderr

    def test_and_by_what_comes_back(self, site: Site, start: Start) -> None:
        """127.0.0.2 is an address of no interface, and of this host all the same."""
        found = start("127.0.0.2", words=("--listen", "0.0.0.0", "--allow", "0.0.0.0/0"))
        with sending(site.lab.server, GATEWAY_V4) as sock:
            send(sock, "v4.example")
            found.wait_said("127.0.0.2:53 fails: it is this server itself")

    def test_who_asks_us_in_turn_is_found_out(self, site: Site, start: Start) -> None:
        """And does not keep others from being asked."""
        found = start(CIRCULAR, SERVER)
        for number in range(4):
            ask(site.lab, f"circular{number}.example")
        found.wait_said(f"{CIRCULAR}:53 fails: it asks this server what this server asks it")
        began = time.monotonic()
        assert addresses(ask(site.lab)) == MAPPED
        assert time.monotonic() - began < 1

    def test_resolv_conf_is_followed(self, site: Site, tmp_path: Path) -> None:
        path = tmp_path / "resolv.conf"
        path.write_text("# none yet\n")
        script = f'mount --bind {path} /etc/resolv.conf && exec "$@"'
        words = ["-p", site.lab.prefix]
        with (tmp_path / "log").open("w") as log:
            command = ["unshare", "--mount", "sh", "-c", script, "sh", *FAITH_DNS, *words]
            process = site.lab.gateway.popen(command, env=ENVIRONMENT, stderr=log)

        def told(who: str) -> bool:
            reply = ask(site.lab, "who.example", "TXT")
            return [str(rdata) for rrset in reply.answer for rdata in rrset] == [f'"{who}"']

        try:
            wait_until(lambda: "serving" in (tmp_path / "log").read_text(), 10, "serving")
            assert ask(site.lab).rcode() == dns.rcode.SERVFAIL
            path.write_text(f"nameserver {UNBOUND}\n")
            wait_until(lambda: ask(site.lab).answer, 15, "the server being asked")
            assert told("unbound")
            path.write_text(f"nameserver {NSD}\nnameserver {GATEWAY_V6}\n")
            changed = f"servers to ask: {NSD}:53"
            wait_until(lambda: changed in (tmp_path / "log").read_text(), 5, "another")
            assert ask(site.lab, "long1.example", "TXT").answer
            assert "is not asked: it is this server itself" in (tmp_path / "log").read_text()
        finally:
            process.terminate()
            process.wait(5)


def test_a_link_local_server_may_come_late_and_come_again(tmp_path: Path) -> None:
    """By an interface that is not there at start, and that another one takes the place of."""
    device, host = "to-names", "fe80::53%to-gateway"
    zone = "$ORIGIN example.\n@ 60 IN SOA ns host 1 1 1 1 60\n"
    zone += "".join(f"n{number} 60 IN A 192.0.2.1\n" for number in range(200))
    unasked = map("n{}.example".format, range(200))
    with Network() as network:
        lab = three_hosts(network)
        ip = partial(lab.gateway.run, timeout=5)
        words = ("-p", lab.prefix, "--forward", f"fe80::53%{device}")
        found = FaithDns(lab.gateway, tmp_path / "log", *words)

        def answered() -> bool:
            """Of a name each time that has not failed yet, a while after the one before."""
            time.sleep(0.1)  # time: the clients' pace
            return bool(ask(lab, next(unasked)).answer)

        assert not answered()
        for name in ("names", "others"):
            names = network.host(name)
            network.link(lab.gateway, names, [], [])
            names.links.add_address("to-gateway", "fe80::53/64")
            if name == "others":
                ip(["ip", "link", "del", device])
                ip(["ip", "link", "set", "to-others", "down"])
                ip(["ip", "link", "set", "to-others", "name", device])
                ip(["ip", "link", "set", device, "up"])
            with names.call(NameServer, Zones(zone), host, 53):
                wait_until(answered, 10, "an answer")
        found.process.terminate()
        found.process.wait(5)
