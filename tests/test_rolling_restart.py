"""Shifts: who serves by some settings, until others do by others."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from faith.daemon.config.settings import Service, Settings
from faith.daemon.process.loop import Loop
from faith.daemon.process.messages import Alive, Failed, Heartbeat, Ready, Stop
from faith.daemon.process.reaping import reap
from faith.daemon.process.worker_pool import Crew
from faith.daemon.services.interface import Companions
from faith.daemon.services.rolling_restart import Shifts
from faith.errors import SetupError
from faith.kernel.descriptor import Descriptor, descriptors
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.daemon.process.messages import ProcessChannel
    from faith.daemon.services.interface import Refuse, Then

SETTINGS = Settings((Service("http", Ports([(80, 80)])),), metrics=("::1", 1))
OTHERS = replace(SETTINGS, metrics=("::1", 2))
BAD = replace(SETTINGS, metrics=("::1", 666))
NONE = replace(SETTINGS, metrics=None)


class Waiting:
    """A shift of one process, which waits for the end."""

    def __init__(self, loop: Loop, settings: Settings, left: Any) -> None:
        self.settings = settings
        self.left = left
        self.held = os.open(os.devnull, os.O_RDONLY)
        self.crew = Crew(loop, self._work, {}, "waiting one")

    def start(self, on_ready: Then, on_failure: Refuse | None = None) -> None:
        self.crew.start(1, on_ready, on_failure)

    def stop(self) -> None:
        self.crew.tell(Stop())
        self.crew.retire()

    def is_as(self, left: Any) -> bool:
        return left is not None

    def state(self) -> Descriptor:
        return Descriptor(self.held)

    def release(self) -> None:
        if self.held >= 0:
            os.close(self.held)
            self.held = -1

    def _work(self, number: int, channel: ProcessChannel) -> None:
        if self.settings is BAD:
            channel.send(Failed("it is bad"))
            return
        channel.send(Ready())
        os.set_blocking(channel.fileno(), True)
        while (received := channel.receive()) and isinstance(received.message, Heartbeat):
            channel.send(Alive())


class Daemon:
    """A loop, and the shifts of one companion in it."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.made: list[Waiting] = []
        self.shifts = Shifts(self.make, lambda settings: settings.metrics)
        self.companions = Companions({"one": self.shifts, "another": Shifts(_nobody, id)})

    def make(self, settings: Settings, left: Any) -> Waiting | None:
        if settings.metrics is None:
            return None
        self.made.append(Waiting(self.loop, settings, left))
        return self.made[-1]

    def start(self, settings: Settings = SETTINGS) -> None:
        self.companions.set_up(settings, {}, on_trial=False)
        self.companions.start(self.loop.stop)
        self.loop.run()

    def prepare(self, settings: Settings) -> None:
        def fail(error: SetupError) -> None:
            raise error

        ready: list[bool] = []
        self.companions.prepare(settings, lambda: ready.append(True), fail)
        while not ready:
            self.loop.later(0.01, self.loop.stop)
            self.loop.run()

    def processes(self) -> int:
        """How many there are, when those that end have ended."""
        for shift in self.made[:-1]:
            for pid in shift.crew.pids:
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        reap(crew.reaped for crew in self.companions.crews())
        return sum(len(crew.pids) for crew in self.companions.crews())


def _nobody(settings: Settings, left: Any) -> None:
    """Nothing is asked for."""


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    yield made
    made.companions.close()
    made.loop.close()


def test_others_take_the_place_of_the_first_and_these_end(daemon: Daemon) -> None:
    daemon.start()
    daemon.prepare(OTHERS)
    assert sum(len(crew.pids) for crew in daemon.companions.crews()) == 2
    daemon.companions.take()
    assert daemon.processes() == 1
    assert [shift.held >= 0 for shift in daemon.made] == [False, True]


def test_for_the_same_nobody_is_replaced(daemon: Daemon) -> None:
    daemon.start()
    daemon.prepare(replace(SETTINGS, log="json"))
    daemon.companions.take()
    assert len(daemon.made) == 1
    assert daemon.processes() == 1


def test_who_is_not_wanted_any_more_ends(daemon: Daemon) -> None:
    daemon.start()
    daemon.prepare(NONE)
    daemon.companions.take()
    daemon.made.append(daemon.made[0])
    assert daemon.processes() == 0


def test_who_fails_changes_nothing(daemon: Daemon) -> None:
    daemon.start()
    with pytest.raises(SetupError, match="it is bad"):
        daemon.prepare(BAD)
    daemon.companions.drop()
    daemon.made.reverse()  # it is the first that goes on
    assert daemon.processes() == 1
    daemon.prepare(replace(SETTINGS, log="json"))
    daemon.companions.take()
    assert len(daemon.made) == 2


def test_the_next_program_gets_the_state_and_those_of_before_end_once_it_serves(
    daemon: Daemon,
) -> None:
    daemon.start()
    state = daemon.companions.state()
    copies = {fd: os.dup(fd) for fd in descriptors(state)}
    left = state["one"]
    assert {left["shift"], *left["held"], *left["channels"]} == copies.keys()
    held, channels = ([copies[fd] for fd in left[name]] for name in ("held", "channels"))
    after = Daemon()
    after.companions.set_up(
        SETTINGS,
        {"one": {"shift": copies[left["shift"]], "held": held, "channels": channels}},
        on_trial=True,
    )
    assert after.made[0].left == held[0]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(held[0])
    after.companions.start(after.loop.stop)
    assert not after.made[0].crew.pids, "on trial, nobody answers beside those who do"
    os.fstat(channels[0])
    after.companions.serve()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(channels[0])
    after.companions.close()
    after.loop.close()
