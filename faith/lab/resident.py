"""A thread in a network namespace of its own, which calls functions there."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from faith.errors import SetupError
from faith.lab.namespace import new_network

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Resident:
    """The thread and its new namespace, held by the descriptor *namespace*.  Raises SetupError."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        born: Future[int] = Future()
        self._thread = threading.Thread(target=self._live, args=(born,), name=name, daemon=True)
        self._thread.start()
        self.namespace = born.result()

    def close(self) -> None:
        """End the thread and close the namespace; a function that is still running is
        left behind."""
        self._work.put(None)
        self._thread.join(timeout=1)
        os.close(self.namespace)

    def call(self, function: Callable[[*Ts], T], *args: *Ts, timeout: float = 30) -> T:
        """Call *function* in this thread; return what it returns, or raise its error.

        Raises TimeoutError after *timeout* seconds; that does not interrupt the function.
        """
        if threading.current_thread() is self._thread:
            return function(*args)
        future: Future[T] = Future()
        self._work.put(lambda: _fulfil(future, function, *args))
        if not wait([future], timeout).done:
            name = getattr(function, "__qualname__", function)
            raise TimeoutError(f"{self.name}: {name} did not return within {timeout:g} s")
        return future.result()

    def _live(self, born: Future[int]) -> None:
        try:
            born.set_result(new_network())
        except OSError as error:
            step = f"making a network namespace for {self.name}"
            born.set_exception(SetupError(step, str(error.strerror), "run it as root"))
            return
        while work := self._work.get():
            work()
            del work  # or the objects it refers to, such as sockets, would live until the next call


def _fulfil(future: Future[T], function: Callable[[*Ts], T], *args: *Ts) -> None:
    try:
        future.set_result(function(*args))
    except BaseException as error:  # noqa: BLE001 - the caller gets it, whatever it is
        future.set_exception(error)
