"""A service of datagrams, without a process: what it makes, adopts, applies and closes."""

from __future__ import annotations

from typing import Any

import pytest

from faith.daemon.services.datagram_service import datagram_service
from faith.errors import FaithError, SetupError


class Nobody:
    """Stands for a pool without processes."""

    def __init__(self, *about: Any) -> None:
        self.workers: list[Any] = []
        self.pids: list[int] = []
        self.desired: list[str] = []
        self.told: list[Any] = []

    def start(self, count: int, on_ready: Any, on_failure: Any) -> None:
        on_ready()

    def desire(self, topic: str, *state: Any) -> None:
        self.desired.append(topic)

    def tell(self, *message: Any) -> None:
        self.told += message

    def able_in(self, number: int) -> Any:
        """Nobody serves."""

    def retire(self) -> None:
        """Nobody is replaced."""


class Echo:
    """Of datagrams that the kernel does not lead here."""

    name = "test server"
    settings = dict

    def __init__(self) -> None:
        self.done: list[str] = []

    def wanted(self, settings: Any) -> Any:
        return settings.wanted

    def resources(self, settings: Any) -> Any:
        self.done.append("made")
        return self

    def adopt(self, state: Any) -> Any:
        self.done.append(f"adopted {state}")
        return self

    def steer(self, policy: Any) -> None:
        raise SetupError("steer networks", "there are too many")

    def close(self) -> None:
        self.done.append("closed")


class Wanted:
    user = "nobody"

    def __init__(self, wanted: Any) -> None:
        self.wanted = wanted


class Policy:
    maps = None
    dumps = str


OFF, ON = Wanted(None), Wanted("on")


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    monkeypatch.setattr("faith.daemon.services.datagram_service.WorkerPool", Nobody)
    return Echo()


def service(echo: Echo, settings: Any, inherited: Any = None) -> Any:
    nothing: Any = None
    leases: Any = type("Leases", (), {"use": None})
    given: Any = echo
    made: Any = datagram_service(nothing, given, leases, lambda kept: None)
    made._draining = type("Gone", (), {"pool": Nobody(), "adopt": lambda *workers: None})
    policy: Any = Policy()
    made.set_up(settings, policy, inherited, on_trial=False)
    return made


def refused(error: FaithError) -> None:
    pytest.fail(str(error))


def test_what_the_kernel_refuses_does_not_end_a_reload_half_way(
    echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    datagrams = service(echo, OFF)
    ready: list[None] = []
    datagrams.prepare(ON, lambda: ready.append(None), refused)
    datagrams.apply()
    assert ready
    assert "the test server does not follow a change: steer networks" in caplog.text


def test_other_settings_need_no_restart(echo: Echo) -> None:
    datagrams = service(echo, ON)
    datagrams.prepare(Wanted("on, and more"), lambda: None, refused)
    datagrams.apply()
    assert echo.done == ["made"]
    assert datagrams._now.pool.desired == ["policy", "settings"]


def test_what_was_left_is_adopted_and_waits_to_serve(echo: Echo) -> None:
    datagrams = service(echo, ON, {"group": 7, "workers": []})
    assert echo.done == ["adopted 7"]
    for _ in range(2):
        datagrams._now.serve()
    assert len(datagrams._now.pool.told) == 1


def test_what_was_left_and_is_not_wanted_any_more_is_closed(echo: Echo) -> None:
    datagrams = service(echo, OFF, {"group": 7, "workers": []})
    assert echo.done == ["adopted 7", "closed"]
    assert datagrams.state()["group"] is None
