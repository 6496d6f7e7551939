"""Everything that hosts, firewalls and kills do to a gateway, for a long time: the rest goes on.

FAITH_SIEGE_SECONDS says how long, FAITH_SIEGE_SEED in which order, and FAITH_SIEGE_PATH by which
path, or the seed does; the output has the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from faith.daemon.config.settings import KERNEL, RELAY
from faith.daemon.observe.message_ids import MESSAGE_IDS, SESSION_END, SESSION_START
from faith.lab import wait_until
from faith.lab.topology import GATEWAY_V4, GATEWAY_V6, SERVER
from tests.netns import abuse, load
from tests.netns.besiegers import (
    COMES,
    CONTAINER,
    FROM_POOL,
    GOES,
    PATIENCE,
    PUBLISHED,
    SUPERVISOR,
    TOML,
    Host,
    Killer,
    Pauser,
)
from tests.netns.crowd import Actor, Clients, Stays, Visits
from tests.netns.datagrams import Askers, Flow, Flows
from tests.netns.endurance import (
    BY_MAP,
    ECHO,
    ENDED,
    HOST,
    MAPPED,
    STAYING_PORT_BY_MAP,
    flowing,
    is_over,
    serving,
    ways,
)
from tests.netns.gateway import metrics
from tests.netns.managed import Managed
from tests.netns.outcomes import NO_PORTS, Outcome, Tally
from tests.netns.service import Echo, answers
from tests.netns.way import inward, outward

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from faith.lab import ThreeHosts
    from tests.netns.journal import Journal
    from tests.netns.way import Way

SECONDS = float(os.environ.get("FAITH_SIEGE_SECONDS", "90"))
"""How long it lasts: docs/faults.rst has the figures of a long one."""
SEED = int(os.environ.get("FAITH_SIEGE_SEED", random.randrange(1 << 32)))
PATH = os.environ.get("FAITH_SIEGE_PATH", (RELAY, KERNEL)[SEED & 1])
pytestmark = [
    pytest.mark.netns,
    pytest.mark.timeout(SECONDS + 300),
    pytest.mark.usefixtures("real_root"),
]

RATE, RATE_BY_MAP = 8, 2
"""Short sessions: new ones a second."""
STAYING, STAYING_BY_MAP = 18, 6
"""Sessions that last; others take the place of those that are cut."""
EXPECTED = (
    "another takes its place",
    "was killed by SIGKILL",
    "was deleted by another program; reserved it again",
    "was changed by another program; restored it",
    "everything stays as it was",
    "not used as a source until",
    "log line",
)
"""What the log may warn of."""
WARNING = 4
"""The priority of the least that it does."""


async def watch(actors: Sequence[Actor]) -> None:
    """Raise what has gone wrong for one of them."""
    while True:
        for one in actors:
            if one.failure:
                raise one.failure
        await asyncio.sleep(1)  # poll: a failure in a thread


async def play(
    lab: ThreeHosts, tally: Tally, visits: Sequence[Visits], actors: Sequence[Actor]
) -> None:
    """Short sessions, and some that last: new ones for those that are cut."""
    stays = Stays(tally)
    lasting = {
        outward(lab, load.PORT): STAYING,
        inward(lab, MAPPED, HOST, STAYING_PORT_BY_MAP): STAYING_BY_MAP,
    }

    async def fill(way: Way, group: asyncio.TaskGroup) -> None:
        while True:
            if stays.there[way] < lasting[way]:
                with contextlib.suppress(OSError):  # something was killed just now
                    await stays.begin(way, 1, group)
            await asyncio.sleep(0.1)  # time: the pace of clients

    async with asyncio.timeout(SECONDS + 120), asyncio.TaskGroup() as group:
        filling = [group.create_task(fill(way, group)) for way in lasting]
        filling.append(group.create_task(watch(actors)))
        await asyncio.gather(*(some.run_for(SECONDS) for some in visits))
        for one in filling:
            one.cancel()
        await asyncio.gather(*filling, return_exceptions=True)
        stays.end()
    print(f"{stays.moved / 1e6:,.0f} MB in sessions that stayed")


@pytest.fixture
def flows(lab: ThreeHosts) -> Iterator[list[Flow]]:
    lab.gateway.links.add_address("to-server", f"{GOES}/32")
    address = f"{COMES}/64", "dev", "to-gateway", "nodad", "preferred_lft", "0"
    lab.client.run(["ip", "address", "add", *address])  # for who names it, and nobody else
    with serving(lab), flowing(lab) as flows:
        yield flows


@pytest.fixture
def container(lab: ThreeHosts) -> Iterator[list[socket.socket]]:
    """What Docker-like rules lead to; nobody is to come there."""
    with lab.gateway.inside():
        servers = [
            socket.create_server((address, CONTAINER), family=family)
            for address, family in ((GATEWAY_V6, socket.AF_INET6), (GATEWAY_V4, socket.AF_INET))
        ]
    with servers[0], servers[1]:
        yield servers


@pytest.fixture
def text(request: pytest.FixtureRequest) -> str:
    """The file of the gateway."""
    if PATH == RELAY:
        return TOML % PATH
    request.getfixturevalue("bpf_allowed")
    return f'{TOML % PATH}[flows]\npins = "{request.getfixturevalue("pins")}"\n'


@pytest.fixture
def unit(
    lab: ThreeHosts, tmp_path: Path, text: str, journal: Journal, flows: list[Flow]
) -> Iterator[Managed]:
    with contextlib.closing(Managed(lab, tmp_path, text, journal)) as unit:
        yield unit


def test_what_is_not_hit_goes_on(
    lab: ThreeHosts,
    text: str,
    journal: Journal,
    flows: list[Flow],
    unit: Managed,
    container: list[socket.socket],
) -> None:
    print(f"FAITH_SIEGE_SEED={SEED} FAITH_SIEGE_PATH={PATH}")
    by_kernel = PATH == KERNEL
    tally, calm = Tally(), threading.Lock()
    echo, *_ = echoes = [
        Echo(host, port, address)
        for port in (ECHO, PUBLISHED)
        for host, address in ((lab.server, SERVER), (lab.client, HOST))
    ]
    host = Host(unit, tally, journal, echo, calm, SEED, text, flows=by_kernel)
    host.check("the start")
    killer = Killer(unit, tally, calm, SEED, flows=by_kernel)
    actors = host, killer, Pauser(journal)
    clients = begin_clients(lab, tally, flows)
    visits = [
        Visits(outward(lab, abuse.PORT), tally, RATE),
        Visits(inward(lab, MAPPED, HOST, BY_MAP), tally, RATE_BY_MAP, "sessions by the map"),
    ]
    with contextlib.ExitStack() as end:
        for one in echoes:
            end.callback(one.close)
        for some in visits:
            end.enter_context(some.listener)
        end.callback(clients.stop)  # last: who kills waits for a client that is served again
        for actor in actors:
            actor.start()
            end.callback(actor.stop)
        asyncio.run(play(lab, tally, visits, actors))
    print(f"{tally.text()}; killed: {dict(killer.killed)}; steps: {dict(host.steps)}")
    wait_until(lambda: is_over(metrics(lab)), PATIENCE, "the sessions' end")
    wait_until(lambda: metrics(lab)["faith_log_waiting"] == 0, PATIENCE, "the log being written")
    assert unit.stop(PATIENCE) == 0
    lost = tally.lost()
    assert not lost, "\n".join(map(str, lost))
    assert killer.killed.keys() == {*killer.kinds, SUPERVISOR}
    check_evidence(journal, unit.lives, tally)
    for server in container:
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def begin_clients(lab: ThreeHosts, tally: Tally, flows: list[Flow]) -> Clients:
    """Those that do one thing after the other."""
    clients, askers = Clients(lab, tally), Askers(ways(lab))
    clients.repeat("FTP visits", clients.transfer, 0.5)
    clients.repeat("questions", clients.question, 0.2)
    clients.repeat("datagrams", askers.datagram, 0.15)
    clients.repeat("pings", askers.ping, 0.15)
    clients.repeat("datagrams of flows that stayed", Flows(flows).ask, 0.3)
    clients.repeat("scrapes", lambda number, outcome: scrape(lab), 0.5)
    clients.repeat(FROM_POOL, lambda number, outcome: visit(lab, outcome), 0.3)
    return clients


def scrape(lab: ThreeHosts) -> None:
    """Read the metrics."""
    try:
        assert metrics(lab)["faith_workers"] <= 2
    except (ValueError, LookupError) as error:
        raise AssertionError("the answer is cut") from error


def visit(lab: ThreeHosts, outcome: Outcome) -> None:
    """A session of the client whose source address comes and goes."""
    to = lab.mapped(), ECHO
    with lab.client.inside():
        sock = socket.create_connection(to, PATIENCE, (COMES, 0))
    with sock:
        outcome.ports, outcome.connected = (sock.getsockname()[1], ECHO), time.monotonic()
        assert answers(sock), "it has no answer"


def check_evidence(journal: Journal, lives: list[dict[str, float]], tally: Tally) -> None:
    """Every session is in the journal or counted as lost, and nothing else was warned of."""
    ends = recorded(journal, SESSION_END)
    ended = sum(
        number
        for told in lives
        for name, number in told.items()
        if name.startswith(ENDED) and "worker died" not in name
    )
    gone = sum(told["faith_log_lost_total"] + told["faith_log_waiting"] for told in lives)
    at_once = 2 * len(tally.deaths)
    print(f"{ended:,.0f} sessions ended, {ends.total():,} records, {gone:,.0f} lines lost")
    assert -at_once <= ended - ends.total() <= gone + at_once
    whole = [one for one in tally.outcomes if one.ports != NO_PORTS and not tally.took(one)]
    unrecorded = Counter(one.ports for one in whole) - ends
    assert unrecorded.total() <= gone + at_once, unrecorded
    starts = recorded(journal, SESSION_START)
    cut = [one for one in tally.outcomes if one.ports != NO_PORTS and tally.took(one)]
    traceless = Counter(one.ports for one in cut) - starts
    assert traceless.total() <= gone + at_once, traceless
    warned = [
        e for e in journal.entries("_TRANSPORT=journal") if int(e.get("PRIORITY", 6)) <= WARNING
    ]
    said = {one["MESSAGE"] for one in warned if "FAITH_EVENT" not in one}
    assert [text for text in said if not any(word in text for word in EXPECTED)] == []


def recorded(journal: Journal, kind: str) -> Counter[tuple[int, int]]:
    """The ports of the client and of what it went to, of each record of a *kind*."""
    found = journal.entries(f"MESSAGE_ID={MESSAGE_IDS[kind]}")
    return Counter((int(e["FAITH_CLIENT_PORT"]), int(e["FAITH_MAPPED_PORT"])) for e in found)
