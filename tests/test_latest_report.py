"""The latest report: made when somebody asks, once in an interval, and kept for who waits."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from faith.daemon.process.channel import in_memory
from faith.daemon.process.child import Child
from faith.daemon.process.loop import Loop
from faith.daemon.process.messages import State, WantReport, pair
from faith.daemon.services import latest_report
from faith.daemon.services.latest_report import TOPIC, LatestReport, ReportSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.daemon.process.messages import SupervisorChannel


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_nothing_is_made_until_somebody_asks_and_then_once_in_an_interval(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latest_report, "INTERVAL", 0.05)
    made: list[float] = []

    def publish(text: str) -> None:
        made.append(time.monotonic())
        if len(made) == 3:
            loop.stop()

    source = ReportSource(loop, lambda: "text", publish)
    loop.later(0, loop.stop)
    loop.run()
    assert made == []

    def ask() -> None:
        source.want()
        loop.later(0.001, ask)

    ask()
    loop.run()
    first, second, third = made
    assert min(second - first, third - second) >= 0.05


class Supervisor:
    """The other end: counts what is asked, and answers with *texts*, one after the other."""

    def __init__(self, channel: SupervisorChannel, *texts: str) -> None:
        self.asked = 0
        self._channel = channel
        self._texts = list(texts)

    def receive(self) -> None:
        received = self._channel.receive()
        if received and isinstance(received.message, WantReport):
            self.asked += 1
            if self._texts:
                with in_memory(self._texts.pop(0)) as file:
                    self._channel.send(State(TOPIC, self.asked), [file])


def with_report(test: Callable[[LatestReport, Supervisor], object], *texts: str) -> None:
    """Do *test*, which is a coroutine function, with a report and a supervisor that has *texts*."""

    async def run() -> None:
        ours, theirs = pair()
        report = LatestReport(theirs)
        supervisor = Supervisor(ours, *texts)
        running = asyncio.get_running_loop()
        running.add_reader(ours.fileno(), supervisor.receive)
        child = Child(running, theirs, {}, lambda: None, {TOPIC: report.apply})
        try:
            await test(report, supervisor)  # type: ignore[misc]
        finally:
            child.close()
            running.remove_reader(ours.fileno())
            ours.close()
            theirs.close()

    asyncio.run(run())


def test_all_who_wait_have_the_one_report_that_comes() -> None:
    async def test(report: LatestReport, supervisor: Supervisor) -> None:
        assert report.text == b""
        await asyncio.gather(*(report.refresh() for _ in range(5)))
        assert (report.text, supervisor.asked) == (b"first", 1)
        await report.refresh()  # it is not a second old
        assert (report.text, supervisor.asked) == (b"first", 1)

    with_report(test, "first", "second")


def test_an_old_report_is_followed_by_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest_report, "INTERVAL", 0.0)

    async def test(report: LatestReport, supervisor: Supervisor) -> None:
        await report.refresh()
        await report.refresh()
        assert report.text == b"second"

    with_report(test, "first", "second")


def test_the_last_report_stays_when_the_supervisor_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest_report, "INTERVAL", 0.0)
    monkeypatch.setattr(latest_report, "PATIENCE", 0.01)

    async def test(report: LatestReport, supervisor: Supervisor) -> None:
        monkeypatch.setattr(latest_report, "PATIENCE", 5.0)
        await report.refresh()
        monkeypatch.setattr(latest_report, "PATIENCE", 0.01)
        await report.refresh()
        assert report.text == b"first"

    with_report(test, "first")
