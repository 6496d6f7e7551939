"""Everything at once for a long time, by either path: nothing is lost, and nothing grows.

FAITH_SOAK_SECONDS says how long; the output has the figures.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from faith.cli import control_client, sessions, upgrade
from faith.daemon.config.settings import KERNEL, RELAY
from faith.lab import wait_until
from tests.netns import abuse, load
from tests.netns.crowd import Actor, Clients, Stays, Visits
from tests.netns.datagrams import AGAIN, Askers, Flow, Flows
from tests.netns.endurance import (
    BY_MAP,
    CHANGES,
    ENDED,
    FAITH_TOML,
    HOST,
    MAPPED,
    SILENT_PORT,
    STAYING_PORT_BY_MAP,
    flowing,
    halt,
    is_over,
    serving,
    sessions_of,
    ways,
)
from tests.netns.footprint import FLOWS, Footprint, asking
from tests.netns.gateway import Gateway, metrics, reread
from tests.netns.outcomes import NO_PORTS, Death, Outcome, Tally
from tests.netns.way import inward, outward

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from faith.lab import ThreeHosts

SECONDS = {
    path: float(os.environ.get("FAITH_SOAK_SECONDS", usual))
    for path, usual in ((RELAY, "120"), (KERNEL, "60"))
}
"""How long the load lasts: docs/faults.rst has the figures of half an hour."""
pytestmark = [pytest.mark.netns, pytest.mark.timeout(max(SECONDS.values()) + 180)]

KILL, UPGRADE, STEADY = 0.12, 0.2, 0.4
"""At which shares of the time a worker is killed, the program upgraded, and memory compared."""
RATE, RATE_BY_MAP = 12, 3
"""Short sessions: new ones a second."""
STAYING, STAYING_BY_MAP = 24, 6
"""Sessions that are there from the beginning to the end, a sixth of them idle."""
DRIFT = 1 << 20
"""Bytes that a process may have more at the end: docs/faults.rst says why."""
STOCK = 3
"""Sockets by which a worker's stock for FTP may be smaller than when it is whole."""
PAST = 0
"""Descriptors by which each has the numbers of the program before; the supervisor has one more."""
REFUSED = "faith_refusals_total", "faith_flow_refusals_total"
SENT_ON = {
    "datagrams": ['faith_udp_datagrams_total{to="v4"}', 'faith_udp_datagrams_total{to="v6"}'],
    "pings": ["faith_ping_requests_total", "faith_ping_replies_total"],
}
"""What counts questions of such a kind and their answers."""
NOT_SENT_ON = tuple(
    f"faith_{name}_total"
    for name in ("udp_lost", "udp_refusals", "udp_errors", "ping_refusals", "ping_errors")
)
EXPECTED = (
    "end=",
    "mapped networks: 1",
    "mapped networks are steered by ",
    "serving ",
    "read again; ",
    "; everything stays as it was",
    "upgrading: trying the new program",
    "upgraded to program 2",
    "was killed by SIGKILL; another takes its place",
)


class Operator(Actor):
    """Asks, reloads, ends sessions, kills a worker and upgrades the program.

    On the kernel path it kills the process that decides about flows, too: they go on.
    """

    def __init__(self, lab: ThreeHosts, faithd: Gateway, tally: Tally, path: str) -> None:
        super().__init__()
        self._text, self._seconds = FAITH_TOML % path, SECONDS[path]
        self.upgraded = threading.Event()
        self.commands = 0
        self._lab = lab
        self._faithd = faithd
        self._tally = tally

    def _work(self) -> None:
        begun = time.monotonic()
        due = [(KILL, self._kill), (UPGRADE, self._upgrade)]
        while not self._over.wait(2):
            if due and time.monotonic() - begun >= due[0][0] * self._seconds:
                due.pop(0)[1]()
            self._reload(CHANGES[self.commands % len(CHANGES)])
            self._end_a_session()
            self.commands += 1
        assert not due

    def _reload(self, change: str) -> None:
        says = "everything stays as it was" if "idel" in change else "read again"
        reread(self._faithd, self._text + change, says)

    def _end_a_session(self) -> None:
        """Find it by its client, and kill it by its name."""
        path = self._faithd.control
        with self._lab.client.inside():
            sock = socket.create_connection((self._lab.mapped(), SILENT_PORT), 5)
        with sock:
            mine = sock.getsockname()[1], SILENT_PORT

            def found() -> list[sessions.Session]:
                return [one for one in sessions.read(path) if _ports(one) == mine]

            wait_until(lambda: len(found()) == 1, 5, "the session to be listed")
            control_client.ask(path, "kill", session=found()[0].id)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        assert control_client.ask(path, "status")["pid"] == self._faithd.process.pid

    def _kill(self) -> None:
        """Halt the worker first, so that it is known which sessions are its own."""
        named = Footprint(self._lab, self._faithd).processes()
        if FLOWS in named:
            os.kill(named[FLOWS], signal.SIGKILL)
            self._faithd.wait_said("another takes its place")
        workers = named["worker 1"], named["worker 2"]
        pid = max(workers, key=lambda one: len(sessions_of(self._lab, one)))
        since = time.monotonic()
        halt(pid)
        had = sessions_of(self._lab, pid)
        self._tally.deaths.append(Death(since, had, killed=time.monotonic()))
        os.kill(pid, signal.SIGKILL)
        self._faithd.wait_said("another takes its place", 1 + (FLOWS in named))
        wait_until(lambda: metrics(self._lab)["faith_workers"] == 2, 10, "another worker")

    def _upgrade(self) -> None:
        self._faithd.write(self._text)  # the last one may have had the mistake
        with self._lab.gateway.inside():
            assert len(list(upgrade.upgrade([self._faithd.process.pid]))) == 1
        self._faithd.wait_said("upgraded to program 2", seconds=30)
        self.upgraded.set()


def _ports(session: sessions.Session) -> tuple[int, int]:
    client, to = (sessions.host_and_port(one)[1] for one in (session.client, session.mapped))
    return client, to


async def play(
    lab: ThreeHosts, tally: Tally, visits: Sequence[Visits], operator: Operator, seconds: float
) -> None:
    """Short sessions, and some that stay: new ones after the upgrade for those that were cut."""
    stays = Stays(tally)
    way, by_map = outward(lab, load.PORT), inward(lab, MAPPED, HOST, STAYING_PORT_BY_MAP)

    async def replace_the_cut(group: asyncio.TaskGroup) -> None:
        await asyncio.to_thread(operator.upgraded.wait, seconds)
        await stays.begin(way, STAYING // 2, group)

    async with asyncio.timeout(seconds + 90), asyncio.TaskGroup() as group:
        await stays.begin(way, STAYING, group)
        await stays.begin(by_map, STAYING_BY_MAP, group)
        group.create_task(replace_the_cut(group))
        await asyncio.gather(*(some.run_for(seconds) for some in visits))
        stays.end()
    print(f"{stays.moved / 1e6:,.0f} MB in sessions that stayed")


@pytest.fixture
def flows(lab: ThreeHosts) -> Iterator[list[Flow]]:
    with serving(lab), flowing(lab) as flows:
        yield flows


def test_nothing_is_lost_and_nothing_grows(
    lab: ThreeHosts, tmp_path: Path, flows: list[Flow], path: str
) -> None:
    tally = Tally()
    faithd = Gateway(lab, tmp_path, FAITH_TOML % path)
    footprint = Footprint(lab, faithd)
    clients = Clients(lab, tally)
    operator = Operator(lab, faithd, tally, path)
    clients.transfer(1, Outcome("", 0))  # the first makes what later ones share
    descriptors = footprint.at_rest()
    begun = time.monotonic()
    clients.repeat("FTP visits", clients.transfer, 0.5)
    clients.repeat("FTP visits", clients.transfer, 0.5)
    clients.repeat("questions", clients.question, 0.2)
    askers = Askers(ways(lab))
    clients.repeat("datagrams", askers.datagram, 0.15)
    clients.repeat("pings", askers.ping, 0.15)
    clients.repeat("datagrams of flows that stayed", Flows(flows).ask, 0.3)
    clients.repeat("looks", lambda number, outcome: footprint.look(), 1)
    operator.start()
    by_map = inward(lab, MAPPED, HOST, BY_MAP)
    visits = [
        Visits(outward(lab, abuse.PORT), tally, RATE),
        Visits(by_map, tally, RATE_BY_MAP, "sessions by the map"),
    ]
    try:
        with visits[0].listener, visits[1].listener:
            asyncio.run(play(lab, tally, visits, operator, SECONDS[path]))
    finally:
        clients.stop()
        operator.stop()
    print(f"{tally.text()}; {operator.commands} rounds of commands")
    assert tally.lost() == []
    unexpected = [line for line in faithd.said.splitlines() if not any(w in line for w in EXPECTED)]
    assert unexpected == []
    wait_until(lambda: is_over(metrics(lab)), 15, "the end of every session")
    told = metrics(lab)
    check_counted(told, tally, operator)
    check_datagrams(told, tally)
    check_ports(lab, flows)
    wait_until(lambda: metrics(lab)["faith_udp_flows"] == 0, 15, "the end of the flows")
    wait_until(lambda: not asking(lab), 30, "the end of the ports that the name server asked from")
    check_footprint(footprint, descriptors, begun, SECONDS[path])
    assert faithd.stop(20) == 0


def check_counted(told: dict[str, float], tally: Tally, operator: Operator) -> None:
    """Every session is counted once, by whichever program and process."""
    ended = sum(number for name, number in told.items() if name.startswith(ENDED))
    ftp = sum(n for name, n in told.items() if name.startswith("faith_ftp_connections_total"))
    others = [one for one in tally.outcomes if one.ports != NO_PORTS and one.ports[1] != 21]
    assert ended == len(others) + operator.commands + ftp
    assert not any(n for name, n in told.items() if name.startswith(REFUSED))
    victims = [one for one in tally.outcomes if tally.took(one)]
    assert told['faith_sessions_total{end="worker died"}'] >= len(victims) > 0


def check_datagrams(told: dict[str, float], tally: Tally) -> None:
    """Each has gone on once, and its answer; of what was asked twice, either may be lost once."""
    for kind, names in SENT_ON.items():
        outcomes = [one for one in tally.outcomes if one.what.startswith(kind)]
        again = sum(one.what.endswith(AGAIN) for one in outcomes)
        for name in names:
            counted = sum(number for key, number in told.items() if key.startswith(name))
            assert 0 <= counted - len(outcomes) <= again, name
    assert not any(number for name, number in told.items() if name.startswith(NOT_SENT_ON))


def check_ports(lab: ThreeHosts, flows: list[Flow]) -> None:
    """Each was seen with one port from its beginning to its end; by a map, with its own."""
    assert [len(flow.sources) for flow in flows] == [1] * len(flows)
    *_, of_mapped, by_map = flows
    for flow, address in (of_mapped, MAPPED), (by_map, lab.mapped()):
        assert flow.sources == {(address, flow.line.sock.getsockname()[1])}


def check_footprint(
    footprint: Footprint, descriptors: dict[str, int], begun: float, seconds: float
) -> None:
    """No process has more descriptors than at first, nor, once it is warm, much more memory."""
    growth = footprint.growth(begun + STEADY * seconds, begun + seconds)
    for name, (first, last) in growth.items():
        print(f"{name}: {first / 1024:,.0f} KiB at first, {last / 1024:,.0f} KiB at last")
    after = footprint.at_rest()
    assert after.keys() == descriptors.keys()
    workers = [name for name in descriptors if "worker" in name]
    whole = max(descriptors[name] for name in workers)  # the other has served the first visit
    expected = descriptors | dict.fromkeys(workers, whole)
    for name, count in after.items():
        fewer = expected[name] + PAST + (name == "supervisor") - count
        assert 0 <= fewer <= (STOCK if name in workers else 0), name
    assert all(last - first <= DRIFT for first, last in growth.values()), growth
