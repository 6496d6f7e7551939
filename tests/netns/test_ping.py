"""Ping through a daemon, by the real programs: who answers, and what else is told."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.cli import status
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, PREFIX, SERVER
from faith.translation.reasons import NO_SOURCE
from tests.faithd import Faithd
from tests.netns.gateway import Gateway, reread
from tests.netns.test_udp import narrow

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import Host, ThreeHosts

pytestmark = pytest.mark.netns

SILENT = "192.0.2.81"
FAR = "198.51.100.1"
BASE = f"""
workers = 1
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "2323"
[metrics]
listen = "[::1]:9064"
"""
PING = "[ping]\n"
MAPPED = "192.0.2.102"
MAP = f"""
[[map]]
v4 = "{MAPPED}"
v6 = "{CLIENT}"
"""
ECHO_REQUEST = 128


class Pinger:
    """Return the output of ping(8) on a host."""

    def __init__(self, host: Host, ping: str) -> None:
        self.host = host
        self.program = ping

    def says(self, address: str, *options: str, count: int = 1, wait: int = 1) -> str:
        argv = [self.program, "-n", "-i", "0.1", "-c", str(count), "-W", str(wait), *options]
        return self.host.run([*argv, address], check=False).stdout

    def answered(self, address: str, *options: str, count: int = 1) -> int:
        return int(_RECEIVED.findall(self.says(address, *options, count=count))[0])


_RECEIVED = re.compile(r"(\d+) received")


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Callable[[str], Gateway]:
    return lambda text: Gateway(lab, tmp_path, text)


@pytest.fixture
def client(lab: ThreeHosts, need: Callable[[str], str]) -> Pinger:
    return Pinger(lab.client, need("ping"))


def holds_raw_socket(pid: int) -> bool:
    """Return whether the process is the one that pings: no other has ICMP sockets."""
    listed = Path(f"/proc/{pid}/net/raw6").read_text().splitlines()[1:]
    inodes = {line.split()[9] for line in listed}
    held = (os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir())
    return any(name == f"socket:[{inode}]" for name in held for inode in inodes)


def prohibited(said: str) -> bool:
    return "Administratively prohibited" in said


class TestToIPv4:
    def test_an_answer_comes_from_who_was_asked(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        gateway = start(BASE + PING)
        said = client.says(lab.mapped(), count=3)
        assert said.count(f"64 bytes from {lab.mapped()}: icmp_seq=") == 3
        assert said.count("ttl=63") == 3
        assert gateway.counted("faith_ping_requests_total") == {"v4": 3, "v6": 0}
        assert gateway.counted("faith_ping_replies_total") == {"v4": 3, "v6": 0}
        assert gateway.counted("faith_ping_identifiers") == {"": 1}

    def test_who_does_not_answer_is_not_answered_for(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        start(BASE + PING)
        lab.server.sysctl("net.ipv4.icmp_echo_ignore_all", 1)
        assert client.answered(lab.mapped(), count=2) == 0

    def test_a_host_that_is_not_there_is_unreachable(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        start(BASE + PING)
        said = client.says(lab.mapped(SILENT), wait=5)
        assert f"From {GATEWAY_V6} icmp_seq=1 Destination unreachable: No route" in said

    def test_a_network_without_a_route_is_unreachable_at_once(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        start(BASE + PING)
        assert "Destination unreachable: No route" in client.says(lab.mapped(FAR))

    def test_what_the_rules_or_the_defaults_deny_is_refused(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        rules = f'[access]\nrules = ["::/0 deny {SILENT}/32", "::/0 permit 0.0.0.0/0"]\n'
        start(BASE + PING + rules)
        for denied in (SILENT, GATEWAY_V4, "127.0.0.1"):
            assert prohibited(client.says(lab.mapped(denied)))
        assert client.answered(lab.mapped()) == 1

    @pytest.mark.parametrize("size", [1400, 3000, 60000])
    def test_large_ones_go_in_fragments(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger, size: int
    ) -> None:
        start(BASE + PING)
        assert client.answered(lab.mapped(), "-s", str(size), count=2) == 2

    @pytest.mark.parametrize("size", [1232, 1233, 1400, 1452, 4000])
    def test_replies_pass_a_narrow_link_that_loses_packet_too_big(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger, size: int
    ) -> None:
        """Nothing above ``mtu`` leaves the gateway, whatever its own link could carry."""
        narrow(lab.client)
        gateway = start(BASE + PING)
        assert client.answered(lab.mapped(), "-s", str(size)) == 1
        if size == 1400:
            gateway.reload(f"{BASE}{PING}mtu = 1500\n")
            assert client.answered(lab.mapped(), "-s", str(size)) == 0

    RULE = f'[access]\nrules = ["::/0 permit 0.0.0.0/0 {SILENT}"]\n'
    OWN = f'[[source]]\nclients = ["{CLIENT}/128"]\naddresses = ["{SILENT}"]\none_to_one = true\n'

    @pytest.mark.parametrize("text", [RULE, OWN], ids=["rule", "one to one"])
    def test_who_has_a_source_that_is_absent_is_told(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger, text: str
    ) -> None:
        gateway = start(BASE + PING + text)
        said = client.says(lab.mapped())
        assert f"From {GATEWAY_V6} icmp_seq=1 Destination unreachable: Address unreachable" in said
        assert gateway.counted("faith_ping_refusals_total")[NO_SOURCE] == 1
        lab.gateway.links.add_address("to-server", f"{SILENT}/24")
        assert client.answered(lab.mapped()) == 1

    def test_the_payload_stays_what_it_is(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        start(BASE + PING)
        said = client.says(lab.mapped(), "-p", "a55a17", "-s", "200")
        assert "1 received" in said
        assert "wrong data" not in said

    def test_a_probe_of_one_hop_sees_the_gateway_and_one_of_two_the_server(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        start(BASE + PING)
        exceeded = f"From {GATEWAY_V6} icmp_seq=1 Time exceeded: Hop limit"
        assert exceeded in client.says(lab.mapped(), "-t", "1")
        assert client.answered(lab.mapped(), "-t", "2") == 1

    def test_traceroute_names_the_hops(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, need: Callable[[str], str]
    ) -> None:
        start(BASE + PING)
        traceroute = [need("traceroute"), "-6", "-n", "-q", "1", "-w", "1", "-m", "5", "-I"]
        said = lab.client.run([*traceroute, lab.mapped()]).stdout
        assert re.findall(r"^ *(\d+) +(\S+)", said, re.MULTILINE)[-2:] == [
            ("1", GATEWAY_V6),
            ("2", lab.mapped()),
        ]

    def test_what_a_router_reports_comes_from_its_address_under_the_prefix(
        self,
        start: Callable[[str], Gateway],
        lab: ThreeHosts,
        client: Pinger,
        need: Callable[[str], str],
    ) -> None:
        router, far = lab.server, lab.network.host("far")
        router.sysctl("net.ipv4.conf.all.forwarding", 1)
        lab.network.link(router, far, ["198.51.100.1/24"], ["198.51.100.2/24"])
        far.links.add_route("default", "198.51.100.1")
        lab.gateway.links.add_route("198.51.100.0/24", SERVER)
        gateway = start(BASE + PING)
        to = lab.mapped("198.51.100.2")
        assert f"From {lab.mapped()} icmp_seq=1 Time exceeded" in client.says(to, "-t", "2")
        argv = [need("traceroute"), "-6", "-n", "-q", "1", "-w", "1", "-m", "5", "-I", to]
        found = re.findall(r"^ *(\d+) +(\S+)", lab.client.run(argv).stdout, re.MULTILINE)
        assert found[-3:] == [("1", GATEWAY_V6), ("2", lab.mapped()), ("3", to)]
        assert gateway.counted("faith_ping_errors_total")["v4"] >= 2
        absent = lab.mapped("198.51.100.3")
        said = client.says(absent, wait=5)
        assert f"From {lab.mapped()} icmp_seq=1 Destination unreachable: No route" in said

    def test_hosts_with_the_same_identifier_do_not_get_each_others_answers(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        gateway = start(BASE + PING)
        other = "2001:db8:6::77"
        lab.client.links.add_address("to-gateway", f"{other}/64")
        for address in (CLIENT, other):
            said = client.says(lab.mapped(), "-e", "7", "-I", address, count=2)
            assert "2 received" in said
        assert gateway.counted("faith_ping_identifiers") == {"": 2}

    def test_the_gateway_itself_can_ask(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        start(BASE + PING)
        assert Pinger(lab.gateway, client.program).answered(lab.mapped()) == 1


class TestFromIPv4:
    """The lab's hosts change their parts: its server, which has no IPv6, is the client."""

    @pytest.fixture
    def node(self, lab: ThreeHosts, client: Pinger) -> Pinger:
        return Pinger(lab.server, client.program)

    def test_an_answer_comes_from_who_stands_behind_the_address(
        self, start: Callable[[str], Gateway], node: Pinger
    ) -> None:
        gateway = start(BASE + PING + MAP)
        said = node.says(MAPPED, count=3)
        assert said.count(f"64 bytes from {MAPPED}: icmp_seq=") == 3
        assert said.count("ttl=63") == 3
        assert gateway.counted("faith_ping_replies_total") == {"v4": 0, "v6": 3}

    def test_the_host_sees_prefix_and_client(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, node: Pinger
    ) -> None:
        start(BASE + PING + MAP)
        with lab.client.inside():
            listener = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        with listener:
            listener.settimeout(5)
            assert node.answered(MAPPED) == 1
            while (heard := listener.recvfrom(2000))[0][0] != ECHO_REQUEST:
                continue
        assert heard[1][0] == lab.mapped(SERVER)

    def test_who_does_not_answer_is_not_answered_for(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, node: Pinger
    ) -> None:
        start(BASE + PING + MAP)
        lab.client.sysctl("net.ipv6.icmp.echo_ignore_all", 1)
        assert node.answered(MAPPED, count=2) == 0

    def test_a_host_that_is_not_there_is_unreachable(
        self, start: Callable[[str], Gateway], node: Pinger
    ) -> None:
        start(BASE + PING + MAP.replace(CLIENT, f"{CLIENT}222"))
        said = node.says(MAPPED, wait=5)
        assert f"From {GATEWAY_V4} icmp_seq=1 Destination Host Unreachable" in said

    @pytest.mark.parametrize("size", [1472, 3000, 60000])
    def test_large_ones_go_in_fragments(
        self, start: Callable[[str], Gateway], node: Pinger, size: int
    ) -> None:
        start(BASE + PING + MAP)
        assert node.answered(MAPPED, "-s", str(size), count=2) == 2

    def test_a_probe_of_one_hop_sees_the_gateway_and_one_of_two_the_host(
        self, start: Callable[[str], Gateway], node: Pinger
    ) -> None:
        start(BASE + PING + MAP)
        assert f"From {GATEWAY_V4} icmp_seq=1 Time to live exceeded" in node.says(MAPPED, "-t", "1")
        assert node.answered(MAPPED, "-t", "2") == 1

    def test_a_map_without_icmp_is_refused(
        self, start: Callable[[str], Gateway], node: Pinger
    ) -> None:
        start(BASE + PING + MAP + 'protocols = ["tcp"]\n')
        assert "Packet filtered" in node.says(MAPPED)

    def test_an_ipv6_host_reaches_a_mapped_one_by_its_ipv4_address(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        start(BASE + PING + MAP)
        said = client.says(lab.mapped(MAPPED), count=2)
        assert said.count("ttl=62") == 2
        assert "Time exceeded: Hop limit" in client.says(lab.mapped(MAPPED), "-t", "2")

    def test_maps_that_come_and_go_are_followed(
        self, start: Callable[[str], Gateway], node: Pinger
    ) -> None:
        gateway = start(BASE + PING)
        reread(gateway, BASE + PING + MAP)
        assert node.answered(MAPPED) == 1
        gateway.process.kill()
        wait_until(lambda: "Packet filtered" in node.says(MAPPED), 5, "the guard refusing")


class TestWhoServes:
    def test_without_the_table_the_guard_refuses(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        start(BASE)
        assert prohibited(client.says(lab.mapped()))

    def test_without_the_right_to_raw_sockets_it_says_so(
        self, lab: ThreeHosts, tmp_path: Path, need: Callable[[str], str]
    ) -> None:
        file = tmp_path / "faith.toml"
        file.write_text(f'control = "{tmp_path}/control"\n{BASE + PING}')
        by = [need("setpriv"), "--bounding-set=-net_raw"]
        faithd = Faithd(lab.gateway, tmp_path / "log", "--config", str(file), by=by)
        assert faithd.process.wait(10) == 1
        assert "CAP_NET_RAW" in faithd.said

    def test_after_kill_9_the_guard_refuses(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        gateway = start(BASE + PING)
        assert client.answered(lab.mapped()) == 1
        gateway.process.kill()
        wait_until(lambda: prohibited(client.says(lab.mapped())), 5, "the guard refusing")

    def test_nothing_stays_behind(
        self,
        start: Callable[[str], Gateway],
        lab: ThreeHosts,
        client: Pinger,
        need: Callable[[str], str],
    ) -> None:
        def state() -> str:
            return lab.gateway.run([need("nft"), "list", "ruleset"]).stdout

        before = state()
        gateway = start(BASE + PING)
        assert "-ping" in state()
        assert client.answered(lab.mapped()) == 1
        assert gateway.stop() == 0
        assert state() == before

    def test_it_comes_and_goes_with_the_file(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        gateway = start(BASE)
        reread(gateway, BASE + PING)
        assert client.answered(lab.mapped()) == 1
        reread(gateway, BASE + PING + "enabled = false\n")
        assert prohibited(client.says(lab.mapped()))
        reread(gateway, BASE + PING)
        assert client.answered(lab.mapped()) == 1

    def test_another_process_takes_the_place_of_a_dead_one(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        gateway = start(BASE + PING)
        (server,) = [pid for pid in gateway.workers if holds_raw_socket(pid)]
        os.kill(server, signal.SIGKILL)
        gateway.wait_said(f"ping server {server} ")
        wait_until(lambda: client.answered(lab.mapped()) == 1, 10, "pings answered again")

    def test_an_upgrade_loses_no_ping(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        gateway = start(BASE + PING)
        pinging = lab.client.popen(
            [client.program, "-n", "-i", "0.01", "-c", "300", "-W", "3", lab.mapped()],
            stdout=-1,
        )
        wait_until(lambda: gateway.counted("faith_ping_replies_total")["v4"] > 20, 5, "pings")
        gateway.signal(signal.SIGUSR2)
        gateway.wait_said("upgraded to program 2", seconds=15)
        said, _ = pinging.communicate(timeout=15)
        assert "300 received" in said
        assert gateway.counted("faith_ping_replies_total")["v4"] == 300
        assert gateway.counted("faith_ping_identifiers") == {"": 1}


class TestLimits:
    def test_a_client_has_its_rate(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger
    ) -> None:
        gateway = start(BASE + PING + "rate_per_client = 5\n")
        answered = client.answered(lab.mapped(), "-i", "0.01", count=30)
        assert 5 <= answered <= 10
        why = "too many of the client"
        assert gateway.counted("faith_ping_refusals_total")[why] == 30 - answered
        reread(gateway, BASE + PING + "rate = 3\n")
        client.answered(lab.mapped(), "-i", "0.01", count=10)
        assert gateway.counted("faith_ping_refusals_total")["too many"] > 0


def test_a_firewall_that_drops_answers_is_told(
    start: Callable[[str], Gateway], lab: ThreeHosts, client: Pinger, need: Callable[[str], str]
) -> None:
    """Connection tracking knows no request that the kernel did not get to answer."""
    faithd = start(BASE + PING)
    nft = [need("nft"), "-f", "-"]
    drops = """table inet host { chain out { type filter hook output priority 0; policy drop;
        ct state established,related accept; meta l4proto icmp accept;
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; oif lo accept; }; }"""
    lab.gateway.run(nft, stdin=drops)
    assert "0 received" in client.says(lab.mapped())
    faithd.wait_said("the host's firewall drops what is sent for pings to IPv6")
    assert faithd.counted("faith_ping_blocked") == {"v4": 0, "v6": 1}
    assert any("firewall drops what is sent" in one for one in warnings(lab))
    lab.gateway.run(nft, stdin="add rule inet host out icmpv6 type echo-reply accept")
    assert "1 received" in client.says(lab.mapped())
    assert faithd.counted("faith_ping_blocked") == {"v4": 0, "v6": 0}
    assert not any("firewall drops what is sent" in one for one in warnings(lab))


def warnings(lab: ThreeHosts) -> list[str]:
    return [one.text for one in lab.gateway.call(status.read).findings]
