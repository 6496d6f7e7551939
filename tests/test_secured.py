"""Who may come unannounced, and what is asked of who steers them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from faith.relay.secured import Secured

CLIENT, MAPPED = "2001:db8:6::2", "2001:db8:ffff::c000:250"


class Standing:
    """Stands for a session."""

    def __init__(self, client: str) -> None:
        self.client_host = client
        self.route = SimpleNamespace(mapped=MAPPED)


def session(client: str = CLIENT) -> Any:
    return Standing(client)


def make() -> tuple[Secured, list[tuple[str, str, str]], list[str]]:
    asked: list[tuple[str, str, str]] = []
    return Secured(lambda *words: asked.append(words)), asked, []


def test_each_session_is_asked_for_and_taken_back() -> None:
    secured, asked, _ = make()
    first, second = session(), session()
    secured.add(first, lambda: None)
    secured.add(second, lambda: None)
    secured.remove(second)
    assert secured.find(CLIENT, MAPPED) == first
    secured.remove(first)
    secured.remove(first)
    assert secured.find(CLIENT, MAPPED) is None
    assert asked == [
        ("steer", CLIENT, MAPPED),
        ("steer", CLIENT, MAPPED),
        ("unsteer", CLIENT, MAPPED),
        ("unsteer", CLIENT, MAPPED),
    ]


def test_answers_come_in_the_order_of_the_questions() -> None:
    secured, _, told = make()
    secured.add(session(), lambda: told.append("one"))
    secured.add(session("2001:db8:6::3"), lambda: told.append("two"))
    secured.answered()
    assert told == ["one"]
    secured.answered()
    secured.answered()
    assert told == ["one", "two"]


def test_nobody_waits_for_who_has_gone() -> None:
    secured, _, told = make()
    secured.add(session(), lambda: told.append("one"))
    secured.add(session(), lambda: told.append("two"))
    secured.give_up()
    assert told == ["one", "two"]


def test_only_who_was_added_is_found() -> None:
    secured, _, _ = make()
    secured.add(session(), lambda: None)
    assert secured.find(CLIENT, "2001:db8:ffff::c000:251") is None
    assert secured.find("2001:db8:6::3", MAPPED) is None
