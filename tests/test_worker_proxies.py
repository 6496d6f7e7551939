"""The proxies of a worker: settings and listeners that come apart, and in any order."""

from __future__ import annotations

import _socket
import os
import socket
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.daemon.config import carried
from faith.daemon.config.worker_settings import NameSettings, ProxiesSettings
from faith.daemon.services.worker_proxies import WorkerProxies
from faith.relay.proxy.proxy_settings import ProxySettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.relay.proxy.name_search import Found


class Relay:
    """Serves nobody, and knows whom it was to serve: by port, with a pseudonym."""

    def __init__(self) -> None:
        self.served: dict[int, str] = {}
        self.calls = 0

    def serve(self, proxies: Iterable[tuple[_socket.socket, ProxySettings]]) -> None:
        self.calls += 1
        self.served = {sock.getsockname()[1]: proxy.pseudonym for sock, proxy in proxies}


class Supervisor:
    """Two listeners, what a worker is sent of them, and the settings for each."""

    def __init__(self) -> None:
        self.listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.ports = [one.getsockname()[1] for one in self.listeners]

    def copy(self, *numbers: int) -> list[int]:
        return [os.dup(self.listeners[number].fileno()) for number in numbers]

    def sock(self, number: int) -> _socket.socket:
        return _socket.socket(fileno=self.copy(number)[0])

    def settings(self, *numbers: int, name: str = "faith") -> ProxiesSettings:
        some = (ProxySettings("127.0.0.1", self.ports[at], pseudonym=name) for at in numbers)
        return ProxiesSettings(tuple(some))

    def text(self, *numbers: int, name: str = "faith") -> str:
        return carried.dumps(self.settings(*numbers, name=name))

    def close(self) -> None:
        for one in self.listeners:
            one.close()


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor()
    yield made
    made.close()


@pytest.fixture
def relay() -> Relay:
    return Relay()


@pytest.fixture
def proxies(supervisor: Supervisor, relay: Relay) -> Iterator[WorkerProxies]:
    """Those of a worker that was forked with the first listener, and its settings."""
    made = WorkerProxies([supervisor.sock(0)], supervisor.settings(0))
    made.serve_by(relay.serve)
    yield made
    made.close()


def test_what_it_was_forked_with_is_served_once_it_serves(
    proxies: WorkerProxies, relay: Relay, supervisor: Supervisor
) -> None:
    assert relay.calls == 0
    proxies.serve()
    assert relay.served == {supervisor.ports[0]: "faith"}


@pytest.mark.parametrize("settings_first", [True, False])
def test_another_proxy_is_served_when_both_have_come(
    proxies: WorkerProxies, relay: Relay, supervisor: Supervisor, settings_first: bool
) -> None:
    proxies.serve()
    if settings_first:
        proxies.apply(supervisor.text(0, 1), False, [])
    else:
        proxies.apply_listeners("", False, supervisor.copy(0, 1))
    assert relay.served == {supervisor.ports[0]: "faith"}
    if settings_first:
        proxies.apply_listeners("", False, supervisor.copy(0, 1))
    else:
        proxies.apply(supervisor.text(0, 1), False, [])
    assert set(relay.served) == {*supervisor.ports}


def test_other_settings_apply_to_the_same_listener(
    proxies: WorkerProxies, relay: Relay, supervisor: Supervisor
) -> None:
    proxies.serve()
    proxies.apply(supervisor.text(0, name="other"), False, [])
    assert relay.served == {supervisor.ports[0]: "other"}
    proxies.apply(supervisor.text(), False, [])
    assert relay.served == {}


def test_a_listener_that_it_has_already_is_kept_and_one_that_goes_is_closed(
    proxies: WorkerProxies, relay: Relay, supervisor: Supervisor
) -> None:
    proxies.apply(supervisor.text(0, 1), False, [])
    proxies.serve()
    before = set(os.listdir("/proc/self/fd"))
    proxies.apply_listeners("", False, supervisor.copy(0, 0))
    assert set(os.listdir("/proc/self/fd")) == before
    proxies.apply_listeners("", False, supervisor.copy(1))
    assert set(relay.served) == {supervisor.ports[1]}
    assert len(os.listdir("/proc/self/fd")) == len(before), "one came, and one went"
    proxies.apply_listeners("", False, [])
    assert len(os.listdir("/proc/self/fd")) == len(before) - 1


def test_who_drains_is_not_made_to_serve_by_what_comes(
    proxies: WorkerProxies, relay: Relay, supervisor: Supervisor
) -> None:
    proxies.serve()
    proxies.pause()
    calls = relay.calls
    proxies.apply(supervisor.text(0, 1), False, [])
    proxies.apply_listeners("", False, supervisor.copy(0, 1))
    assert relay.calls == calls
    proxies.serve()
    assert set(relay.served) == {*supervisor.ports}


def test_who_leaves_keeps_no_listener_and_has_nobody_hung_up_on(
    proxies: WorkerProxies, relay: Relay, supervisor: Supervisor
) -> None:
    proxies.serve()
    calls = relay.calls
    proxies.close()
    before = set(os.listdir("/proc/self/fd"))
    proxies.apply_listeners("", False, supervisor.copy(0, 1))
    proxies.serve()
    assert relay.calls == calls, "its clients are not those of proxies that are gone"
    assert set(os.listdir("/proc/self/fd")) == before


def test_names_are_looked_up_by_the_newest_settings(
    proxies: WorkerProxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        found: list[Found] = []
        proxies.look_up("localhost.invalid", found.append, 1)
        assert {one.family for one in found} == {4, 6}
        assert proxies._names is not None
        settings = NameSettings(mixed_case=True)
        proxies.apply(carried.dumps(ProxiesSettings(names=settings)), False, [])
        assert proxies._names._settings == settings
        proxies.forget_names()

    uvloop.run(main())
