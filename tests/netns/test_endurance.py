"""How the long tests know what a kill has taken along."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import PREFIX
from tests.netns.endurance import halt, sessions_of
from tests.netns.footprint import Footprint, connections
from tests.netns.gateway import Gateway, metrics
from tests.netns.outcomes import Death, Outcome, Tally, without_a_route, without_a_source
from tests.netns.service import PORT, Server, connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

TEXT = f"""
workers = 1
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
[metrics]
listen = "[::1]:9064"
"""
FAILURE = AssertionError()


@pytest.fixture
def gateway(lab: ThreeHosts, tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(lab, tmp_path, TEXT)
    yield gateway
    gateway.process.kill()
    gateway.process.wait(5)


@contextlib.contextmanager
def halted(pid: int) -> Iterator[None]:
    halt(pid)
    yield
    os.kill(pid, signal.SIGKILL)


@pytest.mark.netns
def test_a_session_is_known_by_its_server_when_its_client_has_reset_it(
    lab: ThreeHosts, gateway: Gateway
) -> None:
    """The kernel lists no socket that was reset, and the worker still has the client's octets."""
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept():
        ports = client.getsockname()[1], PORT
        with halted(pid := Footprint(lab, gateway).processes()["worker 1"]):
            assert ports in sessions_of(lab, pid)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            wait_until(lambda: ports not in sessions_of(lab, pid), 5, "the reset")
            assert (PORT, server.peer[1]) in sessions_of(lab, pid)


@pytest.mark.netns
def test_whoever_looks_waits_for_no_reader_of_the_metrics(
    lab: ThreeHosts, gateway: Gateway
) -> None:
    def read() -> None:
        with contextlib.suppress(OSError):
            metrics(lab)

    with halted(pid := Footprint(lab, gateway).processes()["metrics"]):
        reader = threading.Thread(target=read)
        reader.start()
        wait_until(lambda: any(one.peer == 9064 for one in connections(lab)), 5, "a reader")
        assert sessions_of(lab, pid)
        assert reader.is_alive()
    reader.join(15)


class TestDeath:
    def test_what_it_had_on_either_side_is_lost(self) -> None:
        death = Death(2.0, frozenset({(40000, 7), (7, 50000)}), killed=3.0)
        assert death.took(Outcome("", 1, (40000, 7), ended=4))
        assert death.took(Outcome("", 1, (1, 7), (7, 50000), ended=4))
        assert not death.took(Outcome("", 1, (1, 7), (7, 1), ended=4))

    def test_what_began_later_or_ended_before_is_not(self) -> None:
        death = Death(2.0, frozenset({(40000, 7)}), killed=3.0)
        assert not death.took(Outcome("", 3.5, (40000, 7), ended=4))
        assert not death.took(Outcome("", 1, (40000, 7), ended=1.5))

    def test_a_kind_is_lost_until_it_is_served_again(self) -> None:
        death = Death(2.0, kinds=("pings",), killed=3.0, until=5.0)
        assert death.took(Outcome("pings", 4, ended=6))
        assert death.took(Outcome("pings", 1, ended=2.5))
        assert not death.took(Outcome("pings", 5.5, ended=6))
        assert not death.took(Outcome("questions", 4, ended=6))


def test_a_source_that_goes_costs_its_clients_a_moment() -> None:
    gap = without_a_source("pool", 2.0)
    gap.until = 3.0
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "")
    assert gap.took(Outcome("pool", 2.5, ended=2.6, error=refused))
    assert not gap.took(Outcome("pool", 3.5, ended=3.6, error=refused))
    assert not gap.took(Outcome("others", 2.5, ended=2.6, error=refused))
    assert not gap.took(Outcome("pool", 2.5, ended=2.6, error=FAILURE))


def test_without_a_route_nothing_is_lost_but_what_was_told_so() -> None:
    tally = Tally(gaps=[without_a_route(2.0)])
    tally.gaps[0].until = 3.0
    told = OSError(errno.ENETUNREACH, "")
    begun = [(told, 2.5), (told, 3.5), (OSError(errno.ECONNRESET, ""), 2.5), (FAILURE, 2.5)]
    tally.outcomes += [Outcome("", at, ended=at + 0.1, error=error) for error, at in begun]
    assert tally.lost() == tally.outcomes[1:]
