"""Who may come unannounced, and what is asked of who steers them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from faith.relay.alg.tls_sessions import TlsSessions

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENT, MAPPED = "2001:db8:6::2", "2001:db8:ffff::c000:250"


class Standing:
    """Stands for a session."""

    def __init__(self, client: str) -> None:
        self.client_host = client
        self.route = SimpleNamespace(mapped=MAPPED)


def session(client: str = CLIENT) -> Any:
    return Standing(client)


class Supervisor:
    """Does what it is asked for when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.waiting: list[Callable[[], None]] = []
        self.later: list[Callable[[], None]] = []
        self.secured = TlsSessions(self.ask, lambda seconds, then: self.later.append(then))

    def ask(self, kind: str, client: str, mapped: str, then: Callable[[], None]) -> None:
        self.asked.append((kind, client, mapped))
        self.waiting.append(then)

    def answer(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()

    def pass_time(self) -> None:
        """Have everything arrive that is on its way."""
        while self.later:
            self.later.pop(0)()


def test_each_session_is_asked_for_and_taken_back() -> None:
    supervisor = Supervisor()
    secured, asked = supervisor.secured, supervisor.asked
    first, second = session(), session()
    secured.add(first, lambda: None)
    secured.add(second, lambda: None)
    secured.remove(second)
    assert secured.find(CLIENT, MAPPED) == first
    secured.remove(first)
    secured.remove(first)
    supervisor.answer()
    supervisor.pass_time()
    assert secured.find(CLIENT, MAPPED) is None
    assert asked == [
        ("steer", CLIENT, MAPPED),
        ("steer", CLIENT, MAPPED),
        ("unsteer", CLIENT, MAPPED),
        ("unsteer", CLIENT, MAPPED),
    ]


def test_only_who_was_added_is_found() -> None:
    secured = Supervisor().secured
    secured.add(session(), lambda: None)
    assert secured.find(CLIENT, "2001:db8:ffff::c000:251") is None
    assert secured.find("2001:db8:6::3", MAPPED) is None


def test_one_that_has_ended_is_found_until_nothing_steered_to_it_can_come() -> None:
    supervisor = Supervisor()
    first, second = session(), session()
    supervisor.secured.add(first, lambda: None)
    supervisor.secured.remove(first)
    assert supervisor.secured.find(CLIENT, MAPPED) == first
    supervisor.secured.add(second, lambda: None)
    assert supervisor.secured.find(CLIENT, MAPPED) == second
    supervisor.answer()
    assert supervisor.secured.find(CLIENT, MAPPED) == second
    supervisor.secured.remove(second)
    supervisor.answer()
    assert supervisor.secured.find(CLIENT, MAPPED) == second, "a handshake may be under way"
    supervisor.pass_time()
    assert supervisor.secured.find(CLIENT, MAPPED) is None
