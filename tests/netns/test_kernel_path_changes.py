"""Changes under the flows of the kernel path: of routes, interfaces and links, and of daemons."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from faith.flow.brain import ATTENDED
from faith.kernel.flow.layout import ESTABLISHED, SYNACK
from faith.lab import wait_until
from faith.lab.topology import GATEWAY_V6
from tests.netns import connections
from tests.netns.flow_lab import (
    BASE,
    FAR_SERVER,
    GATEWAY_FAR_V4,
    OWN,
    ROUTER4,
    Errors,
    add_own,
    brain,
    open_maps,
    program_counters,
    routed,
    sessions,
    set_offloads,
    why_not,
)
from tests.netns.flow_talk import Talker, both, echo, hear, octets, say
from tests.netns.flows import packed, slot
from tests.netns.gateway import Gateway, metrics
from tests.netns.service import connect, connect_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.kernel.flow.flow_maps import FlowMaps
    from faith.lab import Network, ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

LENGTH = 3_000_000
REFUSED = 111
MANY, PORTS = 100_000, 60_000
AWAY = "2001:db8:9::2"


@pytest.fixture
def talker(lab: ThreeHosts) -> Iterator[Talker]:
    with contextlib.closing(Talker(lab.server)) as made:
        yield made


# -- routes and interfaces -----------------------------------------------------------------------


def test_a_route_that_moves_takes_its_flows_along(network: Network, tmp_path: Path) -> None:
    """To another interface, when the link that they went by is down; and back again."""
    far = routed(network)
    detour = network.host("router5")
    network.link(far.gateway, detour, ["203.0.114.1/24"], ["203.0.114.2/24"])
    network.link(detour, far.far_server, ["198.51.101.1/24"], ["198.51.101.2/24"])
    detour.sysctl("net.ipv4.conf.all.forwarding", 1)
    detour.links.add_route(f"{FAR_SERVER}/32", "198.51.101.2")
    detour.links.add_route(f"{GATEWAY_FAR_V4}/32", "203.0.114.1")
    Gateway(far, tmp_path, BASE)
    ways = (
        (far.router4, ROUTER4, "198.51.100.1"),
        (detour, "203.0.114.2", "198.51.101.1"),
    )
    with contextlib.closing(Talker(far.far_server)), far.connect() as client:
        echo(client)
        for (before, *_), (by, from_gateway, from_server) in (ways, ways[::-1]):
            by.run(["ip", "link", "set", "to-gateway", "up"])
            wait_until(lambda by=by: by.links.is_up("to-gateway"), 5, "the link")  # type: ignore[misc]
            for host, destination, via in (
                (far.gateway, "198.51.100.0/24", from_gateway),
                (far.far_server, "default", from_server),
            ):
                host.run(["ip", "route", "replace", destination, "via", via])
            before.run(["ip", "link", "set", "to-gateway", "down"])
            say(client)
            with far.connect() as later:
                echo(later)


def test_a_link_that_becomes_narrow_is_followed(
    lab: ThreeHosts, tmp_path: Path, talker: Talker
) -> None:
    """Packets of the old size are not put on it."""
    set_offloads(lab.client, "to-gateway", "tso", "gso")
    set_offloads(lab.gateway, "to-client", "gro")
    Gateway(lab, tmp_path, BASE)
    with connect(lab) as client, Errors(lab.client) as errors:
        echo(client)
        for host, device in ((lab.gateway, "to-server"), (lab.server, "to-gateway")):
            host.run(["ip", "link", "set", device, "mtu", "1280"])
        text = octets(100_000)
        client.sendall(text)
        assert hear(client, len(text)) == text
        assert errors.next() == (GATEWAY_V6, 2, 0, 1300)
        both(lambda: connect(lab), LENGTH)
    assert not talker.failed


def test_an_interface_that_comes_has_a_kernel_path(
    lab: ThreeHosts, network: Network, tmp_path: Path, talker: Talker
) -> None:
    """And one that goes takes only its own flows along."""
    Gateway(lab, tmp_path, BASE)
    with connect(lab) as client:
        echo(client)
        guest = network.host("guest")
        network.link(guest, lab.gateway, ["2001:db8:8::2/64"], ["2001:db8:8::1/64"])
        guest.links.add_route("default", "2001:db8:8::1")

        def by_the_kernel_path() -> bool:
            with connect_from(guest, lab.mapped()) as connection:
                echo(connection)
                return any(
                    one["id"].startswith("k") and one["client"].startswith("[2001:db8:8::2]")
                    for one in sessions(lab)
                )

        wait_until(by_the_kernel_path, 5, "a flow by the new interface")
        lab.gateway.run(["ip", "link", "delete", "to-guest"])
        say(client, 10)
        with connect(lab) as later:
            echo(later)
    assert not talker.failed


# -- daemons -------------------------------------------------------------------------------------


def kill(gateway: Gateway) -> None:
    """Kill every process of a daemon."""
    os.killpg(gateway.process.pid, signal.SIGKILL)
    gateway.process.wait(5)


def kill_first(gateway: Gateway) -> None:
    """Kill the first process of a daemon, whose others end then."""
    gateway.process.kill()
    gateway.process.wait(5)


def start(lab: ThreeHosts, directory: Path, text: str) -> Gateway:
    directory.mkdir()
    return Gateway(lab, directory, text)


@pytest.mark.usefixtures("talker")
@pytest.mark.parametrize("kill", [kill, kill_first])
def test_flows_outlive_a_daemon_that_is_killed(
    lab: ThreeHosts, tmp_path: Path, pins: Path, kill: Callable[[Gateway], None]
) -> None:
    """And the next daemon takes them over, with their records and what the program has counted."""
    text = f'{BASE}[flows]\npins = "{pins}"\n'
    first = start(lab, tmp_path / "first", text)
    with contextlib.ExitStack() as stack:
        flows = [stack.enter_context(connect(lab)) for _ in range(50)]
        for flow in flows:
            echo(flow)
        kill(first)
        for flow in flows:
            say(flow)
        wait_until(lambda: why_not(lab) == REFUSED, ATTENDED / 1e9 + 0.5, "refusal")
        flows.pop().close()  # while nobody sees it
        for flow in flows:
            say(flow)
        upcalls = program_counters(pins)["upcalls"]
        assert upcalls >= 50

        second = start(lab, tmp_path / "second", text)
        wait_until(lambda: len(sessions(lab)) == 49, 5, "the flows being known to the next daemon")
        assert program_counters(pins)["upcalls"] == upcalls
        for flow in flows:
            say(flow)
        second.wait_said("end=closed")
        assert "sent=15 received=10" in second.said
        with connect(lab) as later:
            echo(later)
            assert len(sessions(lab)) == 50
    second.wait_said("end=closed", 51, seconds=10)
    assert second.said.count("sent=25 received=20") == 49
    assert second.stop() == 0
    assert not [*pins.glob("faith-*")]


@pytest.mark.usefixtures("talker")
def test_without_a_place_to_keep_them_flows_end_with_the_daemon(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    gateway = start(lab, tmp_path / "first", f'{BASE}[flows]\npins = "{tmp_path}"\n')
    with connect(lab) as flow:
        echo(flow)
        kill(gateway)
        with pytest.raises(ConnectionResetError):
            say(flow)
        assert why_not(lab) == REFUSED
    second = start(lab, tmp_path / "second", BASE)
    with connect(lab) as flow:
        echo(flow)
    second.wait_said("end=closed")


def hang(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def die(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("talker")
@pytest.mark.parametrize("stop", [hang, die])
def test_what_is_relayed_meanwhile_is_no_flow(
    lab: ThreeHosts, tmp_path: Path, stop: Callable[[int], None]
) -> None:
    """The first SYN waits for who decides; if the second has been the relay's, it is forgotten."""
    gateway = Gateway(lab, tmp_path, BASE)
    pid = brain(gateway)
    wait_until(lambda: connections.is_asleep(pid), 5, "the process at rest")
    stop(pid)
    with connect(lab) as relayed:
        echo(relayed)
        if stop is hang:
            os.kill(pid, signal.SIGCONT)
        with connect(lab) as later:
            echo(later)
        say(relayed)
        port = f":{relayed.getsockname()[1]}"
        assert len([one for one in sessions(lab) if one["client"].endswith(port)]) == 1
    gateway.wait_said("end=closed", 2)


@pytest.mark.usefixtures("talker")
def test_many_flows_are_taken_over(lab: ThreeHosts, tmp_path: Path, pins: Path) -> None:
    text = f'{BASE}[flows]\nlimit = 131072\npins = "{pins}"\n'
    add_own(lab)
    first = start(lab, tmp_path / "first", text)
    with connect(lab) as client:
        echo(client)
        kill(first)
        with open_maps(pins) as maps:
            enter_many(lab, maps)
        second = start(lab, tmp_path / "second", text)
        wait_until(lambda: metrics(lab)["faith_flows"] == MANY + 1, 30, "all flows")
        say(client)
        with connect(lab) as later:
            echo(later)
            wait_until(lambda: metrics(lab)["faith_flows"] == MANY + 2, 5, "one more")
    second.wait_said("end=closed", 2, seconds=20)
    kill(second)  # or it would reset them all


def enter_many(lab: ThreeHosts, maps: FlowMaps) -> None:
    """Enter established flows of a client that is away, beside those that are there."""
    oif4, oif6 = (
        lab.gateway.call(socket.if_nametoindex, f"to-{end}") for end in ("server", "client")
    )
    like, now = slot(oif4, oif6, client=AWAY, source=OWN), time.monotonic_ns()
    side = like.from_client._replace(last=now)
    like = like._replace(
        state=SYNACK | ESTABLISHED, started=now, from_client=side, from_server=side
    )
    entries = []
    for number in range(MANY):
        server = packed(f"192.0.2.{100 + number // PORTS}")
        mapped, port = like.mapped[:12] + server, 1024 + number % PORTS
        one = like._replace(
            mapped=mapped,
            server=server,
            source_port=port,
            client_port=port,
            generation=number + 100,
        )
        maps.write(number + 100, one)
        entries.append((one.key6, one.key4, number + 100))
    maps.insert(entries)
