"""``faith dns`` on a gateway of its own: followed from the client's resolv.conf to the web page."""

from __future__ import annotations

import http.server
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.reversename
import pytest

from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, PREFIX, SERVER
from faith.translation.prefix import Prefix
from tests.dns.program import FAITH_DNS, FaithDns
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.faithd import ENVIRONMENT, Faithd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Host, ThreeHosts

pytestmark = pytest.mark.netns

ZONE = f"""{EXAMPLE}www 60 IN A {SERVER}
brief 1 IN A 192.0.2.9
v6 60 IN AAAA 2001:db8:6::80
global 60 IN A 198.41.0.4
other 60 IN AAAA 2001:db8:6::81
"""
REVERSE_V6 = """$ORIGIN 8.b.d.0.1.0.0.2.ip6.arpa.
@ 300 IN SOA ns host 1 3600 1200 604800 60
0.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.0.0.0 60 IN PTR v6.example.
"""
REVERSE = """$ORIGIN 192.in-addr.arpa.
@ 300 IN SOA ns host 1 3600 1200 604800 60
80.2.0 60 IN PTR www.example.
"""
POOL, LENT, NEXT_LENT = "198.51.100.0/24", "198.51.100.1", "198.51.100.2"
OTHER_PREFIX = "2001:db8:eeee::/96"


@pytest.fixture
def zones(lab: ThreeHosts) -> Iterator[NameServer]:
    """The name server that the gateway asks: on the IPv4-only server."""
    server = lab.server.call(lambda: NameServer(Zones(ZONE, REVERSE, REVERSE_V6), SERVER, 53))
    with server:
        yield server


@pytest.fixture
def start(lab: ThreeHosts, zones: NameServer, tmp_path: Path) -> Callable[..., FaithDns]:
    """Start ``faith dns`` on the gateway, which asks the lab's name server."""
    return lambda *arguments: FaithDns(
        lab.gateway, tmp_path / "dns.log", "--forward", SERVER, *arguments
    )


@pytest.fixture
def reserved(lab: ThreeHosts) -> str:
    with lab.gateway.inside():
        guard.install([Prefix.parse(PREFIX)])
        routes.reserve(Prefix.parse(PREFIX))
    return PREFIX


def ask(
    host: Host, owner: str, kind: str = "AAAA", server: str = GATEWAY_V6, **how: bool
) -> dns.message.Message:
    """The reply to *host* from *server*."""
    query = dns.message.make_query(owner, kind)
    by = dns.query.tcp if how.get("tcp") else dns.query.udp
    return host.call(lambda: by(query, server, timeout=5))


def is_answered(lab: ThreeHosts, server: str) -> bool:
    """Whether *server* tells the client a mapped address, and soon."""
    query = dns.message.make_query("www.example.", "AAAA")
    try:
        reply = lab.client.call(lambda: dns.query.udp(query, server, timeout=0.5))
    except (dns.exception.Timeout, OSError):
        return False
    return addresses(reply) == [lab.mapped()]


def addresses(message: dns.message.Message) -> list[str]:
    return [str(rdata) for rrset in message.answer for rdata in rrset]


def resolving(path: Path, server: str, *words: str) -> list[str]:
    """The command line *words*, with nothing but *server* in the resolv.conf it sees."""
    path.write_text(f"nameserver {server}\n")
    script = f'mount --bind {path} /etc/resolv.conf && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", *words]


@pytest.fixture
def web(lab: ThreeHosts) -> Iterator[None]:
    """A web server on the IPv4-only host."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"found by name\n")

        def log_message(self, *_: object) -> None:
            return

    server = lab.server.call(http.server.HTTPServer, (SERVER, 80), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("reserved", "web")
class TestClient:
    """An IPv6-only client with one line of configuration: ``nameserver``."""

    @pytest.fixture(autouse=True)
    def gateway(self, lab: ThreeHosts, start: Callable[..., FaithDns], tmp_path: Path) -> None:
        faithd = Faithd(lab.gateway, tmp_path / "faithd.log", "80")
        faithd.wait_said("serving")
        start()

    def test_the_c_library_finds_the_mapped_address(
        self, lab: ThreeHosts, need: Callable[[str], str], tmp_path: Path
    ) -> None:
        command = resolving(
            tmp_path / "resolv.conf", GATEWAY_V6, need("getent"), "ahosts", "www.example"
        )
        found = lab.client.run(command).stdout
        assert f"{lab.mapped()} " in found

    def test_a_browser_gets_the_page(
        self, lab: ThreeHosts, need: Callable[[str], str], tmp_path: Path
    ) -> None:
        curl = [need("curl"), "--silent", "-6", "http://www.example/"]
        command = resolving(tmp_path / "resolv.conf", GATEWAY_V6, *curl)
        assert lab.client.run(command).stdout == "found by name\n"

    def test_python_does_too(self, lab: ThreeHosts, tmp_path: Path) -> None:
        script = "import urllib.request as u; print(u.urlopen('http://www.example/').read())"
        command = resolving(tmp_path / "resolv.conf", GATEWAY_V6, sys.executable, "-c", script)
        found = lab.client.run(command).stdout
        assert "found by name" in found

    def test_dig_sees_what_is_where(self, lab: ThreeHosts, need: Callable[[str], str]) -> None:
        dig = [need("dig"), f"@{GATEWAY_V6}", "+short"]
        assert lab.client.run([*dig, "AAAA", "www.example"]).stdout == f"{lab.mapped()}\n"
        assert lab.client.run([*dig, "AAAA", "v6.example"]).stdout == "2001:db8:6::80\n"
        assert lab.client.run([*dig, "-x", lab.mapped()]).stdout == "www.example.\n"
        discovered = lab.client.run([*dig, "AAAA", "ipv4only.arpa"]).stdout
        assert discovered.split() == [lab.mapped("192.0.0.170"), lab.mapped("192.0.0.171")]


@pytest.mark.usefixtures("reserved")
class TestService:
    def test_every_address_of_the_gateway_answers_as_itself(
        self, lab: ThreeHosts, start: Callable[..., FaithDns]
    ) -> None:
        start()
        for host, server in (
            (lab.client, GATEWAY_V6),
            (lab.server, GATEWAY_V4),
            (lab.gateway, "::1"),
            (lab.gateway, "127.0.0.1"),
            (lab.gateway, GATEWAY_V4),
        ):
            for tcp in (False, True):
                assert addresses(ask(host, "www.example.", server=server, tcp=tcp))

    def test_link_local_addresses_too(
        self, lab: ThreeHosts, start: Callable[..., FaithDns]
    ) -> None:
        start()
        shown = lab.gateway.run(["ip", "-6", "addr", "show", "dev", "to-client"]).stdout
        link_local = next(word for word in shown.split() if word.startswith("fe80::"))
        server = f"{link_local.partition('/')[0]}%to-gateway"
        assert addresses(ask(lab.client, "www.example.", server=server)) == [lab.mapped()]

    def test_nothing_answers_under_the_prefix(
        self, lab: ThreeHosts, start: Callable[..., FaithDns]
    ) -> None:
        start()
        query = dns.message.make_query("www.example.", "AAAA")
        with pytest.raises((dns.exception.Timeout, OSError)):
            lab.client.call(dns.query.udp, query, lab.mapped(), timeout=1)

    def test_strangers_are_refused(self, lab: ThreeHosts, start: Callable[..., FaithDns]) -> None:
        lab.client.links.add_address("lo", "2001:db8:77::1/128")
        lab.gateway.links.add_route("2001:db8:77::/64", CLIENT)
        start()
        query = dns.message.make_query("www.example.", "AAAA")
        reply = lab.client.call(
            lambda: dns.query.udp(query, GATEWAY_V6, timeout=5, source="2001:db8:77::1")
        )
        assert reply.rcode() == dns.rcode.REFUSED
        assert addresses(ask(lab.client, "www.example.")) == [lab.mapped()]

    def test_unless_they_are_allowed(self, lab: ThreeHosts, start: Callable[..., FaithDns]) -> None:
        start("--allow", "2001:db8:99::/64")
        assert ask(lab.client, "www.example.").rcode() == dns.rcode.REFUSED

    def test_prefixes_are_followed(self, lab: ThreeHosts, start: Callable[..., FaithDns]) -> None:
        start()
        assert addresses(ask(lab.client, "www.example.")) == [lab.mapped()]
        with lab.gateway.inside():
            routes.release(Prefix.parse(PREFIX))
            routes.reserve(Prefix.parse(OTHER_PREFIX))
        other = ["2001:db8:eeee::c000:250"]
        wait_until(lambda: addresses(ask(lab.client, "www.example.")) == other, 3, "another prefix")

    def test_so_are_addresses(self, lab: ThreeHosts, start: Callable[..., FaithDns]) -> None:
        start()
        lab.gateway.links.add_address("to-client", "2001:db8:66::1/64")
        lab.client.links.add_address("to-gateway", "2001:db8:66::2/64")
        wait_until(lambda: is_answered(lab, "2001:db8:66::1"), 5, "an answer from there")

    def test_several_workers_share_the_work(
        self, lab: ThreeHosts, start: Callable[..., FaithDns]
    ) -> None:
        found = start("--workers", "2")
        assert len(found.workers) == 2
        for _ in range(8):
            assert addresses(ask(lab.client, "www.example.")) == [lab.mapped()]

    @pytest.mark.usefixtures("real_root")
    def test_workers_are_unprivileged(
        self, lab: ThreeHosts, start: Callable[..., FaithDns]
    ) -> None:
        (worker,) = start().workers
        status = Path(f"/proc/{worker}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        assert "0" not in fields["Uid"].split()
        assert int(fields["CapEff"], 16) == 1 << 10  # CAP_NET_BIND_SERVICE

    def test_workers_may_have_a_socket_for_every_question(
        self, lab: ThreeHosts, start: Callable[..., FaithDns]
    ) -> None:
        (worker,) = start().workers
        limits = Path(f"/proc/{worker}/limits").read_text()
        (files,) = (line.split() for line in limits.splitlines() if "Max open files" in line)
        assert files[3] == files[4]

    def test_a_worker_that_dies_is_replaced(
        self, lab: ThreeHosts, start: Callable[..., FaithDns]
    ) -> None:
        found = start()
        (worker,) = found.workers
        lab.gateway.run(["kill", "-KILL", str(worker)])
        found.wait_said("another takes its place")
        wait_until(lambda: is_answered(lab, GATEWAY_V6), 8, "another worker")
        assert worker not in found.workers

    def test_it_tells_how_it_is(
        self, lab: ThreeHosts, start: Callable[..., FaithDns], need: Callable[[str], str]
    ) -> None:
        daemon = start("--workers", "2", "--metrics", "[::1]:9064")

        def told(path: str) -> str:
            words = [need("curl"), "-sSg", f"http://[::1]:9064{path}"]
            return lab.gateway.run(words).stdout

        assert addresses(ask(lab.client, "www.example.")) == [lab.mapped()]
        assert "faith_dns_synthesised_total 1.0" in told("/metrics")
        assert "faith_workers 2.0" in told("/metrics")
        wanted = [
            *(f'up{{process="{one}"}} 1.0' for one in ("supervisor", "dns 1", "dns 2", "admin")),
            "faith_dns_server_up{",
            'faith_limit_most{limit="look-ups",process="dns 2"}',
        ]
        wait_until(
            lambda: all(one in page for page in [told("/metrics")] for one in wanted),
            5,
            "all processes",
        )
        assert "faith_steering" not in told("/metrics")
        assert told("/readyz") == "ready\n"
        daemon.process.terminate()
        assert daemon.process.wait(5) == 0

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_ends_when_told(
        self, number: signal.Signals, lab: ThreeHosts, start: Callable[..., FaithDns]
    ) -> None:
        found = start("--workers", "2")
        workers = found.workers
        found.process.send_signal(number)
        assert found.process.wait(5) == 0
        assert not any(Path(f"/proc/{worker}").exists() for worker in workers)

    def test_workers_end_with_their_supervisor(
        self, lab: ThreeHosts, start: Callable[..., FaithDns]
    ) -> None:
        found = start()
        workers = found.workers
        found.process.kill()
        wait_until(
            lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), 5, "their end"
        )


@pytest.mark.usefixtures("reserved")
class TestBadDay:
    """The way to the servers is gone, which is when the rest must not go with it."""

    def brief(self, lab: ThreeHosts) -> dns.message.Message:
        return ask(lab.client, "brief.example.")

    def test_what_was_true_is_told_through_it_and_changes_of_the_gateway(
        self, lab: ThreeHosts, start: Callable[..., FaithDns], zones: NameServer
    ) -> None:
        start("--serve-stale", "3600")
        assert addresses(self.brief(lab)) == [lab.mapped("192.0.2.9")]
        lab.gateway.run(["ip", "link", "del", "to-server"])
        wait_until(lambda: self.brief(lab).answer[0].ttl == 30, 15, "the time of it being over")
        assert addresses(self.brief(lab)) == [lab.mapped("192.0.2.9")]
        lab.gateway.links.add_address("to-client", "2001:db8:66::1/64")
        lab.gateway.links.add_address("lo", "198.18.0.1/32")
        with lab.gateway.inside():
            routes.release(Prefix.parse(PREFIX))
            routes.reserve(Prefix.parse(OTHER_PREFIX))
        other = ["2001:db8:eeee::c000:209"]
        wait_until(lambda: addresses(self.brief(lab)) == other, 10, "the same under another prefix")

    def test_rfc8914_the_reason_is_told(
        self, lab: ThreeHosts, start: Callable[..., FaithDns]
    ) -> None:
        start("--serve-stale", "3600", "--filter-a", "2001:db8:6::/64")

        def why(owner: str, kind: str) -> list[int]:
            query = dns.message.make_query(owner, kind, use_edns=0)
            reply = lab.client.call(lambda: dns.query.udp(query, GATEWAY_V6, timeout=6))
            return [int(option.code) for option in reply.options]

        assert why("brief.example.", "AAAA") == [29]
        assert why("www.example.", "A") == [17]
        assert why("v6.example.", "AAAA") == []
        lab.gateway.run(["ip", "link", "del", "to-server"])
        wait_until(lambda: why("brief.example.", "AAAA") == [3], 15, "a stale answer")
        assert why("unheard.example.", "TXT") == [22]

    def test_what_is_kept_outlives_a_change_of_addresses(
        self, lab: ThreeHosts, start: Callable[..., FaithDns], zones: NameServer
    ) -> None:
        start()
        assert addresses(ask(lab.client, "www.example.")) == [lab.mapped()]
        asked = len(zones.sources)
        lab.gateway.links.add_address("to-client", "2001:db8:66::1/64")
        lab.client.links.add_address("to-gateway", "2001:db8:66::2/64")
        wait_until(lambda: is_answered(lab, "2001:db8:66::1"), 5, "an answer from there")
        assert len(zones.sources) == asked


def test_the_well_known_prefix_is_used_where_none_is_reserved(
    lab: ThreeHosts, start: Callable[..., FaithDns]
) -> None:
    """RFC 6147 §5.2; the page's address is not global, so that has none (RFC 6052 §3.1)."""
    start()
    assert addresses(ask(lab.client, "global.example.")) == ["64:ff9b::c629:4"]
    assert addresses(ask(lab.client, "ipv4only.arpa.")) == ["64:ff9b::c000:aa", "64:ff9b::c000:ab"]
    assert not ask(lab.client, "www.example.").answer


@pytest.mark.usefixtures("reserved")
class TestPool:
    """IPv4 clients get addresses for IPv6-only names (DNS46)."""

    @pytest.fixture
    def lend(
        self, lab: ThreeHosts, start: Callable[..., FaithDns], tmp_path: Path
    ) -> Callable[..., FaithDns]:
        file = tmp_path / "state" / "pool"
        return lambda *words: start("--pool", POOL, "--pool-file", str(file), *words)

    def asks(self, lab: ThreeHosts, owner: str = "v6.example.") -> list[str]:
        return addresses(ask(lab.server, owner, "A", server=GATEWAY_V4))

    def test_on_ipv4_and_nobody_else(
        self, lab: ThreeHosts, lend: Callable[..., FaithDns], tmp_path: Path
    ) -> None:
        lend()
        assert self.asks(lab) == [LENT]
        assert self.asks(lab, "www.example.") == [SERVER]
        assert addresses(ask(lab.client, "v6.example.", "A")) == []
        assert addresses(ask(lab.client, "www.example.")) == [lab.mapped()]
        assert f"{LENT} 2001:db8:6::80 " in (tmp_path / "state" / "pool").read_text()

    def test_the_address_has_the_name_of_the_server(
        self, lab: ThreeHosts, lend: Callable[..., FaithDns]
    ) -> None:
        lend()
        assert self.asks(lab) == [LENT]
        for address, names in ((LENT, ["v6.example."]), (NEXT_LENT, [])):
            owner = dns.reversename.from_address(address)
            assert addresses(ask(lab.server, str(owner), "PTR", server=GATEWAY_V4)) == names

    def test_leases_outlive_who_lends(self, lab: ThreeHosts, lend: Callable[..., FaithDns]) -> None:
        found = lend()
        assert self.asks(lab, "other.example.") == [LENT]
        (worker,) = found.workers
        lab.gateway.run(["kill", "-KILL", str(worker)])
        wait_until(lambda: is_answered(lab, GATEWAY_V6), 8, "another worker")
        assert self.asks(lab) == [NEXT_LENT]
        found.process.send_signal(signal.SIGTERM)
        assert found.process.wait(5) == 0
        lend()
        assert self.asks(lab) == [NEXT_LENT]
        assert self.asks(lab, "other.example.") == [LENT]

    def test_there_is_one_owner(
        self, lab: ThreeHosts, lend: Callable[..., FaithDns], tmp_path: Path
    ) -> None:
        lend()
        file = str(tmp_path / "state" / "pool")
        for words, why in (
            (["--pool-file", file, "--listen", "::1:5353"], "another process lends by it"),
            (["--workers", "2"], "it takes one worker"),
        ):
            with pytest.raises(subprocess.CalledProcessError) as caught:
                lab.gateway.run([*FAITH_DNS, "--pool", POOL, *words], env=ENVIRONMENT)
            assert why in caught.value.stderr


def test_several_workers_look_a_name_up_once(
    lab: ThreeHosts, zones: NameServer, start: Callable[..., FaithDns]
) -> None:
    """Whoever asks, and from whatever port: a name is for one of them."""
    start("-p", PREFIX, "--workers", "3")
    for owner in ("www.example.", "global.example.", "nowhere.example."):
        for _ in range(12):
            ask(lab.client, owner)
            ask(lab.client, owner.upper(), "A")
    asked = zones.handler.asked  # type: ignore[attr-defined]
    assert len(asked) == len(set(asked))


class TestTrouble:
    def test_a_dead_server_is_servfail_in_less_than_five_seconds(
        self, lab: ThreeHosts, tmp_path: Path
    ) -> None:
        silent = lab.server.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        with silent:
            silent.bind((SERVER, 53))
            FaithDns(lab.gateway, tmp_path / "dns.log", "--forward", SERVER)
            began = time.monotonic()
            reply = ask(lab.client, "www.example.")
            assert reply.rcode() == dns.rcode.SERVFAIL
            assert time.monotonic() - began < 5

    @pytest.mark.usefixtures("reserved")
    def test_a_dead_name_is_not_the_servers_failure(self, lab: ThreeHosts, tmp_path: Path) -> None:
        """The server of that name is, which a resolver waits for; nor does it have the root."""
        zones = Zones(ZONE)

        def resolve(query: bytes) -> bytes | None:
            name = str(dns.message.from_wire(query).question[0].name).lower()
            return None if name in (".", "dead.example.") or dies.is_set() else zones(query)

        dies = threading.Event()
        with lab.server.call(lambda: NameServer(resolve, SERVER, 53)):
            faith_dns = FaithDns(lab.gateway, tmp_path / "dns.log", "--forward", SERVER)
            assert addresses(ask(lab.client, "www.example.")) == [lab.mapped()]
            # These would be failures of the server; the second time, it would be known by then.
            self.fail(lab, "dead.example.", "MX", "TXT", "SRV")
            self.fail(lab, "dead.example.", "NAPTR")
            assert ask(lab.client, "v6.example.").rcode() == dns.rcode.NOERROR
            assert "fails" not in faith_dns.said
            dies.set()
            # A probe that was under way may have had its answer just before.
            for number in range(5):
                self.fail(lab, f"other{number}.example.", "MX", "TXT", "SRV")
                if f"server {SERVER}:53 fails: no answer" in faith_dns.said:
                    break
            faith_dns.wait_said(f"server {SERVER}:53 fails: no answer")

    def fail(self, lab: ThreeHosts, owner: str, *kinds: str) -> None:
        """Ask for *kinds* of *owner* at once, which nobody answers."""
        with lab.client.call(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.settimeout(10)
            for kind in kinds:
                query = dns.message.make_query(owner, kind)
                sock.sendto(query.to_wire(), (GATEWAY_V6, 53))
            for _ in kinds:
                assert dns.message.from_wire(sock.recv(512)).rcode() == dns.rcode.SERVFAIL

    def test_a_taken_port_is_told(self, lab: ThreeHosts) -> None:
        """Where it was asked for by name."""
        words = ["--forward", SERVER, "--listen", "::1", "--listen", GATEWAY_V6]
        with (
            lab.gateway.call(lambda: socket.create_server(("::1", 53), family=socket.AF_INET6)),
            pytest.raises(subprocess.CalledProcessError) as caught,
        ):
            lab.gateway.run([*FAITH_DNS, *words], env=ENVIRONMENT)
        assert caught.value.returncode == 1
        assert "listen on [::1]:53: the port is taken by" in caught.value.stderr
        assert "it is served when it can be" not in caught.value.stderr

    def test_resolv_conf_may_name_nobody_but_ourselves(
        self, lab: ThreeHosts, tmp_path: Path
    ) -> None:
        command = resolving(tmp_path / "resolv.conf", "::1", *FAITH_DNS)
        with pytest.raises(subprocess.CalledProcessError) as caught:
            lab.gateway.run(command, env=ENVIRONMENT)
        assert "say which with --forward" in caught.value.stderr

    @pytest.mark.usefixtures("zones")
    def test_resolv_conf_names_the_servers(self, lab: ThreeHosts, tmp_path: Path) -> None:
        command = resolving(tmp_path / "resolv.conf", SERVER, *FAITH_DNS, "-p", PREFIX)
        lab.gateway.popen(command, env=ENVIRONMENT)
        wait_until(lambda: is_answered(lab, GATEWAY_V6), 10, "an answer")


@pytest.mark.usefixtures("reserved")
class TestTakenPorts:
    """Somebody else's port on one address is no matter for the others."""

    @pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
    def test_the_others_are_served_and_it_too_when_it_becomes_free(
        self, kind: socket.SocketKind, lab: ThreeHosts, start: Callable[..., FaithDns]
    ) -> None:
        other = lab.gateway.call(socket.socket, socket.AF_INET, kind)
        with other:
            other.bind((GATEWAY_V4, 53))
            if kind == socket.SOCK_STREAM:
                other.listen()
            found = start()
            assert addresses(ask(lab.client, "www.example.")) == [lab.mapped()]
            assert f"listen on {GATEWAY_V4}:53: the port is taken by" in found.said
            assert found.said.count("the port is taken") == 1
        found.wait_said(f"listening on {GATEWAY_V4}:53 as well")
        for tcp in (False, True):
            assert addresses(ask(lab.server, "www.example.", server=GATEWAY_V4, tcp=tcp))
        assert found.said.count("the port is taken") == 1

    def test_an_address_that_comes_later_may_have_it_taken(
        self, lab: ThreeHosts, start: Callable[..., FaithDns]
    ) -> None:
        found = start()
        with lab.gateway.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND, as libvirt's dnsmasq has it
            other.bind(("192.168.122.1", 53))
            lab.gateway.links.add_address("lo", "192.168.122.1/32")
            lab.gateway.links.add_address("to-client", "2001:db8:66::1/64")
            lab.client.links.add_address("to-gateway", "2001:db8:66::2/64")
            found.wait_said("listen on 192.168.122.1:53: the port is taken by")
            wait_until(lambda: is_answered(lab, "2001:db8:66::1"), 5, "an answer from there")

    def test_a_resolver_on_the_loopback_address_is_asked(
        self, lab: ThreeHosts, tmp_path: Path
    ) -> None:
        """Where Debian's unbound is, and resolv.conf names it."""
        with lab.gateway.call(lambda: NameServer(Zones(ZONE), "127.0.0.1", 53)) as resolver:
            command = resolving(tmp_path / "resolv.conf", "127.0.0.1", *FAITH_DNS)
            lab.gateway.popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
            wait_until(lambda: is_answered(lab, GATEWAY_V6), 10, "an answer")
            assert resolver.sources

    def test_its_address_is_left_to_it_when_it_starts_anew(
        self, lab: ThreeHosts, tmp_path: Path
    ) -> None:
        words = resolving(tmp_path / "resolv.conf", "127.0.0.1", *FAITH_DNS)
        log = tmp_path / "log"
        with ExitStack() as others:
            other = lab.gateway.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
            others.enter_context(other).bind((GATEWAY_V4, 53))
            others.enter_context(lab.gateway.call(lambda: NameServer(Zones(ZONE), "127.0.0.1", 53)))
            with log.open("w") as stderr:
                lab.gateway.popen(words, env=ENVIRONMENT, stderr=stderr)
            wait_until(lambda: is_answered(lab, GATEWAY_V6), 10, "an answer")
        said = f"listening on {GATEWAY_V4}:53 as well"
        wait_until(lambda: said in log.read_text(), 10, "the address that is free being taken")
        with lab.gateway.call(lambda: NameServer(Zones(ZONE), "127.0.0.1", 53)):
            found = [lab.mapped("192.0.2.9")]
            wait_until(lambda: addresses(ask(lab.client, "brief.example.")) == found, 10, "a name")


@pytest.mark.usefixtures("reserved")
class TestReload:
    """SIGHUP."""

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_others_take_the_workers_place(
        self, workers: str, lab: ThreeHosts, start: Callable[..., FaithDns]
    ) -> None:
        found = start("--workers", workers)
        for times in (1, 2):
            before = found.workers
            found.process.send_signal(signal.SIGHUP)
            found.wait_said("read again", times)
            wait_until(lambda: not {*before} & {*found.workers}, 5, "the end of the old ones")  # noqa: B023
            assert len(found.workers) == int(workers)
            for tcp in (False, True):
                assert addresses(ask(lab.client, "www.example.", tcp=tcp)) == [lab.mapped()]
        assert "taken" not in found.said
        found.process.terminate()
        assert found.process.wait(5) == 0

    def test_what_cannot_be_read_changes_nothing(
        self, lab: ThreeHosts, start: Callable[..., FaithDns], tmp_path: Path
    ) -> None:
        authorities = Path("/etc/ssl/certs/ca-certificates.crt").read_text()
        file = tmp_path / "authorities"
        file.write_text(authorities)
        found = start("--authorities", str(file))
        before = found.workers
        file.write_text("nothing\n")
        found.process.send_signal(signal.SIGHUP)
        found.wait_said(f"not read again: {file}: there are no certificates to trust")
        assert found.workers == before
        assert addresses(ask(lab.client, "www.example.")) == [lab.mapped()]
        file.write_text(authorities)
        found.process.send_signal(signal.SIGHUP)
        found.wait_said("read again", 2)

    def test_leases_stay_what_they_are(
        self, lab: ThreeHosts, start: Callable[..., FaithDns], tmp_path: Path
    ) -> None:
        found = start("--pool", POOL, "--pool-file", str(tmp_path / "pool"))
        asked = ask(lab.server, "v6.example.", "A", server=GATEWAY_V4)
        assert addresses(asked) == [LENT]
        found.process.send_signal(signal.SIGHUP)
        found.wait_said("read again")
        asked = ask(lab.server, "other.example.", "A", server=GATEWAY_V4)
        assert addresses(asked) == [NEXT_LENT]
        asked = ask(lab.server, "v6.example.", "A", server=GATEWAY_V4)
        assert addresses(asked) == [LENT]

    def test_systemd_is_told(
        self, lab: ThreeHosts, start: Callable[..., FaithDns], zones: NameServer, tmp_path: Path
    ) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(tmp_path / "notify"))
            systemd.settimeout(10)
            found = FaithDns(
                lab.gateway,
                tmp_path / "dns.log",
                *("--forward", SERVER),
                NOTIFY_SOCKET=str(tmp_path / "notify"),
                WATCHDOG_USEC="200000",
            )
            assert systemd.recv(100) == b"READY=1"
            assert {systemd.recv(100) for _ in range(3)} == {b"WATCHDOG=1"}
            found.process.send_signal(signal.SIGHUP)
            heard = []
            while b"READY=1" not in heard:
                heard.append(systemd.recv(100))
            assert any(one.startswith(b"RELOADING=1\nMONOTONIC_USEC=") for one in heard)
            assert systemd.recv(100) == b"WATCHDOG=1"
