"""The brain between a real client and a real server, by the program in the kernel."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import select
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.flow import brain
from faith.flow.brain import Brain
from faith.flow.flow_counters import CARRIED, REFUSALS, STRAYS, FlowCounters
from faith.flow.flow_settings import FlowSettings
from faith.kernel.process import capabilities, sandbox
from faith.lab.waiting import wait_until
from faith.translation.ports import Ports
from tests.netns.brains import PORTS, SOURCE, KernelPath, Recorder
from tests.netns.flows import SYN, Segment, ipv4_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.lab import ThreeHosts
    from tests.netns.conftest import Fork, Report

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]


@pytest.fixture
def path(lab: ThreeHosts) -> Iterator[KernelPath]:
    with KernelPath(lab) as path:
        yield path


def received(sock: socket.socket) -> bytes:
    """All octets until the end."""
    found = b""
    while some := sock.recv(1 << 16):
        found += some
    return found


def sending(sock: socket.socket, data: bytes, how: int) -> threading.Thread:
    """Send *data* and shut the socket down in a thread."""

    def run() -> None:
        sock.sendall(data)
        sock.shutdown(how)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# -- honest ends of attempts ---------------------------------------------------------------------


def test_a_refused_port_is_refused_at_connect(path: KernelPath) -> None:
    running = path.start()
    assert path.failure(port=81) == errno.ECONNREFUSED
    assert running.reports.wait() == ["refused"]


def test_a_forbidden_server_is_refused_at_once_and_counted(path: KernelPath) -> None:
    path.rules = ("::/0 deny 0.0.0.0/0",)
    running = path.start()
    assert path.failure() == errno.ECONNREFUSED
    assert running.reports.refused_ == ["denied by a rule"]
    assert running.counted(REFUSALS) == {"denied by a rule": 1}
    assert path.maps.used() == []


def test_without_a_route_the_network_is_unreachable_at_once(path: KernelPath) -> None:
    running = path.start()
    assert path.failure("198.51.100.1") == errno.ENETUNREACH
    assert running.reports.refused_ == ["unreachable"]


def test_a_route_that_prohibits_is_told_as_that(path: KernelPath) -> None:
    path.lab.gateway.run(["ip", "route", "add", "prohibit", "198.51.100.0/24"])
    path.start()
    assert path.failure("198.51.100.1") == errno.EACCES


def test_a_firewall_before_the_server_reaches_the_client(path: KernelPath) -> None:
    rules = "add table t; add chain t i { type filter hook input priority 0; };"
    rules += "add rule t i tcp dport 80 reject with icmp type admin-prohibited"
    path.lab.server.run(["nft", rules])
    running = path.start()
    assert path.failure() == errno.EACCES
    (view,) = running.views()
    assert view.state == "opening"
    assert running.call(lambda: dict(running.brain._ends.learned))


def test_the_gateways_own_firewall_reaches_the_client(path: KernelPath) -> None:
    rules = "add table t; add chain t o { type filter hook output priority 0; };"
    rules += f"add rule t o ip saddr {SOURCE} tcp dport 80 drop"
    path.lab.gateway.run(["nft", rules])
    running = path.start()
    assert path.failure() == errno.EACCES
    assert running.reports.wait() == ["unreachable"]


def test_a_host_that_is_not_there_is_unreachable_when_arp_says_so(path: KernelPath) -> None:
    """The gateway's own stack makes the error, and it goes by lo."""
    path.start()
    assert path.failure("192.0.2.200") in (errno.EHOSTUNREACH, errno.ENETUNREACH)


def test_a_silent_server_is_never_connected_and_its_syns_make_one_flow(path: KernelPath) -> None:
    path.lab.server.run(
        ["nft", "add table t; add chain t i { type filter hook input priority 0; policy drop; }"]
    )
    running = path.start()
    assert path.failure(timeout=2.5) == errno.EAGAIN  # it gave up, as it was told to
    (view,) = running.views()
    assert view.state == "opening"
    assert view.packets[0] >= 2
    assert len(running.reports.begun_) == 1


# -- connections ---------------------------------------------------------------------------------


def test_a_transfer_arrives_whole_and_is_recorded_with_its_octets(path: KernelPath) -> None:
    running = path.start()
    data = os.urandom(3_000_000)
    client, server = path.connect(path.listener())
    sent = sending(client, data, socket.SHUT_WR)
    assert hashlib.sha256(received(server)).digest() == hashlib.sha256(data).digest()
    answered = sending(server, data, socket.SHUT_WR)
    assert hashlib.sha256(received(client)).digest() == hashlib.sha256(data).digest()
    sent.join()
    answered.join()
    client.close()
    server.close()
    assert running.reports.wait() == ["closed"]
    ((_, _, out, back),) = running.reports.ended_
    assert out >= len(data)  # what was sent twice counts twice
    assert back >= len(data)
    assert running.call(lambda: running.brain.count) == 0


def test_the_server_sees_a_source_port_of_the_range(path: KernelPath) -> None:
    path.start()
    client, server = path.connect(path.listener())
    host, port = server.getpeername()
    assert host == SOURCE
    assert port in PORTS
    client.close()
    server.close()


@pytest.mark.parametrize(("who", "why"), [("client", "client reset"), ("server", "server reset")])
def test_a_reset_of_either_end_reaches_the_other(path: KernelPath, who: str, why: str) -> None:
    running = path.start()
    client, server = path.connect(path.listener())
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    server.sendall(b"y")
    assert client.recv(1) == b"y"
    first, other = (client, server) if who == "client" else (server, client)
    reset(first)
    with pytest.raises(ConnectionResetError):
        other.recv(1)
    other.close()
    assert running.reports.wait() == [why]


def test_a_client_port_used_again_has_the_same_source_port(path: KernelPath) -> None:
    running = path.start()
    listener = path.listener()
    ports = []
    for _ in range(3):
        client, server = path.connect(listener, port=45000)
        ports.append(server.getpeername()[1])
        server.close()  # its end is in TIME_WAIT, so that the client's port is free at once
        assert client.recv(1) == b""
        client.close()
    assert len(set(ports)) == 1
    assert running.reports.wait(3) == ["closed"] * 3
    assert len(set(running.reports.begun_)) == 3


def test_many_short_connections_are_all_recorded(path: KernelPath) -> None:
    running = path.start()
    listener = path.listener()
    for number in range(300):
        client, server = path.connect(listener)
        client.sendall(struct.pack("!I", number))
        client.shutdown(socket.SHUT_WR)
        assert received(server) == struct.pack("!I", number)
        server.close()
        assert client.recv(1) == b""
        client.close()
    assert running.reports.wait(300) == ["closed"] * 300
    assert [(out, back) for _, _, out, back in running.reports.ended_] == [(4, 0)] * 300


def mixed(path: KernelPath, listener: socket.socket, number: int) -> str:
    """A session of a kind that *number* says; return the end that its record must have."""
    data = os.urandom(number * 997 % 100_000 + 1)
    client, server = path.connect(listener)
    kind = number % 4
    if kind == 3:  # the client leaves in the middle
        client.sendall(data[:1000])
        assert server.recv(1)
        reset(client)
        with pytest.raises(ConnectionResetError):
            received(server)
        server.close()
        return "client reset"
    first, second = (client, server) if kind else (server, client)
    thread = sending(first, data, socket.SHUT_WR)
    assert received(second) == data
    thread.join()
    if kind == 1:  # the other half afterwards
        second.sendall(data[::-1])
    second.close()
    assert received(first) == (data[::-1] if kind == 1 else b"")
    first.close()
    return "closed"


def test_sessions_of_all_kinds_beside_each_other_are_whole(path: KernelPath) -> None:
    """By eight threads; halves closed in either order, data both ways, resets."""
    running = path.start()
    listeners = [path.listener(8000 + n) for n in range(8)]
    expected: list[str] = []

    def run(each: int) -> list[str]:
        return [mixed(path, listeners[each], each * 100 + n) for n in range(25)]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(run, range(8)):
            expected += found
    assert sorted(running.reports.wait(200, seconds=20)) == sorted(expected)
    assert running.call(lambda: running.brain.count) == 0
    assert path.maps.counters()["failed"] == 0


def test_a_client_may_use_its_link_local_address(path: KernelPath) -> None:
    running = path.start()
    path.lab.client.links.add_address("to-gateway", "fe80::7/64")
    index = path.lab.client.call(socket.if_nametoindex, "to-gateway")
    listener = path.listener()
    with path.client() as client:
        client.bind(("fe80::7", 0, 0, index))
        client.connect((path.lab.mapped(), 80))
        server, _ = listener.accept()
        client.sendall(b"x")
        assert server.recv(1) == b"x"
        assert running.views()[0].client[0] == "fe80::7"
        server.close()
        assert client.recv(1) == b""
    assert running.reports.wait() == ["closed"]


def test_a_kill_is_felt_at_both_ends(path: KernelPath) -> None:
    running = path.start()
    client, server = path.connect(path.listener())
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    (view,) = running.views()
    assert view.sent == 1
    assert running.call(lambda: running.brain.kill([view.serial]))
    assert not running.call(lambda: running.brain.kill([view.serial]))
    for sock in (client, server):
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        sock.close()
    assert running.reports.wait() == ["killed"]


def test_a_flow_that_is_no_more_is_reset_when_its_client_sends(path: KernelPath) -> None:
    running = path.start()
    client, server = path.connect(path.listener())
    numbers = path.maps.used()
    running.call(lambda: running.brain._ends.end(numbers, "killed", resets=False))
    client.sendall(b"x")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert running.counted(STRAYS) == {"v6": 1}
    client.close()
    server.close()


def test_a_prefix_that_goes_takes_its_flows_along(path: KernelPath) -> None:
    running = path.start()
    client, server = path.connect(path.listener())
    policy = path.policy(prefixes=("2001:db8:eeee::/96",))
    running.call(lambda: setattr(running.brain, "policy", policy))
    assert running.reports.wait() == ["prefix gone"]
    for sock in (client, server):
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        sock.close()


def test_other_rules_and_settings_leave_flows_alone(path: KernelPath) -> None:
    running = path.start()
    listener = path.listener()
    client, server = path.connect(listener)
    denies = path.policy("::/0 deny 0.0.0.0/0")
    running.call(lambda: setattr(running.brain, "policy", denies))
    assert path.failure() == errno.ECONNREFUSED
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    client.close()
    server.close()


def test_a_flood_of_syns_neither_stops_the_clock_nor_ends_what_is_open(path: KernelPath) -> None:
    """3,000 SYNs of one network to a server that does not answer; another network's client comes
    through, and half-open flows keep to their bound."""
    path.lab.server.run(
        ["nft", "add table t; add chain t i { type filter hook input priority 0; }"]
    )
    path.lab.server.run(["nft", "add rule t i tcp dport 81 drop"])
    path.lab.client.links.add_address("to-gateway", "2001:db8:7::2/64")
    path.lab.gateway.run(["ip", "route", "add", "2001:db8:7::/64", "dev", "to-client"])
    running = path.start(half_open=200)
    listener = path.listener()
    client, server = path.connect(listener)
    raw = path.lab.client.call(
        lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
    )
    mapped = path.lab.mapped()
    for port in range(3000):
        segment = Segment(1024 + port, 81, SYN, source="2001:db8:6::2", to=mapped)
        raw.sendto(segment.ipv6(), (mapped, 0))
    raw.close()
    with path.client() as other:
        other.bind(("2001:db8:7::2", 0))
        other.connect((mapped, 80))
        client.sendall(b"x")
        assert server.recv(1) == b"x"
    assert path.maps.counters()["unattended"] == 0
    waiting = [view for view in running.views() if view.state == "opening"]
    assert len(waiting) <= 200
    client.close()
    server.close()


def test_settings_reach_the_program(path: KernelPath) -> None:
    running = path.start()
    listener = path.listener()
    settings = replace(
        running.call(lambda: running.brain._judge.settings), services=Ports([(81, 81)])
    )
    running.call(lambda: running.brain.configure(settings))
    assert path.failure() == errno.ECONNREFUSED  # the stack's own answer
    assert running.reports.begun_ == []
    running.call(lambda: running.brain.configure(replace(settings, services=Ports([(80, 80)]))))
    client, server = path.connect(listener)
    client.close()
    server.close()
    assert running.reports.wait() == ["closed"]


# -- fragments -----------------------------------------------------------------------------------


def test_fragments_of_the_server_arrive(path: KernelPath) -> None:
    """Its kernel sends whole packets of 1500 octets by a link of 600, without DF."""
    server_host = path.lab.server
    server_host.sysctl("net.ipv4.ip_no_pmtu_disc", 1)
    running = path.start()
    listener = path.listener()
    client, server = path.connect(listener)
    server_host.run(["ip", "route", "change", "192.0.2.0/24", "dev", "to-gateway", "mtu", "600"])
    data = os.urandom(100_000)
    server.sendall(data)
    server.shutdown(socket.SHUT_WR)
    assert received(client) == data
    client.close()
    server.close()
    assert running.reports.wait() == ["closed"]


def test_fragments_are_translated_by_the_brain(path: KernelPath) -> None:
    """Forged: the two halves of a segment of a connection."""
    running = path.start()
    client, server = path.connect(path.listener())
    server.sendall(b"a")
    assert client.recv(1) == b"a"
    (view,) = running.views()
    slot = view.slot
    data = bytes(range(256)) * 4
    whole = Segment(
        source_port=80,
        port=slot.source_port,
        flags=0x18,
        sequence=slot.from_server.next,
        acknowledged=slot.from_client.next,
        payload=data,
        source="192.0.2.80",
        to=SOURCE,
    ).ipv4()
    raw = path.lab.server.call(
        lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    )
    body, addresses = whole[20:], whole[12:20]
    for at, more in ((0, 0x2000), (512, 0)):
        part = body[at : at + 512] if more else body[at:]
        raw.sendto(ipv4_header(part, addresses, at // 8 | more), (SOURCE, 0))
    raw.close()
    found = b""
    while len(found) < len(data):
        found += client.recv(4096)
    assert found == data
    wait_until(lambda: running.counted(CARRIED) == {"v6": 1}, seconds=5, what="the count")
    assert running.views()[0].received == 1 + len(data)
    reset(client)
    reset(server)


# -- the life of a brain -------------------------------------------------------------------------


def test_flows_outlive_a_dead_brain_and_the_next_one_records_them(path: KernelPath) -> None:
    first = path.start()
    listener = path.listener()
    pairs = [path.connect(listener) for _ in range(5)]
    first.stop()
    closed_meanwhile, open_still = pairs[0], pairs[1:]
    for client, server in pairs:
        client.sendall(b"while nobody decides")
        assert server.recv(100) == b"while nobody decides"
    for sock in closed_meanwhile:
        sock.close()
    second = path.start()
    assert second.call(lambda: second.brain.count) in (4, 5)
    another = path.connect(listener)
    for client, server in (*open_still, another):
        client.close()
        assert server.recv(1) == b""
        server.close()
    assert second.reports.wait(6) == ["closed"] * 6
    assert {out for _, _, out, _ in second.reports.ended_} == {20, 0}
    serials = [serial for serial, *_ in second.reports.ended_]
    assert len(set(serials)) == 6


def test_what_was_recorded_before_a_brain_died_is_not_recorded_again(path: KernelPath) -> None:
    first = path.start()
    client, server = path.connect(path.listener())
    client.close()
    server.close()
    assert first.reports.wait() == ["closed"]
    first.stop()
    second = path.start()
    assert second.call(lambda: second.brain.count) == 0
    assert len(path.maps.used()) == 1  # its port rests
    client, server = path.connect(path.listener(82))
    client.close()
    server.close()
    assert second.reports.wait() == ["closed"]
    assert len(second.reports.ended_) == 1


def test_a_brain_hands_over_to_the_next_and_no_connection_is_lost(path: KernelPath) -> None:
    first = path.start()
    listener = path.listener()
    client, server = path.connect(listener)
    lots = []

    def give() -> None:
        first.brain.close()
        while first.brain.handover.left:
            lots.append(first.brain.handover.give(200))

    first.call(give)
    second = path.start()
    for states, descriptors in lots:
        second.call(lambda s=states, d=descriptors: second.brain.handover.adopt(s, d))  # type: ignore[misc]
    first.stop(how="end")
    assert first.reports.ended_ == []
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    client.close()
    server.close()
    assert second.reports.wait() == ["closed"]


def test_a_brain_that_waits_for_its_predecessor_touches_nothing(path: KernelPath) -> None:
    first = path.start()
    client, server = path.connect(path.listener())
    (view,) = first.views()
    second = path.start(serves=False)
    assert not second.call(lambda: second.brain.kill([view.serial]))
    second.stop(how="end")
    assert second.reports.ended_ == []
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    client.close()
    server.close()
    assert first.reports.wait() == ["closed"]


def test_the_end_of_a_brain_ends_its_flows(path: KernelPath) -> None:
    running = path.start()
    client, server = path.connect(path.listener())
    running.stop(how="end")
    assert running.reports.wait() == ["stopped"]
    for sock in (client, server):
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        sock.close()
    assert path.maps.used() == []


def test_syns_are_left_to_the_stack_once_the_brain_is_gone(path: KernelPath) -> None:
    running = path.start()
    running.stop(how="close")
    assert path.failure() == errno.ECONNREFUSED
    assert path.maps.counters()["unattended"] >= 1


@pytest.mark.parametrize("dies", [True, False])
def test_a_syn_that_was_left_waiting_begins_no_flow(path: KernelPath, dies: bool) -> None:
    """Its client has repeated it, and the stack has answered."""
    running = path.start()
    listener = path.listener()
    if dies:
        running.stop()
    else:
        hangs = threading.Event()

        def hang() -> None:
            hangs.set()
            time.sleep(3)  # time: a brain that hangs

        running.loop.call_soon_threadsafe(hang)
        assert hangs.wait(5)
    assert path.failure() == errno.ECONNREFUSED
    assert path.maps.counters()["upcalls"] == 1
    if dies:
        running = path.start()
    running.call(path.maps.counters)  # it goes on
    client, server = path.connect(listener)
    assert len(running.reports.begun_) == 1
    client.close()
    server.close()


def test_syns_that_wait_at_a_hand_over_have_their_flows(path: KernelPath) -> None:
    first = path.start()
    listener = path.listener()
    client = path.client()
    client.setblocking(False)

    def close() -> None:
        client.connect_ex((path.lab.mapped(), 80))
        assert select.select([path.sockets.syns], [], [], 5)[0]
        first.brain.close()

    first.call(close)
    accepted, _ = listener.accept()
    assert len(first.reports.begun_) == 1
    accepted.close()
    client.close()


def test_a_brain_needs_no_right_and_no_system_call_that_a_confined_process_lacks(
    path: KernelPath, fork: Fork
) -> None:
    def run(report: Report) -> None:
        capabilities.drop(capabilities.default_user())
        sandbox.confine(connects=False, uses_maps=True)
        loop = uvloop.new_event_loop()
        settings = FlowSettings(Ports([(80, 80)]), (int(IPv4Address(SOURCE)),), PORTS)
        reports = Recorder()
        brain = Brain(
            loop, path.policy(), path.sockets, path.maps, settings, FlowCounters(), reports
        )
        brain.serve()
        report("serves")
        while not reports.ended_:
            loop.run_until_complete(asyncio.sleep(0.05))  # poll: until the flow has ended
        report(reports.ended_)

    with path.lab.gateway.inside():
        child = fork(run)
    assert child.report() == "serves"
    client, server = path.connect(path.listener())
    client.sendall(b"hello")
    assert server.recv(10) == b"hello"
    client.close()
    server.close()
    ((_, why, sent, _),) = child.report()
    assert (why, sent) == ("closed", 5)


# -- routes --------------------------------------------------------------------------------------


def test_flows_follow_the_mtu_of_their_way(path: KernelPath) -> None:
    running = path.start()
    client, server = path.connect(path.listener())
    path.lab.gateway.run(["ip", "link", "set", "to-server", "mtu", "1300"])
    wait_until(
        lambda: running.views()[0].slot.mtu4 == 1300, seconds=5, what="the flow's smaller MTU"
    )
    data = os.urandom(200_000)
    thread = sending(client, data, socket.SHUT_WR)
    assert received(server) == data
    thread.join()
    client.close()
    server.close()
    assert running.reports.wait() == ["closed"]


def test_what_errors_said_of_a_path_is_forgotten_after_ten_minutes(
    path: KernelPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = path.start()
    client, server = path.connect(path.listener())
    (view,) = running.views()
    (number,) = path.maps.used()
    slot = view.slot
    path.maps.reroute(number, slot.oif4, slot.oif6, slot.mtu4, 1280, slot.mss4, slot.mss6)
    assert brain._REROUTE_TICKS * brain.TICK == 600
    monkeypatch.setattr(brain, "_REROUTE_TICKS", 1)
    wait_until(lambda: running.views()[0].slot.mtu6 == 1500, seconds=5, what="the route's MTU")
    client.close()
    server.close()


def test_a_new_route_is_taken_for_new_flows_at_once(path: KernelPath) -> None:
    path.start()
    assert path.failure("198.51.100.1") == errno.ENETUNREACH
    path.lab.server.links.add_address("to-gateway", "198.51.100.1/24")
    path.lab.gateway.run(["ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.80"])
    wait_until(
        lambda: path.failure("198.51.100.1") == errno.ECONNREFUSED,  # by the server itself
        seconds=5,
        what="the new route",
    )


def test_flows_are_looked_at_once_a_second_in_a_storm_of_routes(path: KernelPath) -> None:
    running = path.start()
    client, server = path.connect(path.listener())
    looks: list[int] = []
    look = running.brain._reroute

    def counted() -> Iterator[None]:
        looks.append(1)
        return look()

    running.call(lambda: setattr(running.brain, "_reroute", counted))
    before = time.monotonic()
    for n in range(200):
        path.lab.gateway.links.add_address("to-server", f"10.9.{n}.1/24")
    path.lab.gateway.run(["ip", "link", "set", "to-client", "mtu", "1400"])
    wait_until(
        lambda: running.views()[0].slot.mtu6 == 1400, seconds=5, what="the last change of all"
    )
    assert len(looks) <= 2 + (time.monotonic() - before)
    client.close()
    server.close()
