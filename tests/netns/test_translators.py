"""Address translation by other programs, as Docker and kube-proxy do it, beside the guards."""

from __future__ import annotations

import ctypes
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from faith.kernel.nft import guard, translators
from faith.kernel.nft.guard import NETWORKS
from faith.kernel.nft.nftables import Nftables
from faith.kernel.nft.ruleset import IP, IP6
from faith.kernel.nft.translators import Translator
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, PREFIX
from faith.translation.prefix import Prefix
from tests.netns.gateway import Gateway
from tests.netns.service import PORT, Echo, answers, connect, connect_from, refuses, relays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import Host, ThreeHosts
    from tests.netns.conftest import Start

    Nft = Callable[[str], str]

pytestmark = pytest.mark.netns

CONTAINER = 9999
PUBLISHED = 8080
MAPPED = "192.0.2.102"
WAYS = ["route", "sk_lookup", "tproxy", "redirect"]


@pytest.fixture
def nft(lab: ThreeHosts, need: Callable[[str], str]) -> Nft:
    """The real nft on the gateway, given a script."""
    program = need("nft")
    return lambda script: lab.gateway.run([program, "-f", "-"], stdin=script).stdout


@pytest.fixture
def container(lab: ThreeHosts) -> Iterator[None]:
    """A server on the gateway that the rules of `docker` lead to."""
    with lab.gateway.inside():
        servers = [
            socket.create_server((address, CONTAINER), family=family)
            for address, family in ((GATEWAY_V6, socket.AF_INET6), (GATEWAY_V4, socket.AF_INET))
        ]
    yield
    for server in servers:
        server.close()


def docker(priority: int = -100) -> str:
    """Rules that publish every port of these tests at each address of the host, as Docker has
    them."""
    rule = "fib daddr type local meta l4proto { tcp, udp } th dport { %s } dnat to %s:%d"
    ports = f"22, {PORT}, {PUBLISHED}"
    return "".join(
        f"table {family} docker {{ chain {hook} {{ type nat hook {hook} priority {priority};"
        f" {rule % (ports, where, CONTAINER)}; }}; }}\n"
        for family, where in (("ip6", f"[{GATEWAY_V6}]"), ("ip", GATEWAY_V4))
        for hook in ("prerouting", "output")
    )


def told(connection: socket.socket) -> bool:
    """Return whether the relayed server is at the other end, and not the container."""
    with connection:
        connection.settimeout(2)
        with suppress(TimeoutError):
            return answers(connection)
    return False


@pytest.mark.usefixtures("container", "echo")
class TestPrefix:
    @pytest.fixture(autouse=True)
    def _allowed(self, request: pytest.FixtureRequest) -> None:
        if "sk_lookup" in request.node.name:
            request.getfixturevalue("bpf_allowed")

    @staticmethod
    def passes_nothing(lab: ThreeHosts) -> bool:
        """Return whether connections reach the relayed server, or nobody."""
        own = [connect_from(lab.gateway, lab.mapped(), PORT)]
        return relays(lab) and all(map(told, own)) and refuses(lab, PUBLISHED)

    @pytest.mark.parametrize("via", WAYS)
    def test_rules_that_are_there_take_nothing(
        self, lab: ThreeHosts, start: Start, nft: Nft, via: str
    ) -> None:
        nft(docker())
        start("-P", PREFIX, "--via", via, str(PORT))
        assert self.passes_nothing(lab)
        connect(lab, GATEWAY_V6, PUBLISHED).close()  # Docker's own is as it was

    @pytest.mark.parametrize("via", WAYS)
    def test_rules_that_come_later_take_nothing(
        self, lab: ThreeHosts, start: Start, nft: Nft, via: str
    ) -> None:
        faithd = start("-P", PREFIX, "--via", via, str(PORT))
        nft(docker())
        faithd.wait_said("other programs translate addresses (chain ip6 docker")
        assert self.passes_nothing(lab)
        assert lab.gateway.call(guard.inspect).passed_by == ()

    def test_rules_that_come_again_find_the_guard_before_them(
        self, lab: ThreeHosts, start: Start, nft: Nft
    ) -> None:
        """As when Docker is restarted: there is no moment in which they take anything."""
        faithd = start("-P", PREFIX, str(PORT))
        nft(docker())
        faithd.wait_said("other programs translate addresses")
        nft("delete table ip6 docker; delete table ip docker")
        lab.gateway.call(guard.install, [Prefix.parse(PREFIX)])  # whatever replaces it meanwhile
        state = lab.gateway.call(guard.inspect)
        assert state.translators == ()
        assert state.keeps_untranslated
        assert state.intact
        assert state.fits

    def test_datagrams_are_not_taken_either(self, lab: ThreeHosts, nft: Nft, reserved: str) -> None:
        nft(docker())
        with lab.gateway.inside(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as there:
            there.bind((GATEWAY_V6, CONTAINER))
            there.settimeout(2)
            for guarded in (False, True):
                if guarded:
                    guard.install([Prefix.parse(reserved)])
                with lab.client.inside(), socket.socket(socket.AF_INET6, 2) as sock:
                    sock.settimeout(2)
                    sock.connect((lab.mapped(), PUBLISHED))
                    sock.send(b"taken")
                    if guarded:
                        with pytest.raises(ConnectionRefusedError):
                            sock.recv(10)
                    else:
                        assert there.recv(10) == b"taken"

    def test_without_such_rules_connections_are_not_tracked(
        self, lab: ThreeHosts, start: Start, need: Callable[[str], str]
    ) -> None:
        start("-P", PREFIX, str(PORT))
        assert relays(lab)
        listed = lab.gateway.run([need("nft"), "list", "ruleset"]).stdout
        assert "type nat" not in listed
        assert lab.gateway.sysctl("net.netfilter.nf_conntrack_count") == "0"


@pytest.mark.usefixtures("container")
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("via", ["sk_lookup", "tproxy"])
def test_a_mapped_address_leads_to_its_host_and_nowhere_else(
    lab: ThreeHosts, tmp_path: Path, nft: Nft, via: str, later: bool, bpf_allowed: None
) -> None:
    maps = f'[[map]]\nv4 = "{MAPPED}"\nv6 = "{CLIENT}"\n'
    prefix = f'[[prefix]]\naddress = "{PREFIX}"\nvia = "{via}"\n'
    server = Echo(lab.client, 22, CLIENT)
    if not later:
        nft(docker())
    faithd = Gateway(lab, tmp_path, f'{prefix}[[service]]\nports = "80"\n{maps}')
    if later:
        nft(docker())
        faithd.wait_said("other programs translate addresses: the guard keeps maps from that")
    for host in (lab.server, lab.gateway):
        assert told(connect_from(host, MAPPED, 22))
    assert lab.gateway.call(NETWORKS.fits)
    server.close()


class TestFound:
    def test_those_that_act_before_the_guard_are_named(
        self, lab: ThreeHosts, nft: Nft, reserved: str
    ) -> None:
        nft(docker(-199))
        assert len(lab.gateway.call(guard.inspect).passed_by) == 2
        lab.gateway.call(guard.install, [])
        early = lab.gateway.call(guard.inspect).passed_by
        assert {one.chain for one in early} == {"prerouting", "output"}
        assert str(early[0]) == "chain ip6 docker prerouting, priority -199"

    def test_other_chains_and_ours_are_not(self, lab: ThreeHosts, nft: Nft) -> None:
        nft("""table inet other { chain in { type filter hook input priority 0; }; chain plain { };
               chain post { type nat hook postrouting priority 100; masquerade; }; }
               table ip6 faith-1 { chain own { type nat hook output priority -199; }; }""")
        assert self.found(lab.gateway, IP6) == ()
        nft("table inet other { chain pre { type nat hook prerouting priority -110; }; }")
        for family in (IP, IP6):
            assert self.found(lab.gateway, family) == (Translator("inet", "other", "pre", -110),)

    @pytest.mark.parametrize(
        ("family", "kind", "option"), [(IP, socket.AF_INET, 0), (IP6, socket.AF_INET6, 41)]
    )
    def test_the_tables_of_the_old_iptables_are(
        self, lab: ThreeHosts, family: str, kind: int, option: int
    ) -> None:
        with lab.gateway.inside(), socket.socket(kind, socket.SOCK_RAW, 255) as sock:
            before = Nftables(family=family)
            assert translators.found(before, family) == ()
            wanted = ctypes.create_string_buffer(b"nat", 84)
            size = ctypes.c_uint(84)
            get = ctypes.CDLL(None).getsockopt  # IPT_SO_GET_INFO makes the table, as iptables does
            if get(sock.fileno(), option, 64, wanted, ctypes.byref(size)):
                pytest.skip("this kernel has no tables of the old iptables")
            names = {str(one) for one in translators.found(before, family)}
            before.close()
        assert names == {
            f"chain {family}tables-legacy nat {chain}, priority -100"
            for chain in ("PREROUTING", "OUTPUT")
        }

    @staticmethod
    def found(host: Host, family: str) -> tuple[Translator, ...]:
        def look() -> tuple[Translator, ...]:
            with Nftables(family=family) as nft:
                return translators.found(nft, family)

        return host.call(look)


def test_a_new_chain_is_notified_and_nothing_else(lab: ThreeHosts, nft: Nft) -> None:
    with lab.gateway.inside():
        watch = translators.Watch()
    assert not watch.drain()
    nft("table ip6 other { set some { type inet_service; }; chain c { }; }")
    wait_until(watch.drain, 2, "the notification")
    nft("add element ip6 other some { 80 }")
    assert not watch.drain()
    nft("delete table ip6 other")
    assert not watch.drain()
    watch.close()
