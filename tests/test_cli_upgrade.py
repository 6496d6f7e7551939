"""``faith upgrade`` where nothing is running; tests/netns/test_upgrade.py has daemons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.cli import faith
from faith.daemon.host import discovery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.daemon.observe.status_report import Daemon


@pytest.fixture(autouse=True)
def _none_is_running(monkeypatch: pytest.MonkeyPatch) -> None:
    def running() -> Iterator[Daemon]:
        return iter(())

    monkeypatch.setattr(discovery, "running", running)


def test_somebody_who_asks_for_it_hears_that_there_is_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert faith.main(["upgrade"]) == 1
    assert capsys.readouterr().err == "faith: no faithd is running here\n"


def test_an_installer_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert faith.main(["upgrade", "--if-running"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_process_that_is_none_is_refused_even_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert faith.main(["upgrade", "--if-running", "4711"]) == 1
    assert capsys.readouterr().err.startswith("faith: process 4711 is not a faithd; ")
