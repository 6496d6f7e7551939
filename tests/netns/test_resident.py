"""A thread in a network namespace of its own."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from faith.errors import SetupError
from faith.lab import resident
from faith.lab.resident import Resident

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.netns


def here() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


@pytest.fixture
def one() -> Iterator[Resident]:
    made = Resident("one")
    yield made
    made.close()


def test_it_does_all_in_its_namespace_and_in_one_thread(one: Resident) -> None:
    assert one.call(here) == os.fstat(one.namespace).st_ino != here()
    assert one.call(threading.get_ident) == one.call(threading.get_ident)
    assert one.call(lambda: threading.current_thread().name) == "one"


def test_it_returns_and_raises_what_the_function_does(one: Resident) -> None:
    assert one.call(divmod, 7, 2) == (3, 1)
    for error in (ZeroDivisionError, KeyboardInterrupt):

        def fail(error: type[BaseException] = error) -> None:
            raise error

        with pytest.raises(error):
            one.call(fail)
    assert one.call(lambda: "goes on") == "goes on"


def test_what_it_does_may_ask_for_more(one: Resident) -> None:
    assert one.call(lambda: one.call(lambda: one.call(here))) == one.call(here)


def test_nobody_waits_longer_than_was_said(one: Resident) -> None:
    over = threading.Event()
    with pytest.raises(TimeoutError, match=r"one: Event\.wait did not return within 0\.01 s"):
        one.call(over.wait, timeout=0.01)
    over.set()
    assert one.call(lambda: "goes on") == "goes on"


def test_nothing_of_it_stays() -> None:
    descriptors, threads = os.listdir("/proc/self/fd"), threading.active_count()
    made = Resident("one")
    made.close()
    assert os.listdir("/proc/self/fd") == descriptors
    assert threading.active_count() == threads


def test_where_no_namespace_can_be_made_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(resident, "new_network", refuse)
    with pytest.raises(SetupError, match=r"namespace for one: Operation not permitted.*root"):
        Resident("one")
