"""Questions to the supervisor, a few at a time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Action = Callable[[], object]

MOST = 32
"""Questions without an answer: as many fit into what the kernel queues, on the way and back."""


class SupervisorRequests:
    """Asks one thing after the other; who answers does so in the same order.

    *later* calls what it is given, soon: loop.call_soon.
    """

    def __init__(self, later: Callable[[Action], object]) -> None:
        self._later = later
        self._waiting: deque[tuple[Action, Action]] = deque()
        self._asked: deque[Action] = deque()
        self._closed = False

    def ask(self, question: Action, then: Action) -> None:
        """Call *question*, which asks, when it is its turn, and *then* when it is answered.

        Where nobody answers any more, *then* is called all the same.
        """
        if self._closed:
            self._later(then)
            return
        self._waiting.append((question, then))
        self._go_on()

    def answered(self) -> None:
        """The first that was asked has its answer, whatever came of it."""
        if self._asked:
            self._asked.popleft()()
            self._go_on()

    def give_up(self) -> None:
        """Nobody answers any more."""
        self._closed = True
        for then in (*self._asked, *(then for _, then in self._waiting)):
            self._later(then)
        self._asked.clear()
        self._waiting.clear()

    def _go_on(self) -> None:
        while self._waiting and len(self._asked) < MOST:
            question, then = self._waiting.popleft()
            self._asked.append(then)
            question()
