"""``faith dns`` and the real servers behind it: BIND by UDP and TCP, unbound by TLS, and none."""

from __future__ import annotations

import socket
import subprocess
import time
from typing import TYPE_CHECKING

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest

from faith.lab import Network, three_hosts
from faith.lab.topology import GATEWAY_V6, SERVER
from tests.dns.program import FaithDns
from tests.peers import unbound
from tests.peers.resolvers import UNSIGNED, Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

    Need = Callable[[str], str]
    Start = Callable[..., FaithDns]

pytestmark = [pytest.mark.netns, pytest.mark.peers]

BY_TLS, SILENT = "192.0.2.81", "192.0.2.82"
NAME = "dns.example"
MAPPED = ["2001:db8:ffff::c000:201", "2001:db8:ffff::c000:202"]


class Site:
    """The lab, an authority on its server and an unbound before it that speaks TLS alone."""

    def __init__(self, network: Network, directory: Path, need: Need) -> None:
        self.lab = three_hosts(network, [BY_TLS, SILENT])
        self._directory = directory
        self._need = need
        Authority(self.lab.server, SERVER, directory, need)
        self.certificate = self._certificate()
        self.start_unbound()
        self.silent = self.lab.server.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        self.silent.bind((SILENT, 53))

    def _certificate(self) -> Path:
        path = self._directory / "certificate.pem"
        words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        names = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
        files = ["-keyout", str(path), "-out", str(path)]
        subprocess.run(
            [self._need("openssl"), *words.split(), *names, *files], capture_output=True, check=True
        )
        return path

    def start_unbound(self) -> None:
        file = self._directory / "unbound.conf"
        lines = unbound.over_tls(BY_TLS, self.certificate)
        file.write_text(unbound.configuration(lines, {UNSIGNED: SERVER}))
        command = [self._need("unbound"), "-d", "-c", str(file)]
        self.unbound = self.lab.server.popen(command, stderr=subprocess.DEVNULL)
        self.lab.server.wait_listening(853, socket.AF_INET, program=self.unbound, seconds=10)

    def stop_unbound(self) -> None:
        self.unbound.terminate()
        self.unbound.wait(10)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, need: Need) -> Iterator[Site]:
    with Network() as network:
        site = Site(network, tmp_path_factory.mktemp("servers"), need)
        yield site
        site.silent.close()


@pytest.fixture
def start(site: Site, tmp_path: Path) -> Iterator[Start]:
    """Start ``faith dns``; it ends with the test."""
    started: list[FaithDns] = []

    def start(*arguments: str) -> FaithDns:
        words = ("-p", site.lab.prefix, *arguments)
        started.append(FaithDns(site.lab.gateway, tmp_path / "dns.log", *words))
        return started[-1]

    yield start
    for each in started:
        each.process.terminate()
        each.process.wait(5)


def ask(lab: ThreeHosts, name: str = "v4.example", kind: str = "AAAA") -> dns.message.Message:
    """What the client is told, by TCP if it takes that."""
    query = dns.message.make_query(name, kind, use_edns=0)
    reply, _ = lab.client.call(lambda: dns.query.udp_with_fallback(query, GATEWAY_V6, timeout=6))
    return reply


def addresses(message: dns.message.Message) -> list[str]:
    return sorted(str(rdata) for rrset in message.answer for rdata in rrset)


class TestTls:
    """RFC 7858, as RFC 8310 §8.1 has it: by name, and never without."""

    def test_unbound_answers_however_much_it_is(self, site: Site, start: Start) -> None:
        start("--forward", f"tls://{BY_TLS}#{NAME}", "--authorities", str(site.certificate))
        assert addresses(ask(site.lab)) == MAPPED
        assert len(addresses(ask(site.lab, "large.example"))) == 100
        assert ask(site.lab, "nowhere.example").rcode() == dns.rcode.NXDOMAIN

    def test_it_may_be_started_anew(self, site: Site, start: Start) -> None:
        start("--forward", f"tls://{BY_TLS}#{NAME}", "--authorities", str(site.certificate))
        assert addresses(ask(site.lab)) == MAPPED
        site.stop_unbound()
        site.start_unbound()
        assert ask(site.lab, "short.example").answer

    @pytest.mark.parametrize(
        ("name", "trusted"), [("other.example", True), (NAME, False)], ids=["name", "authority"]
    )
    def test_nothing_is_asked_of_who_cannot_be_trusted(
        self, name: str, trusted: bool, site: Site, start: Start
    ) -> None:
        words = ["--authorities", str(site.certificate)] if trusted else []
        found = start("--forward", f"tls://{BY_TLS}#{name}", *words)
        for _ in range(3):
            assert ask(site.lab, f"n{_}.example").rcode() == dns.rcode.SERVFAIL
        found.wait_said("certificate verify failed")


class TestSeveral:
    def test_a_dead_one_costs_little_and_then_nothing(self, site: Site, start: Start) -> None:
        found = start("--forward", SILENT, "--forward", SERVER)
        took = []
        for name in ("v4", "both", "v6", "chain", "text", "short", "long"):
            began = time.monotonic()
            assert ask(site.lab, f"{name}.example").rcode() == dns.rcode.NOERROR
            took.append(time.monotonic() - began)
        assert max(took) < 2
        assert min(took[4:]) < 0.5, "less than it takes to lose patience"
        found.wait_said(f"server {SILENT}:53 fails")

    def test_one_by_tls_and_one_without(self, site: Site, start: Start) -> None:
        tls = f"tls://{SILENT}#{NAME}"  # where nobody listens
        start("--forward", tls, "--authorities", str(site.certificate), "--forward", SERVER)
        assert addresses(ask(site.lab)) == MAPPED


class TestBind:
    def test_what_it_cuts_short_is_asked_for_by_tcp(self, site: Site, start: Start) -> None:
        start("--forward", SERVER)
        assert len(addresses(ask(site.lab, "large.example"))) == 100

    def test_a_refusal_is_one(self, site: Site, start: Start) -> None:
        start("--forward", SERVER)
        assert ask(site.lab, "elsewhere.test", "TXT").rcode() == dns.rcode.REFUSED


class TestNobody:
    """Of the servers, none answers."""

    @pytest.mark.parametrize("servers", [[SILENT], [SILENT, SILENT, f"{SILENT}:54"]])
    def test_servfail_comes_within_five_seconds(
        self, servers: list[str], site: Site, start: Start
    ) -> None:
        start(*(word for server in servers for word in ("--forward", server)))
        began = time.monotonic()
        assert ask(site.lab).rcode() == dns.rcode.SERVFAIL
        assert time.monotonic() - began < 5

    def test_rfc8767_5_or_what_was_true_before(self, site: Site, start: Start) -> None:
        tls = f"tls://{BY_TLS}#{NAME}"
        words = ["--authorities", str(site.certificate), "--serve-stale", "3600"]
        start("--forward", tls, *words)
        (good,) = addresses(ask(site.lab, "brief.example"))
        site.stop_unbound()
        try:
            time.sleep(2.1)  # time: more than the TTL
            began = time.monotonic()
            stale = ask(site.lab, "brief.example")
            assert addresses(stale) == [good]
            assert stale.answer[0].ttl == 30
            assert time.monotonic() - began < 5
        finally:
            site.start_unbound()
