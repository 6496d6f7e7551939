"""The kernel path in a whole daemon, between real hosts: answers, rules, records, commands."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import signal
import socket
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, PREFIX, SERVER
from tests.faithd import ENVIRONMENT, FAITHD, WITHOUT_BPF
from tests.netns.flow_lab import brain, faith, has_maps, sessions, why_not
from tests.netns.gateway import Gateway, metrics
from tests.netns.service import PORT, Echo, Server, answers, connect, connect_from, relays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import ThreeHosts

    Start = Callable[..., Gateway]

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

ROOT = Path(__file__).parents[2]
CLOSED_PORT = 2324
OWN = "192.0.2.9"
BASE = f"""
workers = 1
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT},{CLOSED_PORT}"
path = "kernel"
[metrics]
listen = "[::1]:9064"
"""


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Start:
    """Start a faithd by the text of a file, and wait until it serves."""
    return lambda text=BASE, **how: Gateway(lab, tmp_path, text, **how)


@pytest.fixture
def echo(lab: ThreeHosts) -> Iterator[Echo]:
    with contextlib.closing(Echo(lab.server)) as made:
        yield made


def is_reset(sock: socket.socket) -> bool:
    try:
        sock.recv(1)
    except ConnectionResetError:
        return True
    return False


# -- what the client sees ------------------------------------------------------------------------


@pytest.mark.usefixtures("echo")
def test_a_flow_its_record_and_its_count(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    with connect(lab) as session:
        assert answers(session)
        assert answers(session, b"x" * 4000)
        (listed,) = sessions(lab)
        assert listed["id"].startswith("k1-")
        assert listed["client"] == f"[{CLIENT}]:{session.getsockname()[1]}"
        assert listed["server"] == f"{SERVER}:{PORT}"
        assert (listed["sent"], listed["received"], listed["stage"]) == (4005, 4005, "established")
        wait_until(lambda: metrics(lab)["faith_flows"] == 1, 5, "an open flow")
    faithd.wait_said("end=closed")
    (record,) = [line for line in faithd.said.splitlines() if "end=closed" in line]
    assert f"server={SERVER}:{PORT} sent=4005 received=4005" in record
    assert f"mapped=[{lab.mapped()}]:{PORT} source={GATEWAY_V4}:6" in record
    wait_until(lambda: metrics(lab)["faith_flows"] == 0, 5, "no open flow")
    assert metrics(lab)['faith_flows_ended_total{end="closed"}'] == 1
    for to in ("server", "client"):
        assert metrics(lab)[f'faith_flow_bytes_total{{to="{to}"}}'] == 4005
    assert metrics(lab)['faith_limit_most{limit="flows",process="flows"}'] > 1000
    assert metrics(lab)['faith_limit_most{limit="half-open flows",process="flows"}'] > 100
    assert f"{PORT}-{CLOSED_PORT}: kernel path" in faith(lab, "status")


def test_the_server_is_first_to_know(lab: ThreeHosts, start: Start) -> None:
    """connect(2) returns when the server has answered, and not before."""
    start()
    with contextlib.closing(lab.server.call(socket.socket)) as unheard:
        unheard.bind((SERVER, PORT))
        assert why_not(lab) == errno.ECONNREFUSED
        unheard.listen()
        connect(lab).close()


def test_each_refusal_is_the_servers_networks(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    assert why_not(lab, port=CLOSED_PORT) == errno.ECONNREFUSED
    faithd.wait_said("end=refused")
    assert why_not(lab, lab.mapped("203.0.113.1")) == errno.ENETUNREACH  # the gateway has no route
    for what, number in (
        ("reject with icmp type admin-prohibited", errno.EACCES),
        ("reject with icmp type host-unreachable", errno.ENETUNREACH),
        ("reject with icmp type port-unreachable", errno.ECONNREFUSED),
    ):
        rules = f"""table ip t
            delete table ip t
            table ip t {{ chain c {{ type filter hook input priority 0;
                tcp dport {CLOSED_PORT} {what}
            }}; }}"""
        lab.server.run(["nft", "-f", "-"], stdin=rules)
        assert why_not(lab, port=CLOSED_PORT) == number, what


def test_a_dead_host_is_unreachable_when_its_network_says_so(lab: ThreeHosts, start: Start) -> None:
    start()
    with lab.client.call(socket.socket, socket.AF_INET6) as client:
        client.settimeout(20)
        found = client.connect_ex((lab.mapped("192.0.2.77"), PORT))  # nobody answers ARP
    assert found in (errno.EHOSTUNREACH, errno.ENETUNREACH)


@pytest.mark.usefixtures("echo")
def test_rules_are_obeyed(lab: ThreeHosts, start: Start) -> None:
    faithd = start(f'{BASE}[access]\nrules = ["::/0 deny {SERVER}", "::/0 permit 0.0.0.0/0"]\n')
    assert why_not(lab) == errno.ECONNREFUSED
    faithd.wait_said("denied by a rule")
    assert why_not(lab, lab.mapped("127.0.0.1")) == errno.ECONNREFUSED
    faithd.wait_said("special destination")
    assert metrics(lab)['faith_flow_refusals_total{reason="denied by a rule"}'] == 1
    faithd.reload(BASE)
    assert relays(lab)


@pytest.mark.usefixtures("echo")
def test_the_hosts_own_firewall_is_obeyed(lab: ThreeHosts, start: Start) -> None:
    start()
    rules = (
        "table ip6 t { chain c { type filter hook input priority 0;"
        f" tcp dport {PORT} reject with icmpv6 type admin-prohibited; }}; }}"
    )
    lab.gateway.run(["nft", "-f", "-"], stdin=rules)
    assert why_not(lab) == errno.EACCES
    lab.gateway.run(["nft", "delete", "table", "ip6", "t"])
    assert relays(lab)


@pytest.mark.usefixtures("echo")
def test_the_gateways_own_clients_are_relayed(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    with connect_from(lab.gateway, lab.mapped()) as session:
        assert answers(session)
        (listed,) = sessions(lab)
        assert listed["id"].startswith("1-")
    faithd.wait_said("end=closed")


def test_octets_are_whole_both_ways(lab: ThreeHosts, start: Start) -> None:
    start()
    up, down = os.urandom(20_000_000), os.urandom(20_000_000)
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        client.settimeout(30)
        peer.settimeout(30)
        heard: list[bytes] = []

        def serve() -> None:
            heard.append(peer.makefile("rb").read(len(up)))
            peer.sendall(down)
            peer.shutdown(socket.SHUT_WR)

        serving = threading.Thread(target=serve)
        serving.start()
        client.sendall(up)
        client.shutdown(socket.SHUT_WR)
        assert digest(client.makefile("rb").read()) == digest(down)
        serving.join()
        assert digest(heard[0]) == digest(up)


def digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


def test_a_reset_arrives_from_either_side(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    server = Server(lab.server)
    with contextlib.closing(server.listener):
        for first, end in (("client", "client reset"), ("server", "server reset")):
            with connect(lab) as client, server.accept() as peer:
                one, other = (client, peer) if first == "client" else (peer, client)
                client.sendall(b"x")
                assert peer.recv(1) == b"x"
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.close()
                assert is_reset(other)
            faithd.wait_said(f'end="{end}"')


# -- source addresses and ports ------------------------------------------------------------------


def test_flows_have_ports_that_no_socket_has(lab: ThreeHosts, start: Start) -> None:
    start()
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab), server.accept():
        host, port = server.peer
        assert host == GATEWAY_V4
        assert port >= 61000


def test_flows_have_an_address_of_their_own(lab: ThreeHosts, start: Start) -> None:
    lab.gateway.links.add_address("to-server", f"{OWN}/24")
    start(f'{BASE}[flows]\naddresses = ["{OWN}"]\nports = "5000-5001"\n')
    server = Server(lab.server)
    with contextlib.closing(server.listener), contextlib.ExitStack() as stack:
        seen = set()
        for _ in range(2):
            stack.enter_context(connect(lab))
            stack.enter_context(server.accept())
            seen.add(server.peer)
        assert seen == {(OWN, 5000), (OWN, 5001)}
        assert why_not(lab) == errno.ECONNREFUSED  # there is no third port


@pytest.mark.parametrize(
    "source",
    [
        f'[access]\nrules = ["::/0 permit 0.0.0.0/0 {OWN}"]\n',
        f'[[source]]\nclients = ["{CLIENT}/128"]\naddresses = ["{OWN}"]\n',
        f'[[map]]\nv4 = "{OWN}"\nv6 = "{CLIENT}"\n',
    ],
    ids=["rule", "source", "map"],
)
def test_sources_of_rules_pools_and_maps_hold(lab: ThreeHosts, start: Start, source: str) -> None:
    if "map" not in source:
        lab.gateway.links.add_address("to-server", f"{OWN}/32")
    start(BASE + source)
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        assert server.peer[0] == OWN
        assert server.peer[1] >= 61000
        client.sendall(b"x")
        assert peer.recv(1) == b"x"
        (listed,) = sessions(lab)
        assert listed["id"].startswith("k1-")


@pytest.mark.usefixtures("echo")
def test_an_address_that_is_absent_is_told_and_passed_over(lab: ThreeHosts, start: Start) -> None:
    start(f'{BASE}[flows]\naddresses = ["{OWN}", "{GATEWAY_V4}"]\n')
    assert f"no flow comes from {OWN} until this host has it" in faith(lab, "status")
    with connect(lab) as session:
        assert answers(session)
    lab.gateway.links.add_address("to-server", f"{OWN}/24")
    wait_until(lambda: "no flow comes" not in faith(lab, "status"), 5, "the address being known")


# -- commands ------------------------------------------------------------------------------------


def test_a_flow_is_killed_with_resets_to_both_ends(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        client.sendall(b"x")
        assert peer.recv(1) == b"x"
        (listed,) = sessions(lab)
        faith(lab, "kill", listed["id"])
        assert is_reset(client)
        assert is_reset(peer)
        faithd.wait_said("end=killed")
        assert not sessions(lab)


@pytest.mark.usefixtures("echo")
def test_a_reload_changes_the_path_and_no_flow(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    with connect(lab) as flow:
        assert answers(flow)
        faithd.reload(BASE.replace('path = "kernel"', 'path = "relay"'))
        with connect(lab) as relayed:
            assert answers(relayed)
            assert answers(flow)
            assert sorted(one["id"].partition("-")[0] for one in sessions(lab)) == ["1", "k1"]
            faithd.reload(BASE)
            assert relays(lab)
            assert answers(flow)
            assert answers(relayed)
    faithd.wait_said("end=closed", 3)


@pytest.mark.usefixtures("echo")
def test_a_prefix_that_is_withdrawn_takes_its_flows_along(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    other = '[[prefix]]\naddress = "2001:db8:eeee::/96"\n'
    with connect(lab) as flow:
        assert answers(flow)
        faithd.reload(BASE.replace(f'[[prefix]]\naddress = "{PREFIX}"\n', other))
        faithd.wait_said('end="prefix gone"')
        assert is_reset(flow)


def test_no_process_but_the_brain_has_the_table(lab: ThreeHosts, start: Start) -> None:
    faithd = start(f'{BASE}[ping]\n[udp]\n[dns]\nlisten = ["::1:5353"]\n')
    mapping = {pid for pid in faithd.workers if "bpf-map" in Path(f"/proc/{pid}/maps").read_text()}
    assert mapping == {brain(faithd)}
    assert len(faithd.workers) == 6


# -- life ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("echo")
def test_a_brain_that_is_killed_is_replaced_and_its_flows_go_on(
    lab: ThreeHosts, start: Start
) -> None:
    faithd = start()
    with connect(lab) as flow:
        assert answers(flow)
        os.kill(brain(faithd), signal.SIGKILL)
        assert answers(flow)
        faithd.wait_said("another takes its place")
        wait_until(lambda: len(sessions(lab)) == 1, 5, "the flow being known to another brain")
        assert answers(flow)
    faithd.wait_said("end=closed")


@pytest.mark.usefixtures("echo")
def test_while_the_brain_hangs_the_relay_serves(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    with connect(lab) as flow:
        assert answers(flow)
        os.kill(hung := brain(faithd), signal.SIGSTOP)
        with connect(lab) as relayed:
            assert answers(relayed)
            assert answers(flow)
            os.kill(hung, signal.SIGCONT)
            wait_until(lambda: len(sessions(lab)) == 2, 5, "the brain going on")
            assert answers(relayed), "no flow takes its packets"
        faithd.wait_said("end=closed")
    faithd.wait_said("end=closed", 2)


def test_a_port_that_had_a_flow_may_have_a_relayed_session_next(
    lab: ThreeHosts, start: Start
) -> None:
    """And then a flow again."""
    deciding = brain(start())
    server = Server(lab.server)
    ports = []
    with contextlib.closing(server.listener):
        for stopped in (False, True, False):
            os.kill(deciding, signal.SIGSTOP if stopped else signal.SIGCONT)
            if stopped:
                with connect(lab), server.accept():  # the relay serves now
                    pass
            else:
                wait_until(lambda: sessions(lab) == [], 10, "the brain going on")
            with from_port(lab, 40404) as client, server.accept() as peer:
                ports.append(server.peer[1])
                client.sendall(b"x")
                assert peer.recv(1) == b"x"
                peer.close()  # the first to do so has the port in TIME_WAIT
                assert client.recv(1) == b""
        assert [port >= 61000 for port in ports] == [True, False, True]


def from_port(lab: ThreeHosts, port: int) -> socket.socket:
    """A connection of the client's from that port."""
    client = lab.client.call(socket.socket, socket.AF_INET6)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.settimeout(10)
    client.bind(("::", port))
    client.connect((lab.mapped(), PORT))
    return client


@pytest.mark.usefixtures("echo")
def test_an_upgrade_disturbs_no_flow(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    with connect(lab) as flow:
        assert answers(flow)
        for number in (2, 3):
            faithd.signal(signal.SIGUSR2)
            faithd.wait_said(f"upgraded to program {number}", seconds=30)
            assert answers(flow)
            assert relays(lab)
            assert [one["client"] for one in sessions(lab)].count(
                f"[{CLIENT}]:{flow.getsockname()[1]}"
            ) == 1
            wait_until(lambda: metrics(lab)["faith_flows"] == 1, 5, "each flow counted once")
    faithd.wait_said("end=closed", 3)


@pytest.mark.usefixtures("echo")
def test_a_stop_waits_for_flows_then_resets_them(lab: ThreeHosts, start: Start) -> None:
    faithd = start(BASE + "[timeouts]\ndrain = 60\n")
    with connect(lab) as flow, connect(lab) as other:
        assert answers(flow)
        assert answers(other)
        faithd.signal(signal.SIGTERM)
        wait_until(lambda: _refuses(lab), 5, "refusal")
        assert answers(flow)
        other.close()
        faithd.wait_said("end=closed")
        assert answers(flow)
        faithd.signal(signal.SIGTERM)
        assert faithd.process.wait(10) == 0
        assert is_reset(flow)
    assert "end=stopped" in faithd.said


@pytest.mark.parametrize("tcx", [True, False], ids=["tcx", "clsact"])
@pytest.mark.usefixtures("echo")
def test_flows_of_another_layout_go_on_beside_the_new_ones(
    lab: ThreeHosts, tmp_path: Path, *, tcx: bool
) -> None:
    """By the code and in the maps that they have, watched by the process that knows them."""
    installed = tmp_path / "installed"
    shutil.copytree(ROOT / "faith", installed / "faith", ignore=shutil.ignore_patterns("__pyc*"))
    links = installed / "faith/kernel/flow/flow_links.py"
    links.write_text(links.read_text().replace("tcx: bool = True", f"tcx: bool = {tcx}"))
    before = lab.gateway.run(["tc", "qdisc", "show"]).stdout
    faithd = Gateway(lab, tmp_path, BASE, PYTHONPATH=str(installed), PYTHONSAFEPATH="1")
    with connect(lab) as old:
        assert answers(old)
        for number in (2, 3):
            _change_layout(installed, number)
            faithd.signal(signal.SIGUSR2)
            faithd.wait_said(f"upgraded to program {number}", seconds=30)
            assert answers(old, b"old")
            with connect(lab) as new:
                assert answers(new, b"new")
                (listed,) = sessions(lab)
                assert listed["client"] == f"[{CLIENT}]:{new.getsockname()[1]}"
            faithd.wait_said("end=closed", number - 1)
        assert answers(old)
        assert len(list(filter(has_maps, faithd.workers))) == 2
    faithd.wait_said("end=closed", 3)
    wait_until(
        lambda: len(list(filter(has_maps, faithd.workers))) == 1, 10, "the end of the old brain"
    )
    assert relays(lab)
    assert faithd.stop() == 0
    assert lab.gateway.run(["tc", "qdisc", "show"]).stdout == before


def _change_layout(installed: Path, number: int) -> None:
    file = installed / "faith/kernel/flow/layout.py"
    file.write_text(
        file.read_text().replace(f"\nLAYOUT = {number - 1}\n", f"\nLAYOUT = {number}\n")
    )


def _refuses(lab: ThreeHosts) -> bool:
    try:
        connect(lab).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False
    return False


@pytest.mark.usefixtures("echo")
def test_the_last_flow_ends_a_drain(lab: ThreeHosts, start: Start) -> None:
    faithd = start(BASE + "[timeouts]\ndrain = 60\n")
    with connect(lab) as flow:
        assert answers(flow)
        faithd.signal(signal.SIGTERM)
        wait_until(lambda: _refuses(lab), 5, "refusal")
        assert answers(flow)
    assert faithd.process.wait(10) == 0


def test_nothing_stays_behind(lab: ThreeHosts, start: Start) -> None:
    def state() -> list[str]:
        commands = [
            "nft list ruleset",
            "ip -6 route show table all",
            "tc filter show dev lo ingress",
        ]
        commands.append("tc qdisc show dev lo")
        return [lab.gateway.run(command.split()).stdout for command in commands]

    before = state()
    faithd = start()
    assert state() != before
    assert faithd.stop() == 0
    assert state() == before


@pytest.mark.usefixtures("echo")
def test_a_daemon_that_only_relays_leaves_nothing_of_a_killed_one(
    lab: ThreeHosts, start: Start
) -> None:
    killed = start()
    killed.signal(signal.SIGKILL)
    killed.process.wait(10)
    wait_until(lambda: _tables(lab) == {"ip faith_flows"}, 5, "the table that stays")
    start(BASE.replace('"kernel"', '"relay"'))
    assert _tables(lab) == set()
    assert relays(lab)


def _tables(lab: ThreeHosts) -> set[str]:
    found = lab.gateway.run(["nft", "list", "tables"]).stdout.split("\n")
    return {line.removeprefix("table ") for line in found if "flows" in line}


# -- where there is none -------------------------------------------------------------------------


def test_without_bpf_auto_is_the_relay_and_says_why(
    lab: ThreeHosts, start: Start, echo: Echo
) -> None:
    faithd = start(BASE.replace('"kernel"', '"auto"'), by=WITHOUT_BPF)
    assert relays(lab)
    assert f"port {PORT}-{CLOSED_PORT} is relayed: the kernel path: " in faithd.said
    assert "CAP_BPF" in faith(lab, "status")


def test_without_bpf_kernel_does_not_start(lab: ThreeHosts, tmp_path: Path) -> None:
    file = tmp_path / "faith.toml"
    file.write_text(BASE)
    done = lab.gateway.run(
        [*WITHOUT_BPF, *FAITHD, "-F", "--config", str(file)], check=False, env=ENVIRONMENT
    )
    assert done.returncode == 1
    assert "the kernel path" in done.stderr
    assert "CAP_BPF" in done.stderr
    assert "Traceback" not in done.stderr
