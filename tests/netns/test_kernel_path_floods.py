"""Floods, forgeries and shortage: what they do to the kernel path's honest clients."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, SERVER
from tests.netns import connections
from tests.netns.flow_lab import (
    BASE,
    CLOSED_PORT,
    FROM_OWN,
    OTHER_CLIENT,
    OWN,
    Counter,
    add_other_client,
    add_own,
    brain,
    connect_as,
    numbers,
    program_counters,
    refused,
    send_raw,
    sessions,
)
from tests.netns.flow_talk import Talker, down, echo, say
from tests.netns.flows import RST, SYN, Segment
from tests.netns.gateway import Gateway, metrics
from tests.netns.service import PORT, Server, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

FLOOD_PORT = CLOSED_PORT
"""Where floods go: the server is silent there."""
FLOOD = "2001:db8:bad"
"""The first 48 bits of the networks that floods come from."""
ENTIRE = 8000
"""Packets of a flood, before it begins anew."""
TIME_WAIT = "06"
HONEST = 20


@pytest.fixture
def talker(lab: ThreeHosts) -> Iterator[Talker]:
    with contextlib.closing(Talker(lab.server)) as made:
        yield made


@pytest.fixture
def silence(lab: ThreeHosts) -> Counter:
    """What the server hears at the port where it says nothing."""
    return Counter(lab.server, "input", f"tcp dport {FLOOD_PORT}", "drop")


def syns(lab: ThreeHosts, sources: Iterable[str], count: int) -> list[bytes]:
    """First packets of so many connections from *sources*, one after another."""
    chance, to = random.Random(count), lab.mapped()
    return [
        Segment(chance.randrange(1024, 65536), FLOOD_PORT, SYN, source=source, to=to).ipv6()
        for source in itertools.islice(itertools.cycle(sources), count)
    ]


class Flood:
    """Sends *packets* from the client, again and again, as long as the block lasts."""

    def __init__(self, lab: ThreeHosts, packets: list[bytes]) -> None:
        lab.gateway.links.add_route(f"{FLOOD}::/48", CLIENT)
        self._socket = lab.client.call(
            socket.socket, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW
        )
        self._socket.setsockopt(socket.IPPROTO_IPV6, 36, 1)  # IPV6_HDRINCL
        self._packets, self._to = packets, (lab.mapped(), 0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def _run(self) -> None:
        for packet in itertools.cycle(self._packets):
            if self._over.is_set():
                break
            with contextlib.suppress(OSError):
                self._socket.sendto(packet, self._to)
            self.sent += 1

    def __enter__(self) -> Flood:
        self._thread.start()
        wait_until(lambda: self.sent > len(self._packets), 30, "the flood")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()


# -- floods --------------------------------------------------------------------------------------


def one_address() -> list[str]:
    return [f"{FLOOD}::1"]


def one_network() -> list[str]:
    chance = random.Random(6)
    return [f"{FLOOD}::{chance.randrange(1, 65536):x}" for _ in range(ENTIRE)]


@pytest.mark.usefixtures("talker", "silence")
@pytest.mark.parametrize("sources", [one_address, one_network])
def test_a_flood_of_a_client_leaves_others_alone(
    lab: ThreeHosts, tmp_path: Path, pins: Path, sources: Callable[[], list[str]]
) -> None:
    """What one network sends above its rate is dropped before it costs anything."""
    limits = f'[flows]\nhalf_open = 64\npins = "{pins}"\n[limits]\nrate_per_prefix = 100\n'
    gateway = Gateway(lab, tmp_path, BASE + limits)
    add_other_client(lab)
    with connect_as(lab, OTHER_CLIENT) as established:
        echo(established)
        with Flood(lab, syns(lab, sources(), ENTIRE)) as flood:
            for _ in range(HONEST):
                with connect_as(lab, OTHER_CLIENT) as honest:
                    echo(honest)
            say(established, 100)
        assert flood.sent > ENTIRE
        dropped = program_counters(pins)
        assert dropped["limited_client"] > 0
        assert dropped["unattended"] == 0  # so none went by the relay
        wait_until(lambda: metrics(lab)["faith_flows"] <= 64 + 1, 5, "half-open flows in bounds")
        assert refused(gateway, "too many new sessions of the client")
        say(established)


@pytest.mark.usefixtures("talker", "silence")
def test_a_flood_of_many_networks_does_not_stop_the_heart(
    lab: ThreeHosts, tmp_path: Path, pins: Path
) -> None:
    """Turns are bounded: who decides also tells the program that somebody does."""
    Gateway(lab, tmp_path, f'{BASE}[flows]\nhalf_open = 512\npins = "{pins}"\n')
    networks = [f"{FLOOD}:{number:x}::1" for number in range(256)]
    with connect(lab) as established:
        echo(established)
        with Flood(lab, syns(lab, networks, ENTIRE)):
            time.sleep(2.5)  # time: of the heart, which must beat once a second
            say(established, 100)
        assert program_counters(pins)["unattended"] == 0
        assert metrics(lab)["faith_flows"] <= 512 + 1
        with connect(lab) as honest:
            echo(honest)


@pytest.mark.usefixtures("talker")
def test_the_oldest_half_open_flow_ends_for_a_new_one(
    lab: ThreeHosts, tmp_path: Path, silence: Counter
) -> None:
    gateway = Gateway(lab, tmp_path, f"{BASE}[flows]\nhalf_open = 8\n")
    with connect(lab) as established:
        echo(established)
        send_raw(lab.client, syns(lab, [CLIENT], 20))
        gateway.wait_said("end=displaced", 12)
        wait_until(lambda: silence.packets == 20, 5, "all SYNs at the server")
        listed = sessions(lab)
        assert [one["stage"] for one in listed].count("opening") == 8
        assert gateway.said.count("end=displaced") == 12
        say(established)


@pytest.mark.usefixtures("talker")
def test_a_client_has_a_share_of_the_table(lab: ThreeHosts, tmp_path: Path) -> None:
    gateway = Gateway(lab, tmp_path, f"{BASE}[flows]\nlimit = 8\n")
    add_other_client(lab)
    with contextlib.ExitStack() as stack:

        def fill(client: str) -> int:
            for count in itertools.count():
                try:
                    stack.enter_context(connect_as(lab, client))
                except ConnectionRefusedError:
                    return count
            return -1

        assert [fill(CLIENT), fill(OTHER_CLIENT), fill(CLIENT)] == [4, 2, 0]
        wait_until(lambda: refused(gateway, "over the client's share") == 3, 5, "three refusals")
        assert len(sessions(lab)) == 6


@pytest.mark.usefixtures("talker")
def test_a_full_table_refuses(lab: ThreeHosts, tmp_path: Path) -> None:
    gateway = Gateway(lab, tmp_path, f"{BASE}[flows]\nlimit = 1\n")
    with connect(lab) as only:
        echo(only)
        with pytest.raises(ConnectionRefusedError):
            connect(lab)
        wait_until(lambda: refused(gateway, "too many sessions") == 1, 5, "a refusal")
        say(only)
    gateway.wait_said("end=closed")
    with connect(lab) as next_one:
        echo(next_one)


def test_a_syn_that_is_sent_twice_at_once_is_one_flow(
    lab: ThreeHosts, tmp_path: Path, silence: Counter
) -> None:
    gateway = Gateway(lab, tmp_path, BASE)
    pid = brain(gateway)
    packet = Segment(40000, FLOOD_PORT, SYN, source=CLIENT, to=lab.mapped()).ipv6()
    os.kill(pid, signal.SIGSTOP)
    send_raw(lab.client, [packet, packet])
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: silence.packets == 2, 5, "both SYNs at the server")
    assert len(sessions(lab)) == 1
    found = gateway.counted("faith_flow_syns_total")
    assert (found["new"], found["repeated"]) == (1, 1)


# -- forgeries -----------------------------------------------------------------------------------


def test_a_damaged_syn_is_not_repaired(lab: ThreeHosts, tmp_path: Path, silence: Counter) -> None:
    gateway = Gateway(lab, tmp_path, BASE)
    damaged = []
    for packet in syns(lab, [CLIENT], 100):
        bit = random.Random(packet).randrange(16 * 8)  # of the header, not of its ports
        at = 44 + bit // 8
        if at in (52, 53):  # offset and flags: another kind of packet
            at = 46
        damaged.append(packet[:at] + bytes([packet[at] ^ 1 << bit % 8]) + packet[at + 1 :])
    send_raw(lab.client, damaged)
    wait_until(
        lambda: gateway.counted("faith_flow_syns_total")["damaged"] == len(damaged), 5, "all SYNs"
    )
    assert not silence.packets
    assert metrics(lab)["faith_flows"] == 0


def test_blind_resets_end_nothing(lab: ThreeHosts, tmp_path: Path, pins: Path) -> None:
    Gateway(lab, tmp_path, f'{BASE}[flows]\npins = "{pins}"\n')
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        at_client, at_server = numbers(client), numbers(peer)
        port, (source, source_port) = client.getsockname()[1], peer.getpeername()
        for away in (1 << 20, 1 << 30, 1 << 31, 3 << 30):
            from_client = Segment(port, PORT, RST, source=CLIENT, to=lab.mapped())
            from_server = Segment(PORT, source_port, RST, source=SERVER, to=source)
            number = at_client[0] + away & 0xFFFFFFFF
            send_raw(lab.client, [from_client._replace(sequence=number).ipv6()])
            number = at_server[0] + away & 0xFFFFFFFF
            send_raw(lab.server, [from_server._replace(sequence=number).ipv4()])
        wait_until(lambda: program_counters(pins)["suspect"] == 8, 5, "eight resets")
        (listed,) = sessions(lab)
        assert listed["stage"] == "suspect"
        client.sendall(b"x")
        assert peer.recv(1) == b"x"
        (listed,) = sessions(lab)
        assert listed["stage"] == "established"


# -- ports ---------------------------------------------------------------------------------------


def test_a_port_is_used_again_within_the_servers_time_wait(
    lab: ThreeHosts, tmp_path: Path, talker: Talker
) -> None:
    """By another client: its SYN meets TIME_WAIT, and gets through."""
    add_own(lab)
    add_other_client(lab)
    gateway = Gateway(lab, tmp_path, f'{BASE}{FROM_OWN}ports = "5000"\n')
    for number in range(6):
        if number:
            assert connections.count(lab.server, TIME_WAIT, port=5000)
        down(connect_as(lab, (CLIENT, OTHER_CLIENT)[number % 2]), 10)
        gateway.wait_said("end=closed", number + 1)
    assert talker.peers == [(OWN, 5000)] * 6


def test_a_client_that_uses_its_port_again_has_another_flow(
    lab: ThreeHosts, tmp_path: Path, talker: Talker
) -> None:
    """What the gateway does late about the first one does not touch the second."""
    gateway = Gateway(lab, tmp_path, BASE)
    down(connect_as(lab, CLIENT, from_port=40000), 1000, late=10)
    with connect_as(lab, CLIENT, from_port=40000) as again:
        echo(again)
        first, second = talker.peers
        assert first == second
        # As late as the record of a flow is written, and then some.
        with connect(lab) as other:
            echo(other)
        gateway.wait_said("end=closed", 2)
        assert "sent=10 received=5" in gateway.said.splitlines()[-1]  # the other one
        (listed,) = sessions(lab)
        assert listed["client"].endswith(":40000")
        say(again)
    gateway.wait_said("end=closed", 3)
    records = [line for line in gateway.said.splitlines() if "end=closed" in line]
    assert "sent=20 received=1000" in records[0]
    assert "sent=15 received=10" in records[2]
