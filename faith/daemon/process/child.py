"""The supervised side of a process: it answers heartbeats, applies the desired state, obeys."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from faith.daemon.observe import log as log_output
from faith.daemon.observe import own_numbers
from faith.daemon.process.channel import close_all, from_memory
from faith.daemon.process.messages import Alive, Heartbeat, State, Stop

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Mapping

    from faith.daemon.process.messages import Order, ProcessChannel

    Handler = Callable[[Any, list[int]], object]
    """Called with an order and its descriptors, which are its own from then on."""
    Apply = Callable[[str, bool, list[int]], object]
    """Called with a state: its text, whether it is a difference, and its descriptors, now its own.

    Raises for what cannot be applied; then it is sent again.
    """

log = logging.getLogger("faith.worker")


class Child:
    """Serves *channel* on *loop*: orders go to *handlers* by their type, states to *topics*.

    *gone* is called once when the supervisor is gone, or at a `Stop` for which there is no handler.
    One descriptor is kept back, so that a process that has no other can receive a new state.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        channel: ProcessChannel,
        handlers: Mapping[type[Order], Handler],
        gone: Callable[[], object],
        topics: Mapping[str, Apply] | None = None,
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._handlers = handlers
        self._gone = gone
        self._topics = topics or {}
        self._closed = False
        self._spare: int | None = None
        self._keep_spare()
        loop.add_reader(channel.fileno(), self._receive)
        log_output.batch(loop)

    def close(self) -> None:
        """Receive no more; the channel stays open."""
        self._closed = True
        self._loop.remove_reader(self._channel.fileno())
        self._use_spare()

    def _receive(self) -> None:
        self._use_spare()
        try:
            received = self._channel.receive()
        except BlockingIOError:
            self._keep_spare()
            return
        if received is None:
            self.close()
            self._gone()
            return
        order, descriptors, cut = received
        if isinstance(order, State):
            self._apply(order, descriptors, cut=cut)
        elif isinstance(order, Heartbeat):
            own_numbers.own().note()
            self._answer()
        elif handler := self._handlers.get(type(order)):
            handler(order, descriptors)
        else:
            close_all(descriptors)
            if isinstance(order, Stop):
                self.close()
                self._gone()
                return
        self._keep_spare()

    def _apply(self, state: State, descriptors: list[int], *, cut: bool) -> None:
        """Apply *state* unless it is a difference to another one, and answer what is applied."""
        applied = self._channel.applied
        is_next = not state.base or state.base == applied.get(state.topic)
        if cut or not is_next or state.topic not in self._topics:
            close_all(descriptors)
        else:
            text, *rest = descriptors
            try:
                self._topics[state.topic](from_memory(text), bool(state.base), rest)
                applied[state.topic] = state.generation
            except Exception:
                log.exception(
                    "the %s of generation %d is not applied", state.topic, state.generation
                )
        self._answer()

    def _answer(self) -> None:
        with suppress(OSError):  # the supervisor asks again
            self._channel.send(Alive(self._channel.applied))

    def _keep_spare(self) -> None:
        if self._spare is None and not self._closed:
            with suppress(OSError):
                self._spare = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def _use_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
