"""A program on trial: real processes in the place of the next faithd."""

from __future__ import annotations

import os
import select
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from faith.daemon.process.loop import Loop
from faith.daemon.upgrade import trial
from faith.daemon.upgrade.inherited_state import VARIABLE
from faith.daemon.upgrade.trial import Upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.errors import FaithError


class Bench:
    """An upgrade to *program*, in which this process is the old faithd."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.loop = Loop()
        self.kept, self.theirs = os.pipe()
        self.failures: list[str] = []
        self.executed: list[str] = []
        self.upgrade = Upgrade(self.loop, lambda: ({"a": 1}, [self.theirs]), self.failed)
        # What comes after a good trial would end the test.
        monkeypatch.setattr(os, "execve", self._execve)
        monkeypatch.setattr(os, "chdir", lambda path: None)

    def _execve(self, path: str, argv: list[str], environment: dict[str, str]) -> None:
        inheritable = os.get_inheritable(self.theirs)
        self.executed = [*argv, str(VARIABLE in environment), str(inheritable)]
        raise PermissionError(13, "Permission denied")

    def failed(self, error: FaithError) -> None:
        self.failures.append(str(error))

    def begin(self, program: str) -> None:
        argv = [sys.executable, "-c", program]
        self._monkeypatch.setattr(trial, "_command", lambda: argv)
        self.upgrade.begin()

    def reap(self) -> None:
        """Wait for the trial to end, and tell the upgrade of it."""
        running = self.upgrade._trial
        assert running
        pid, status = os.waitpid(running.pid, 0)
        assert self.upgrade.reaped(pid, status)

    def close(self) -> None:
        self.upgrade.close()
        self.loop.close()
        os.close(self.kept)
        os.close(self.theirs)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(monkeypatch)
    yield made
    made.close()


def test_a_program_that_fails_changes_nothing_and_its_last_words_are_told(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.begin("import sys; sys.exit('first\\nno such key')")
    bench.reap()
    assert bench.failures == ["the new program exited with 1: no such key"]
    assert bench.upgrade.failures == 1
    assert not bench.executed
    assert "output of the new program: first" in caplog.text
    assert "not upgraded: the new program exited with 1" in caplog.text


def test_one_that_comes_up_is_executed_with_what_is_left_to_it(bench: Bench) -> None:
    bench.begin("pass")
    bench.reap()
    assert bench.executed == [sys.executable, "-c", "pass", "True", "True"]


def test_where_the_kernel_refuses_this_program_goes_on_as_it_was(bench: Bench) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    bench.begin("pass")
    bench.reap()
    assert bench.failures == ["Permission denied"]
    assert not os.get_inheritable(bench.theirs)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_on_trial_it_has_the_descriptors_and_the_state(bench: Bench) -> None:
    bench.begin(
        "import json, os\n"
        f"said = os.pread(int(os.environ['{VARIABLE}']), 9999, 0)\n"
        f"os.write({bench.theirs}, str(json.loads(said)['a']).encode())"
    )
    bench.reap()
    assert os.read(bench.kept, 100) == b"1"


def test_one_that_never_comes_up_is_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PATIENCE", 0.0)
    bench.begin("import signal; signal.pause()")
    bench.loop.later(0, bench.loop.stop)
    bench.loop.run()
    bench.reap()
    (failure,) = bench.failures
    assert failure == "the new program was killed by SIGKILL: not ready after 0 s"


def test_another_beginning_ends_a_trial_without_a_verdict(bench: Bench) -> None:
    bench.begin(f"import os, signal; os.write({bench.theirs}, b'x'); signal.pause()")
    select.select([bench.kept], [], [], 5)
    first = bench.upgrade._trial
    bench.begin("pass")
    assert first
    assert first.returncode == -signal.SIGKILL
    bench.reap()
    assert bench.failures == ["Permission denied"]  # of the second, which was executed


def test_no_program_at_all_is_a_failure_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(trial, "_command", lambda: ["/no/such/program"])
    bench.upgrade.begin()
    (failure,) = bench.failures
    assert "cannot be executed: No such file" in failure
    assert os.listdir("/proc/self/fd") == before


def test_a_process_that_is_not_on_trial_is_anothers(bench: Bench) -> None:
    assert not bench.upgrade.reaped(os.getpid(), 0)
    bench.begin("import signal; signal.pause()")
    assert not bench.upgrade.reaped(os.getpid(), 0)
    assert bench.failures == []
