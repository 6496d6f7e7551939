"""What every way of steering comes to: listeners, and the undo of what feeds them."""

from __future__ import annotations

import _socket
import itertools
from typing import TYPE_CHECKING, Any, Protocol

from faith.kernel import sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import ExitStack
    from types import TracebackType
    from typing import Self

    from faith.translation.prefix import Prefix


class Held(Protocol):
    """Something that holds descriptors, and kernel state by them."""

    def close(self) -> None:
        """Close them."""

    def fileno(self) -> int:
        """The descriptor."""

    def state(self) -> Any:
        """What makes another like it in the program after this one, fit for JSON."""


class Steering:
    """How connections to the prefixes reach one faithd; taken back when it is closed.

    A connection arrives on one of the listeners with its original destination as its local
    address or, where *redirected* is true, as `sockets.original_destination`.  Connections to the
    host's own addresses may arrive as well: the local address tells.

    *groups* are the listeners, a group for each address and port and in it one for each worker.
    *undo* takes everything back; *held* is the part of it that keeps kernel state alive by an
    open descriptor, which no worker may inherit.
    """

    def __init__(
        self,
        way: str,
        groups: Sequence[Sequence[_socket.socket]],
        undo: ExitStack,
        *,
        held: Iterable[Held] = (),
        set_prefixes: Callable[[Iterable[Prefix]], None] | None = None,
        redirected: bool = False,
    ) -> None:
        self.way = way
        self.redirected = redirected
        self.listeners = [list(worker) for worker in zip(*groups, strict=True)]
        self._undo = undo
        self._held = tuple(held)
        self._set_prefixes = set_prefixes

    def set_prefixes(self, prefixes: Iterable[Prefix]) -> None:
        """Steer *prefixes*, and no others, from now on.

        One that stays is steered all the while.  Raises SetupError, and then the old ones stay.
        """
        if self._set_prefixes:
            self._set_prefixes(prefixes)

    def state(self) -> dict[str, Any]:
        """What makes another like it in the next program of this process, fit for JSON.

        Descriptors are in it by their numbers.
        """
        return {
            "way": self.way,
            "listeners": [[sock.fileno() for sock in worker] for worker in self.listeners],
            "held": [thing.state() for thing in self._held],
        }

    @property
    def descriptors(self) -> list[int]:
        """Those that are in the state."""
        things = (*itertools.chain(*self.listeners), *self._held)
        return [thing.fileno() for thing in things]

    def listen(self, port: int) -> None:
        """Have every worker listen on *port* of the host's own addresses too."""
        transparent = not self.redirected
        group = listen(self._undo, "::", port, len(self.listeners), transparent=transparent)
        for mine, listener in zip(self.listeners, group, strict=True):
            mine.append(listener)

    def after_fork(self, worker: int | None) -> list[_socket.socket]:
        """In a forked *worker* (counted from 0): keep its listeners, which are returned, alone.

        None is a process that is no worker, and keeps none.  The rest is closed here, so that the
        kernel drops it when the parent dies; nothing is undone, not even by `close`.
        """
        self._undo.pop_all()
        for thing in self._held:
            thing.close()
        for number, listeners in enumerate(self.listeners):
            if number != worker:
                for listener in listeners:
                    listener.close()
        return [] if worker is None else self.listeners[worker]

    def close(self) -> None:
        """Undo everything, in reverse order; again is nothing."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def resume_groups(undo: ExitStack, listeners: list[list[int]]) -> list[list[_socket.socket]]:
    """The groups of a `Steering.state`'s listeners; *undo* closes them."""
    groups = [[_socket.socket(fileno=fd) for fd in group] for group in zip(*listeners, strict=True)]
    for listener in itertools.chain(*groups):
        undo.callback(listener.close)
        listener.setblocking(False)
    return groups


def listen(
    undo: ExitStack, address: str, port: int, workers: int, *, transparent: bool = True
) -> list[_socket.socket]:
    """A listener on *address* and *port* (0: any) for each worker; *undo* closes them.

    Raises SetupError when the port is not free.
    """
    group = sockets.listeners(address, port, workers, transparent=transparent)
    for listener in group:
        undo.callback(listener.close)
    return group
