"""Rolling restarts: who serves by some settings, until others do by others."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from faith.daemon.config.policy import PolicyInputs, Rules
from faith.daemon.config.settings import Service, Settings
from faith.daemon.process.loop import Loop
from faith.daemon.process.messages import Alive, Failed, Heartbeat, Ready
from faith.daemon.process.reaping import reap
from faith.daemon.process.worker_pool import WorkerPool
from faith.daemon.services.rolling_restart import ProcessGroup, RollingRestart
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
LOG = replace(SETTINGS, log="json")
POLICY, NEXT = (PolicyInputs(Rules(text, ""), (), ()) for text in ("", "one more"))


class Waiting(ProcessGroup):
    """A group of one process, which waits for the end; it notes what is applied."""

    def __init__(self, loop: Loop, settings: Settings, inherited: Any) -> None:
        self.settings = settings
        self.inherited = inherited
        self.noted: list[tuple[str, object]] = []
        self.held = os.open(os.devnull, os.O_RDONLY)
        super().__init__(WorkerPool(loop, self._work, {}, "waiting one"))

    def start(self, on_ready: Then, on_failure: Refuse | None = None) -> None:
        self.noted.append(("start", None))
        super().start(on_ready, on_failure)

    def is_as(self, inherited: Any) -> bool:
        return inherited is not None

    def state(self) -> Descriptor:
        return Descriptor(self.held)

    def release(self) -> None:
        if self.held >= 0:
            os.close(self.held)
            self.held = -1

    def serve(self) -> None:
        self.noted.append(("serve", None))

    def steer(self, policy: PolicyInputs) -> None:
        self.noted.append(("steer", policy))

    def apply_policy(self, policy: PolicyInputs) -> None:
        self.noted.append(("policy", policy))

    def apply_settings(self, settings: Settings) -> None:
        self.noted.append(("settings", settings))

    def _work(self, number: int, channel: ProcessChannel) -> None:
        if self.settings is BAD:
            channel.send(Failed("it is bad"))
            return
        channel.send(Ready())
        os.set_blocking(channel.fileno(), True)
        while (received := channel.receive()) and isinstance(received.message, Heartbeat):
            channel.send(Alive())


class Daemon:
    """A loop, and the groups of one service in it."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.made: list[Waiting] = []
        self.service = RollingRestart(self.loop, self.make, lambda settings: settings.metrics)

    def make(self, settings: Settings, inherited: Any) -> Waiting | None:
        if settings.metrics is None:
            return None
        self.made.append(Waiting(self.loop, settings, inherited))
        return self.made[-1]

    def start(self, settings: Settings = SETTINGS) -> None:
        self.service.set_up(settings, POLICY, None, on_trial=False)
        self.service.start(self.loop.stop)
        self.loop.run()

    def prepare(self, settings: Settings) -> None:
        def fail(error: SetupError) -> None:
            raise error

        ready: list[bool] = []
        self.service.prepare(settings, lambda: ready.append(True), fail)
        while not ready:
            self.loop.later(0.01, self.loop.stop)
            self.loop.run()

    def processes(self) -> int:
        """How many there are, when those that end have ended."""
        for group in self.made[:-1]:
            for pid in group.pool.pids:
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        reap(pool.reaped for pool in self.service.pools())
        return sum(len(pool.pids) for pool in self.service.pools())

    def close(self) -> None:
        self.service.close()
        self.loop.close()


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    yield made
    made.close()


def test_others_take_the_place_of_the_first_and_these_end(daemon: Daemon) -> None:
    daemon.start()
    daemon.prepare(OTHERS)
    assert sum(len(pool.pids) for pool in daemon.service.pools()) == 2
    daemon.service.apply()
    assert daemon.processes() == 1
    assert [group.held >= 0 for group in daemon.made] == [False, True]


def test_for_an_equal_key_nobody_is_replaced_but_told(daemon: Daemon) -> None:
    daemon.start()
    daemon.prepare(LOG)
    daemon.service.apply()
    daemon.service.apply()
    assert len(daemon.made) == 1
    assert daemon.processes() == 1
    assert daemon.made[0].noted[-1] == ("settings", LOG)


def test_who_is_not_wanted_any_more_ends(daemon: Daemon) -> None:
    daemon.start()
    daemon.prepare(NONE)
    daemon.service.apply()
    daemon.made.append(daemon.made[0])
    assert daemon.processes() == 0
    daemon.service.apply_policy(NEXT)


def test_who_fails_changes_nothing(daemon: Daemon) -> None:
    daemon.start()
    with pytest.raises(SetupError, match="it is bad"):
        daemon.prepare(BAD)
    daemon.service.drop()
    daemon.made.reverse()  # it is the first that goes on
    assert daemon.processes() == 1
    daemon.prepare(LOG)
    daemon.service.apply()
    assert len(daemon.made) == 2


def test_the_policy_is_known_before_a_start_and_steered_to_who_serves_only(
    daemon: Daemon,
) -> None:
    daemon.start()
    assert daemon.made[0].noted == [("steer", POLICY), ("policy", POLICY), ("start", None)]
    daemon.prepare(OTHERS)
    daemon.service.apply_policy(NEXT)
    assert daemon.made[1].noted == [("policy", POLICY), ("start", None), ("policy", NEXT)]
    assert daemon.made[0].noted[-2:] == [("steer", NEXT), ("policy", NEXT)]
    daemon.service.apply()
    assert daemon.made[1].noted[-1] == ("steer", NEXT)


def test_all_end_when_it_is_stopped(daemon: Daemon) -> None:
    daemon.start()
    daemon.prepare(OTHERS)
    daemon.service.stop()
    served, prepared = daemon.made
    assert (served.held, prepared.held) == (-1, -1)
    daemon.made.append(prepared)
    assert daemon.processes() == 0


def test_the_next_program_gets_the_state_and_those_of_before_end_once_it_serves(
    daemon: Daemon,
) -> None:
    daemon.start()
    (pid,) = daemon.made[0].pool.pids
    state = daemon.service.state()
    assert len(descriptors(state)) == 2
    copies = {fd: os.dup(fd) for fd in descriptors(state)}
    workers = [(number, pid, copies[fd]) for number, pid, fd in state["workers"]]
    inherited: dict[str, Any] = {"group": copies[state["group"]], "workers": workers}
    trial = Daemon()
    trial.service.set_up(SETTINGS, POLICY, inherited, on_trial=True)
    assert trial.made[0].inherited == inherited["group"]
    trial.service.start(trial.loop.stop)
    assert trial.made[0].noted == [], "on trial, nobody answers beside those who do"
    trial.close()
    after = Daemon()
    after.service.set_up(SETTINGS, POLICY, inherited, on_trial=False)
    after.service.start(after.loop.stop)
    after.loop.run()
    assert os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None
    after.service.serve()
    _, status = os.waitpid(pid, 0)
    for pool in (*daemon.service.pools(), *after.service.pools()):
        pool.reaped(pid, status)
    assert after.made[0].noted[-1] == ("serve", None)
    os.close(inherited["group"])
    after.close()
