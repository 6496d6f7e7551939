from __future__ import annotations

from typing import Any

import pytest

from faith.daemon.services.datagram_service import Datagrams
from faith.errors import FaithError, SetupError


class Nobody:
    """Stands for a crew without processes."""

    def __init__(self, *about: Any) -> None:
        self.members: list[Any] = []
        self.pids: list[int] = []
        self.on_failure: Any = None

    def start(self, count: int, on_ready: Any) -> None:
        on_ready()

    def tell(self, *message: Any) -> None:
        """Nobody listens."""


class Kind:
    """Of datagrams that the kernel does not lead here."""

    name = "test server"
    settings = dict

    def wanted(self, settings: Any) -> Any:
        return settings

    def gear(self, settings: Any) -> Any:
        return self

    def decide_by(self, parts: Any) -> None:
        raise SetupError("steer networks", "there are too many")


def refused(error: FaithError) -> None:
    pytest.fail(str(error))


def test_what_the_kernel_refuses_does_not_end_a_reload_half_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("faith.daemon.services.datagram_service.Crew", Nobody)
    nothing: Any = None
    kind: Any = Kind()
    parts: Any = object()
    datagrams = Datagrams(nothing, kind, nothing, lambda kept: None)
    datagrams.decide_by(parts)
    ready: list[None] = []
    settings: Any = "on"
    datagrams.prepare(settings, lambda: ready.append(None), refused)
    datagrams.take()
    assert ready
    assert "the test server does not follow a change: steer networks" in caplog.text
