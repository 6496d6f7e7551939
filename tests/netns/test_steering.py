from __future__ import annotations

import json
import os
import select
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.errors import SetupError
from faith.kernel import steering
from faith.kernel.bpf import bpf
from faith.kernel.sockets import tcp_sockets
from faith.translation.ports import NO_PORTS, Ports
from faith.translation.prefix import Prefix
from tests.netns.own_address import add_address

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from tests.netns.conftest import Arrive, Fork

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("gateway")]
by_bpf = pytest.mark.usefixtures("bpf_allowed")

PREFIX = Prefix.parse("2001:db8:ffff::/96")
MAPPED = "2001:db8:ffff::c633:6402"
OWN = "2001:db8:6::1"
HTTP = Ports([(80, 80)])
RANGE = Ports([(8000, 8016)])


@pytest.fixture
def gateway(private_network: None) -> None:
    """The prefix is local; the gateway has an address of its own."""
    subprocess.run(["ip", "route", "add", "local", str(PREFIX), "dev", "lo"], check=True)
    add_address(OWN, 64)


@pytest.fixture(params=steering.METHODS)
def method(request: pytest.FixtureRequest) -> str:
    """Each of the methods."""
    chosen: str = request.param
    if chosen == "sk_lookup":
        request.getfixturevalue("bpf_allowed")
    return chosen


def destination(steered: steering.Steering, accepted: socket.socket) -> tuple[str, int]:
    """Where the connection was going, by the contract."""
    with accepted:
        if steered.redirected:
            address, port = tcp_sockets.original_destination(accepted)
            return socket.inet_ntop(socket.AF_INET6, address), port
        return accepted.getsockname()[0], accepted.getsockname()[1]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_method_keeps_the_contract(arrive: Arrive, method: str, workers: int) -> None:
    before = os.listdir("/proc/self/fd")
    with steering.create(method, HTTP, [PREFIX], workers) as steered:
        assert steered.method == method
        assert len(steered.listeners) == workers
        everyone = [sock for listeners in steered.listeners for sock in listeners]
        _, accepted = arrive(everyone, MAPPED, 80)
        assert destination(steered, accepted) == (MAPPED, 80)
        with pytest.raises(ConnectionRefusedError):
            arrive(everyone, MAPPED, 81)
    with pytest.raises(ConnectionRefusedError):
        arrive([], MAPPED, 80)
    assert os.listdir("/proc/self/fd") == before


def test_own_addresses_arrive_in_every_way_when_a_local_server_is_there(
    arrive: Arrive, method: str
) -> None:
    with steering.create(method, HTTP, [PREFIX], 1, own=HTTP) as steered:
        for address in (MAPPED, OWN):
            _, accepted = arrive(steered.listeners[0], address, 80)
            assert destination(steered, accepted) == (address, 80)


def test_auto_listens_by_itself_on_few_ports_that_are_free() -> None:
    with steering.create("auto", HTTP, [PREFIX], 1) as steered:
        assert steered.method == "route"


@by_bpf
def test_auto_passes_by_a_port_that_another_server_has(arrive: Arrive) -> None:
    with (
        socket.create_server(("::", 80), family=socket.AF_INET6) as other,
        steering.create("auto", HTTP, [PREFIX], 1) as steered,
    ):
        assert steered.method == "sk_lookup"
        for who, address in enumerate((OWN, MAPPED)):
            number, accepted = arrive([other, *steered.listeners[0]], address, 80)
            accepted.close()
            assert number == who


@pytest.mark.parametrize("asked", ["auto", "tproxy"])
def test_a_local_server_on_a_port_that_is_taken_is_an_error_naming_it(asked: str) -> None:
    with (
        socket.create_server(("::", 80), family=socket.AF_INET6),
        pytest.raises(SetupError, match=r"listen on \[::\]:80: the port is taken by .*\(pid"),
    ):
        steering.create(asked, HTTP, [PREFIX], 1, own=HTTP)


@by_bpf
def test_auto_steers_many_ports_and_listens_on_them_for_local_servers(arrive: Arrive) -> None:
    with steering.create("auto", RANGE, [PREFIX], 2, own=RANGE) as steered:
        assert steered.method == "sk_lookup"
        assert [len(listeners) for listeners in steered.listeners] == [1 + len(RANGE)] * 2
        everyone = [sock for listeners in steered.listeners for sock in listeners]
        for address in (MAPPED, OWN):
            _, accepted = arrive(everyone, address, 8016)
            assert destination(steered, accepted) == (address, 8016)


def test_without_bpf_auto_goes_on_to_tproxy(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(bpf.Map, "create", denied)
    with steering.create("auto", RANGE, [PREFIX], 1) as steered:
        assert steered.method == "tproxy"


def test_the_successor_takes_it_over_without_a_gap(arrive: Arrive, fork: Fork, method: str) -> None:
    """The child stands for it: what it has open is what this process had."""
    other = Prefix.parse("2001:db8:fffe::/96")
    subprocess.run(["ip", "route", "add", "local", str(other), "dev", "lo"], check=True)
    steered = steering.create(method, HTTP, [PREFIX], 2, own=HTTP)
    state = json.loads(json.dumps(steered.state()))
    go_on, tell = os.pipe()

    def go_on_with_it(report: Callable[[object], None]) -> object:
        taken = steering.adopt(state)
        report("taken")
        assert os.read(go_on, 1)
        everyone = [sock for listeners in taken.listeners for sock in listeners]
        _, accepted = arrive(everyone, MAPPED, 80)
        assert destination(taken, accepted) == (MAPPED, 80)
        taken.set_prefixes([PREFIX, other])
        _, accepted = arrive(everyone, "2001:db8:fffe::c633:6402", 80)
        assert destination(taken, accepted) == ("2001:db8:fffe::c633:6402", 80)
        _, accepted = arrive(everyone, OWN, 80)
        accepted.close()
        taken.close()
        return taken.method

    child = fork(go_on_with_it)
    assert child.report() == "taken"
    steered.close()
    os.write(tell, b"1")
    assert child.report() == method
    with pytest.raises(ConnectionRefusedError):
        arrive([], MAPPED, 80)
    for descriptor in (go_on, tell):
        os.close(descriptor)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("own", [NO_PORTS, HTTP])
def test_a_paused_one_refuses_and_accepts_again(
    arrive: Arrive, method: str, workers: int, own: Ports
) -> None:
    served = (MAPPED, OWN) if own else (MAPPED,)
    with steering.create(method, HTTP, [PREFIX], workers, own=own) as steered:
        everyone = [sock for listeners in steered.listeners for sock in listeners]
        for _ in range(2):
            steered.pause()
            steered.pause()
            for address in (MAPPED, OWN):
                with pytest.raises(ConnectionRefusedError):
                    arrive([], address, 80)
            steered.resume(HTTP)
            for address in served:
                _, again = arrive(everyone, address, 80)
                assert destination(steered, again) == (address, 80)
            with pytest.raises(ConnectionRefusedError):
                arrive(everyone, MAPPED, 81)


def test_one_whose_port_was_taken_meanwhile_stays_paused(arrive: Arrive) -> None:
    both = Ports([(80, 81)])
    with steering.create("route", both, [PREFIX], 1) as steered:
        steered.pause()
        with (
            socket.create_server(("::", 81), family=socket.AF_INET6),
            pytest.raises(SetupError, match=r"listen on \[::\]:81 again: the port is taken by "),
        ):
            steered.resume(both)
        with pytest.raises(ConnectionRefusedError):
            arrive([], MAPPED, 80)
        steered.resume(both)
        for port, listener in zip((80, 81), steered.listeners[0], strict=True):
            with (
                socket.create_connection((MAPPED, port), timeout=5) as client,
                accepted_by(listener) as accepted,
            ):
                with pytest.raises(BlockingIOError):
                    accepted.recv(100, socket.MSG_DONTWAIT)  # it is not at its end
                client.sendall(b"hello")
                assert accepted.recv(100) == b"hello"


def accepted_by(listener: _socket.socket) -> socket.socket:
    """Accept one connection."""
    select.select([listener], [], [], 5)
    return socket.socket(fileno=listener._accept()[0])  # type: ignore[attr-defined]
