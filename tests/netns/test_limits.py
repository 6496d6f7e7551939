"""Limits that hold for all workers together, and what a client sees of them."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V6
from faith.relay.tcp.admission import Limits
from tests.netns.service import answers, connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import ThreeHosts
    from tests.netns.conftest import Start

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("reserved", "echo")]

PORT = "2323"
METRICS = "[::1]:9064"


@pytest.fixture
def ask_metrics(lab: ThreeHosts, need: Callable[[str], str]) -> Callable[[], str]:
    """Return a function that returns the page of the metrics."""
    words = need("curl"), "--silent", "--globoff", f"http://{METRICS}/metrics"
    return lambda: lab.gateway.run(words).stdout


def let_in(lab: ThreeHosts, stack: contextlib.ExitStack, most: int, to: str = "") -> int:
    """How many of *most* connections, which stay open, are relayed, or served by the gateway."""
    count = 0
    for _ in range(most):
        with contextlib.suppress(ConnectionResetError):
            session = stack.enter_context(connect(lab, to))
            count += answers(session)
    return count


def test_a_client_has_so_many_sessions_of_all_workers(lab: ThreeHosts, start: Start) -> None:
    faithd = start("--limit", "sessions_per_client=7", PORT)
    with contextlib.ExitStack() as stack:
        assert let_in(lab, stack, 12) == 7
    faithd.wait_said('end="too many sessions of the client"', 5)
    faithd.wait_said("end=closed", 7)
    with contextlib.ExitStack() as stack:
        assert let_in(lab, stack, 8) == 7, "when they are over there is room again"


def come_from(lab: ThreeHosts, address: str, to: str = "") -> socket.socket:
    where = to or lab.mapped(), int(PORT)
    return lab.client.call(socket.create_connection, where, 5, (address, 0))


def add_address(lab: ThreeHosts) -> str:
    """Give the client another address, and return it."""
    other = CLIENT + "2"
    device = json.loads(lab.client.run(["ip", "-j", "route", "get", GATEWAY_V6]).stdout)[0]["dev"]
    lab.client.run(["ip", "-6", "address", "add", f"{other}/64", "dev", device, "nodad"])
    return other


def test_another_address_of_the_same_network_is_of_no_use(lab: ThreeHosts, start: Start) -> None:
    start("--limit", "sessions_per_prefix=4", PORT)
    other = add_address(lab)
    with contextlib.ExitStack() as stack:
        assert let_in(lab, stack, 4) == 4
        with pytest.raises(ConnectionResetError), come_from(lab, other) as session:
            session.recv(1)


def test_new_sessions_have_a_rate(lab: ThreeHosts, start: Start) -> None:
    start("--limit", "rate_per_client=2", "--limit", "burst=3", PORT)
    with contextlib.ExitStack() as stack:
        assert let_in(lab, stack, 10) in (6, 7)
        time.sleep(1.5)  # time: the rate lets some more in
        assert let_in(lab, stack, 10) in (2, 3, 4)


def test_a_dead_workers_sessions_are_no_longer_counted(lab: ThreeHosts, start: Start) -> None:
    faithd = start("--limit", "sessions=6", PORT)
    with contextlib.ExitStack() as stack:
        assert let_in(lab, stack, 7) == 6
        for worker in faithd.workers:
            lab.gateway.run(["kill", "-KILL", str(worker)])
        faithd.wait_said("another takes its place", 2)
        assert let_in(lab, stack, 7) == 6


def test_records_can_be_few_and_discreet(lab: ThreeHosts, start: Start) -> None:
    sampled = "--record-sample", "5", "--record-no-destinations"
    faithd = start("--limit", "sessions=3", "--record-refusals", "2", *sampled, PORT)
    for _ in range(20):
        with connect(lab) as session:
            assert answers(session)
    faithd.wait_said("end=closed", 2)
    with contextlib.ExitStack() as stack:
        assert let_in(lab, stack, 30) == 3
    faithd.wait_said(f"more connections of {CLIENT} were refused: too many sessions")
    assert faithd.said.count("end=closed") <= 4
    assert faithd.said.count('end="too many sessions"') <= 4
    records = [line for line in faithd.said.splitlines() if "client=" in line]
    assert not [line for line in records if lab.mapped() in line or "server=" in line]


def test_a_session_has_a_lifetime(lab: ThreeHosts, start: Start) -> None:
    faithd = start("--lifetime", "0.5", PORT)
    started = time.monotonic()
    with connect(lab) as session, contextlib.suppress(ConnectionResetError):
        while answers(session):
            time.sleep(0.05)  # time: it is in use all its life
    assert 0.5 <= time.monotonic() - started < 2
    faithd.wait_said("end=lifetime")


# -- local servers -------------------------------------------------------------------------------

CAT = "/bin/cat"
"""A local server that says what it hears."""


def test_local_servers_count_as_sessions_of_their_client(lab: ThreeHosts, start: Start) -> None:
    faithd = start("--limit", "sessions_per_client=5", PORT, CAT)
    with contextlib.ExitStack() as stack:
        assert let_in(lab, stack, 12, GATEWAY_V6) == 5
        assert let_in(lab, stack, 1) == 0, "nor may it have a session"
        assert faithd.said.count(f"executing local {CAT}") == 5
        faithd.wait_said(f"mapped=[{GATEWAY_V6}]:{PORT} ", 7)
        faithd.wait_said('end="too many sessions of the client"', 8)
        faithd.signal(signal.SIGUSR2)
        faithd.wait_said("upgraded to program 2", seconds=30)
        assert let_in(lab, stack, 1) == 0, "the next program knows of them"
    wait_until(lambda: len(faithd.workers) == 2, 5, "all of them being reaped")
    with contextlib.ExitStack() as stack:
        assert let_in(lab, stack, 6, GATEWAY_V6) == 5


def test_local_servers_have_the_rate_of_sessions(lab: ThreeHosts, start: Start) -> None:
    faithd = start("--limit", "rate_per_client=1", "--limit", "burst=3", PORT, CAT)
    with contextlib.ExitStack() as stack:
        assert let_in(lab, stack, 12, GATEWAY_V6) in (3, 4)
    faithd.wait_said('end="too many new sessions of the client"', 8)


def test_a_client_has_its_share_of_the_local_servers(
    lab: ThreeHosts, start: Start, ask_metrics: Callable[[], str]
) -> None:
    limits = "--limit", "local_servers=8", "--limit", "prefix_length=128"
    faithd = start("--metrics", METRICS, *limits, PORT, CAT)
    with contextlib.ExitStack() as stack:
        assert let_in(lab, stack, 10, GATEWAY_V6) == 4
        session = stack.enter_context(come_from(lab, add_address(lab), GATEWAY_V6))
        assert answers(session)
        faithd.wait_said('end="over the client\'s share"', 6)
        assert 'faith_refusals_total{reason="over the client\'s share"} 6.0' in ask_metrics()
        assert let_in(lab, stack, 3) == 3, "relayed sessions are another matter"


def test_there_are_so_many_local_servers_by_default(lab: ThreeHosts, start: Start) -> None:
    start(PORT, CAT)
    with contextlib.ExitStack() as stack:
        assert let_in(lab, stack, 140, GATEWAY_V6) == Limits().local_servers // 2
