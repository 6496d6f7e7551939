"""The listeners of proxies on a real kernel: both families, taken ports, changes, upgrades."""

from __future__ import annotations

import _socket
import os
import select
import socket
from typing import TYPE_CHECKING

import pytest

from faith.daemon.host.proxy_listeners import ProxyListeners
from faith.errors import SetupError
from faith.kernel.descriptor import descriptors
from faith.relay.proxy.proxy_settings import ProxySettings
from tests.netns.own_address import add_address

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

ALL, LOOPBACK, OTHER = (
    ProxySettings(host, port) for host, port in (("::", 1080), ("127.0.0.1", 1080), ("::1", 1081))
)


@pytest.fixture
def proxies() -> Iterator[ProxyListeners]:
    made = ProxyListeners(2)
    yield made
    made.close()


def comes_to(proxies: ProxyListeners, address: str, port: int, workers: int = 2) -> set[int]:
    """The workers that a connection to *port* of *address* comes to; none if it is refused."""
    listeners = [(one, of) for of in range(workers) for one in proxies.of_worker(of)]
    try:
        with socket.create_connection((address, port), timeout=5):
            ready, _, _ = select.select([one for one, _ in listeners], [], [], 5)
            for one in {one.fileno(): one for one in ready}.values():
                _socket.socket(fileno=one._accept()[0]).close()  # type: ignore[attr-defined]
            return {of for one, of in listeners if one in ready}
    except ConnectionRefusedError:
        return set()


def places(proxies: ProxyListeners) -> set[tuple[str, int]]:
    found = {one.getsockname()[:2] for worker in range(2) for one in proxies.of_worker(worker)}
    assert [len(proxies.of_worker(worker)) for worker in range(2)] == [len(found)] * 2
    return found


def test_all_addresses_are_those_of_both_families(proxies: ProxyListeners) -> None:
    proxies.set_up([ALL])
    assert comes_to(proxies, "127.0.0.1", 1080)
    assert comes_to(proxies, "::1", 1080)
    found = set[int]()
    while found != {0, 1}:
        found |= comes_to(proxies, "127.0.0.1", 1080)


@pytest.mark.parametrize("reuseport", [False, True])
def test_a_taken_port_is_told_with_its_holder(proxies: ProxyListeners, reuseport: bool) -> None:
    proxies.set_up([OTHER])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuseport)
        other.bind(("127.0.0.1", 1080))
        other.listen()
        with pytest.raises(SetupError, match=rf"\[::\]:1080: the port is taken by .*{os.getpid()}"):
            proxies.prepare([OTHER, ProxySettings("::1", 1082), ALL])
        assert not comes_to(proxies, "::1", 1082)
    assert places(proxies) == {("::1", 1081)}
    assert comes_to(proxies, "::1", 1081)


def test_what_is_prepared_is_opened_and_what_is_applied_closes_the_others(
    proxies: ProxyListeners,
) -> None:
    proxies.set_up([ALL])
    proxies.prepare([LOOPBACK, OTHER])
    assert places(proxies) == {("::", 1080)}
    proxies.apply()
    assert places(proxies) == {("127.0.0.1", 1080), ("::1", 1081)}
    assert comes_to(proxies, "127.0.0.1", 1080)
    assert comes_to(proxies, "::1", 1081)
    assert not comes_to(proxies, "::1", 1080)


def test_what_is_dropped_is_closed(proxies: ProxyListeners) -> None:
    proxies.set_up([OTHER])
    proxies.prepare([LOOPBACK])
    proxies.drop()
    assert places(proxies) == {("::1", 1081)}
    assert not comes_to(proxies, "127.0.0.1", 1080)
    proxies.prepare([OTHER, LOOPBACK])
    proxies.apply()
    assert comes_to(proxies, "127.0.0.1", 1080)


def test_a_proxy_that_stays_keeps_its_listeners(proxies: ProxyListeners) -> None:
    proxies.set_up([ALL, OTHER])
    before = proxies.of_worker(0)[:1]
    with socket.create_connection(("127.0.0.1", 1080), timeout=5):
        proxies.prepare([ALL])
        proxies.apply()
        assert proxies.of_worker(0) == before
        ready, _, _ = select.select([*proxies.of_worker(0), *proxies.of_worker(1)], [], [], 5)
        assert ready


def test_an_address_that_is_not_here_yet_is_served_when_it_comes(
    proxies: ProxyListeners, caplog: pytest.LogCaptureFixture
) -> None:
    proxies.set_up([ProxySettings("2001:db8::1", 1080), LOOPBACK])
    assert [record.getMessage() for record in caplog.records] == [
        "no proxy at 2001:db8::1 until this host has that address"
    ]
    add_address("2001:db8::1")
    assert comes_to(proxies, "2001:db8::1", 1080)


def test_who_drains_refuses_and_who_resumes_accepts(proxies: ProxyListeners) -> None:
    proxies.set_up([ALL])
    proxies.pause()
    proxies.pause()
    assert not comes_to(proxies, "127.0.0.1", 1080)
    proxies.resume()
    assert comes_to(proxies, "127.0.0.1", 1080)
    assert comes_to(proxies, "::1", 1080)


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_the_next_program_adopts_them_for_any_number_of_workers(
    proxies: ProxyListeners, workers: int
) -> None:
    proxies.set_up([ALL, OTHER])
    left = {
        "places": [
            [host, port, [os.dup(fd) for fd in fds]]
            for host, port, fds in proxies.state()["places"]
        ],
        "channel": None,
    }
    assert len(descriptors(proxies.state())) == 4
    following = ProxyListeners(workers)
    try:
        following.set_up([ALL, LOOPBACK], left)
        proxies.close()
        served = {one.getsockname()[:2] for of in range(workers) for one in following.of_worker(of)}
        assert served == {("::", 1080), ("127.0.0.1", 1080)}
        assert {following.of_worker(of)[0].getsockname()[:2] for of in range(workers)} == {
            ("::", 1080)
        }
        assert comes_to(following, "::1", 1080, workers)
        with socket.create_connection(("::1", 1081), timeout=5):
            pass  # it waits for the predecessor process, until the next serves
        following.close_others()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", 1081), timeout=5)
    finally:
        following.close()
