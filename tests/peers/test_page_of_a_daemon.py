"""The page of a real faithd, in a real browser beside it: its numbers are those of sessions."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import GATEWAY_V4, PREFIX, SERVER
from tests.netns.gateway import Gateway
from tests.netns.service import PORT, Echo, answers, connect, relays
from tests.peers.browser import Browser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.peers]

URL = "http://[::1]:9064/"
FILE = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
[limits]
sessions = 50
[metrics]
listen = "[::1]:9064"
"""


@pytest.fixture
def browser(lab: ThreeHosts, need: Callable[[str], str], tmp_path: Path) -> Iterator[Browser]:
    """A browser on the gateway; the test itself is there, too."""
    with lab.gateway.inside(), contextlib.closing(Browser(need, tmp_path / "chromium")) as browser:
        yield browser


@pytest.fixture
def echo(lab: ThreeHosts) -> Iterator[Echo]:
    with contextlib.closing(Echo(lab.server, PORT, SERVER)) as server:
        yield server


def until(browser: Browser, what: str, holds: Callable[[], bool]) -> None:
    wait_until(holds, 20, f"the page showing {what}; it shows: {browser.text('body')}")


def relayed(browser: Browser) -> dict[str, str]:
    """The row of the relay in the table of traffic, by the heads of its columns."""
    (row,) = [row for row in browser.rows("traffic") if row[0] == "relay"] or [[]]
    return dict(
        zip(("path", "open", "new", "to servers", "to clients", "in all"), row, strict=False)
    )


def reasons(browser: Browser) -> dict[tuple[str, str], str]:
    """How many there were in all, by reason and whether they ended or were refused."""
    return {(row[0], row[2]): row[4] for row in browser.rows("reasons")}


@pytest.mark.usefixtures("echo")
def test_its_numbers_are_those_of_the_sessions(
    lab: ThreeHosts, tmp_path: Path, browser: Browser
) -> None:
    faithd = Gateway(lab, tmp_path, FILE)
    browser.open(URL)
    until(browser, "readiness", lambda: browser.text("#state") == "ready")
    with contextlib.ExitStack() as held:
        sessions = [held.enter_context(connect(lab)) for _ in range(7)]
        assert all(map(answers, sessions))
        assert all(relays(lab) for _ in range(12))
        with pytest.raises(ConnectionResetError), connect(lab, lab.mapped(GATEWAY_V4)) as refused:
            refused.recv(1)
        until(browser, "the sessions", lambda: relayed(browser).get("in all") == "19")
        until(browser, "the ends", lambda: reasons(browser).get(("closed", "ended")) == "12")
        assert relayed(browser)["open"] == "7"
        assert reasons(browser)["the gateway's own address", "refused"] == "1"
        uses = {row[0]: row[1:] for row in browser.rows("uses")}
        assert uses["sessions"] == ["all", "7", "50", "14 %"]
        assert "descriptors" in uses
        workers = [row for row in browser.rows("processes") if row[0].startswith("worker ")]
        assert [row[1] for row in workers] == ["serving"] * 2
        assert sum(int(row[3]) for row in workers) == 7
        assert {int(row[6]) for row in workers} <= {*faithd.workers}
        assert browser.rows("prefixes")[0][:2] == [PREFIX, "low32"]
        assert browser.rows("dialling")[1][0] == "all 19"
        legend = browser.text("#charts figure:nth-child(2) .legend")
        assert legend == "relay 7"
    until(browser, "their end", lambda: relayed(browser)["open"] == "0")
    assert browser.violations() == []
    assert browser.complaints() == []


@pytest.mark.usefixtures("echo")
def test_deaths_upgrades_and_restarts_are_seen(
    lab: ThreeHosts, tmp_path: Path, browser: Browser
) -> None:
    faithd = Gateway(lab, tmp_path, FILE)
    browser.open(URL)
    assert all(relays(lab) for _ in range(5))
    until(browser, "the sessions", lambda: relayed(browser).get("in all") == "5")

    victim = next(row for row in browser.rows("processes") if row[0] == "worker 1")
    os.kill(int(victim[6]), signal.SIGKILL)

    def worker() -> list[str]:
        return next((row for row in browser.rows("processes") if row[0] == "worker 1"), [])

    until(browser, "its successor", lambda: worker()[1:2] == ["serving"] and worker()[5] == "1")
    assert worker()[6] != victim[6]

    faithd.signal(signal.SIGUSR2)
    faithd.wait_said("upgraded to program 2", seconds=30)
    until(browser, "the upgrade", lambda: "was upgraded" in browser.text("#seen-list"))
    assert relays(lab)
    until(browser, "further counting", lambda: relayed(browser)["in all"] == "6")

    assert faithd.stop() == 0
    until(browser, "silence", lambda: "cannot be reached" in browser.text("#stale"))
    Gateway(lab, tmp_path, FILE)
    until(browser, "the restart", lambda: "was restarted" in browser.text("#seen-list"))
    until(browser, "new numbers", lambda: not browser.is_shown("#stale"))
    until(browser, "the first of them", lambda: relayed(browser).get("in all") == "0")
    assert "-" not in "".join(relayed(browser).values())


@pytest.mark.usefixtures("echo")
def test_a_daemon_that_hangs_is_shown_as_silent(
    lab: ThreeHosts, tmp_path: Path, browser: Browser
) -> None:
    """The admin process answers, but its supervisor is stopped: the numbers are old, and grey."""
    faithd = Gateway(lab, tmp_path, FILE)
    browser.open(URL)
    until(browser, "readiness", lambda: browser.text("#state") == "ready")
    faithd.signal(signal.SIGSTOP)
    try:
        until(browser, "silence", lambda: "does not report" in browser.text("#stale"))
        assert browser.run("return document.body.classList.contains('stale')")
    finally:
        faithd.signal(signal.SIGCONT)
    until(browser, "news", lambda: not browser.is_shown("#stale"))


@pytest.mark.usefixtures("echo")
def test_a_daemon_that_drains_is_shown_as_unready(
    lab: ThreeHosts, tmp_path: Path, browser: Browser
) -> None:
    faithd = Gateway(lab, tmp_path, f"{FILE}[timeouts]\ndrain = 30\n")
    browser.open(URL)
    until(browser, "readiness", lambda: browser.text("#state") == "ready")
    with connect(lab) as session:
        assert answers(session)
        faithd.signal(signal.SIGTERM)
        until(browser, "draining", lambda: browser.text("#state") == "not ready: draining")
        assert "warning" in browser.text("#findings-list")
