from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.errors import PermissionNeeded, SetupError
from faith.kernel.process import capabilities
from faith.kernel.steering import route
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from tests.netns.conftest import Arrive, Fork, Report

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

PORTS = Ports([(23, 23), (80, 80)])
MAPPED = "2001:db8:ffff::c633:6402"


def test_every_port_of_a_local_prefix_arrives_with_its_destination(arrive: Arrive) -> None:
    subprocess.run(["ip", "route", "add", "local", "2001:db8:ffff::/96", "dev", "lo"], check=True)
    with route.create(PORTS, [], 2) as steering:
        assert [len(listeners) for listeners in steering.listeners] == [2, 2]
        everyone = [sock for listeners in steering.listeners for sock in listeners]
        for port in PORTS:
            _, accepted = arrive(everyone, MAPPED, port)
            with accepted:
                assert accepted.getsockname()[:2] == (MAPPED, port)
        with pytest.raises(ConnectionRefusedError):
            arrive(everyone, MAPPED, 81)
    with pytest.raises(ConnectionRefusedError):
        arrive([], MAPPED, 80)


def test_a_port_that_is_taken_is_named_and_the_others_are_let_go() -> None:
    before = os.listdir("/proc/self/fd")
    with socket.create_server(("::", 80), family=socket.AF_INET6):
        with pytest.raises(SetupError, match=rf"\[::\]:80: .*\(pid {os.getpid()}\)"):
            route.create(PORTS, [], 1)
        socket.create_server(("::", 23), family=socket.AF_INET6).close()
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("missing", ["", *route.CAPABILITIES])
def test_the_declared_capabilities_are_enough_and_each_is_needed(fork: Fork, missing: str) -> None:
    def body(report: Report) -> object:
        capabilities.drop(capabilities.default_user(), keep=set(route.CAPABILITIES) - {missing})
        try:
            route.create(PORTS, [], 1).close()
        except PermissionNeeded as error:
            return error.capabilities
        return ("",)

    assert fork(body).report() == (missing,)
