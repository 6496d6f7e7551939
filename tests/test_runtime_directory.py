"""The directory of sockets: systemd's or the operator's choice, or the usual one."""

from __future__ import annotations

from pathlib import Path

import pytest

from faith.daemon.config import config
from faith.daemon.host import discovery
from faith.daemon.process import runtime_directory


@pytest.mark.parametrize(
    ("environment", "directory"),
    [
        ({}, "/run/faith"),
        ({"RUNTIME_DIRECTORY": ""}, "/run/faith"),
        ({"RUNTIME_DIRECTORY": "/run/gateway"}, "/run/gateway"),
        ({"RUNTIME_DIRECTORY": "/run/one:/run/two"}, "/run/one"),
        ({"RUNTIME_DIRECTORY": "/run/one", "FAITH_RUNTIME_DIRECTORY": "/tmp/x"}, "/tmp/x"),
    ],
)
def test_it_is_chosen_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], directory: str
) -> None:
    for name in runtime_directory.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert runtime_directory.chosen() == Path(directory)


def test_both_sockets_are_there() -> None:
    assert discovery.DIRECTORY == runtime_directory.DIRECTORY
    assert runtime_directory.DIRECTORY / "control.sock" == config.CONTROL
