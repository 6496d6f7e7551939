from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from faith.daemon.observe.health import LAYOUT, UPGRADES, RelayHealth
from faith.daemon.process.channel import Channel
from faith.daemon.upgrade import upgrades
from faith.daemon.upgrade.inherited_state import InheritedState
from faith.daemon.upgrade.upgrades import Upgrades
from faith.errors import FaithError
from faith.kernel.descriptor import Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable


class Upgrade:
    """An upgrade in name only, which is told how it went."""

    last: Upgrade

    def __init__(self, loop: Any, leave: Callable[[], Any], failed: Callable[[Any], None]) -> None:
        self.leave = leave
        self.failed = failed
        self.begun = 0
        self.failures = 0
        Upgrade.last = self

    def begin(self) -> None:
        self.begun += 1

    def close(self) -> None:
        pass


class Thing:
    """Something with a state."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def state(self) -> Any:
        return self._state


class Asking:
    """A request for an upgrade, and its answer."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours: Channel[Any, Any] = Channel(ours)
        self.theirs: Channel[Any, Any] = Channel(theirs)
        self.taken = False

    def take(self) -> Channel[Any, Any]:
        self.taken = True
        return self.ours

    @property
    def answered(self) -> bool:
        return bool(select.select([self.theirs], [], [], 0)[0])

    @property
    def answer(self) -> Any:
        received = self.theirs.receive()
        self.theirs.close()
        return received and received[0]


@pytest.fixture(autouse=True)
def _upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrades, "Upgrade", Upgrade)


def made_of(inherited: InheritedState | None = None, **things: Thing) -> Upgrades:
    loop: Any = None
    return Upgrades(loop, inherited, lambda: things, RelayHealth([0] * LAYOUT.size))


def request(asking: Asking) -> Any:
    return asking


def test_the_first_program_is_number_one_and_the_next_one_more() -> None:
    first = made_of()
    first.serve()
    assert first.programs == 1
    assert time.time() - first.started < 60
    values, _ = Upgrade.last.leave()
    second = made_of(InheritedState(values, on_trial=False))
    assert second.programs == 1  # until it serves
    second.serve()
    assert (second.programs, second.started) == (2, first.started)


def test_what_is_left_has_the_state_and_descriptors_of_all() -> None:
    asking = Asking()
    one, other = [1, Descriptor(7)], {"a": 2, "b": [Descriptor(8), Descriptor(9)]}
    made = made_of(one=Thing(one), other=Thing(other))
    made.begin(request(asking))
    values, descriptors = Upgrade.last.leave()
    assert (values["one"], values["other"]) == (one, other)
    assert values["waiting"] == [asking.ours.fileno()]
    assert sorted(descriptors) == sorted([7, 8, 9, asking.ours.fileno()])
    made.close()
    assert asking.answer == {"error": "it is being stopped"}


def test_who_asked_is_answered_when_all_is_handed_over() -> None:
    asking = Asking()
    made = made_of()
    made.begin(request(asking))
    assert Upgrade.last.begun == 1
    made.handed_over()
    assert asking.answer == {"programs": 1, "kept": 0}


def test_who_asked_is_told_why_not_and_so_is_who_wants_to_know() -> None:
    asking = Asking()
    told: list[str] = []
    made = made_of()
    made.begin(request(asking), lambda error: told.append(str(error)))
    Upgrade.last.failed(FaithError("no such key"))
    assert asking.answer == {"error": "not upgraded: no such key"}
    assert told == ["no such key"]
    Upgrade.last.failed(FaithError("again"))
    assert told == ["no such key"]  # once


def test_one_that_is_for_later_begins_when_this_program_has_all() -> None:
    asking = Asking()
    made = made_of()
    made.begin(request(asking), later=True)
    assert Upgrade.last.begun == 0
    assert asking.taken, "its connection would be closed before the hand-over is"
    made.handed_over()
    assert Upgrade.last.begun == 1
    assert not asking.answered
    made.handed_over()
    assert Upgrade.last.begun == 1
    assert asking.answer == {"programs": 1, "kept": 0}


def test_a_reload_that_waits_for_one_is_told_when_the_daemon_stops() -> None:
    """The daemon may go on after all, and read its file again."""
    told: list[str] = []
    made = made_of()
    made.begin(failed=lambda error: told.append(f"now: {error}"))
    made.begin(failed=lambda error: told.append(f"later: {error}"), later=True)
    made.close()
    assert sorted(told) == ["later: it is being stopped", "now: it is being stopped"]
    made.handed_over()
    assert Upgrade.last.begun == 1


@pytest.fixture
def made() -> Upgrades:
    """Those of a first program, which leaves nothing."""
    loop: Any = None
    return Upgrades(loop, None, dict, RelayHealth([0] * LAYOUT.size))


def test_one_that_is_for_later_is_answered_when_the_daemon_stops(made: Upgrades) -> None:
    asking = Asking()
    made.begin(request(asking), later=True)
    made.close()
    assert asking.answer == {"error": "it is being stopped"}


def test_one_that_is_for_later_and_fails_is_told(made: Upgrades) -> None:
    asking = Asking()
    told: list[str] = []
    made.begin(request(asking), lambda error: told.append(str(error)), later=True)
    made.handed_over()
    Upgrade.last.failed(FaithError("no such key"))
    assert asking.answer == {"error": "not upgraded: no such key"}
    assert told == ["no such key"]


def test_upgrades_are_counted_by_their_results() -> None:
    cells = [0] * LAYOUT.size
    loop: Any = None
    values = {"programs": 1, "started": 1.5, "waiting": []}
    inherited = InheritedState(values, on_trial=True)
    second = Upgrades(loop, inherited, dict, RelayHealth(cells))
    assert [*LAYOUT.of(UPGRADES, cells)] == [0, 0]
    second.serve()
    assert [*LAYOUT.of(UPGRADES, cells)] == [0, 0], "it is not over yet"
    second.handed_over()
    assert [*LAYOUT.of(UPGRADES, cells)] == [1, 0]
    Upgrade.last.failed(FaithError("no such key"))
    assert [*LAYOUT.of(UPGRADES, cells)] == [1, 1]


def test_a_program_on_trial_answers_nobody() -> None:
    values = {"programs": 3, "started": 1.5, "waiting": [12345]}
    made = made_of(InheritedState(values, on_trial=True))
    made.handed_over()  # would fail on a descriptor that is not there
    assert (made.programs, made.started) == (3, 1.5)
