"""What every way of steering comes to: listeners, and the undo of what feeds them."""

from __future__ import annotations

import _socket
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from faith.kernel.sockets import tcp_sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import ExitStack
    from types import TracebackType
    from typing import Self

    from faith.translation.ports import Ports
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

    *groups* are the listeners, a group for each address and port, and in each of them as many: one
    for each worker, as long as `deal` says nothing else.  The first group is what the way feeds,
    unless that is "route".
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
        set_ports: Callable[[Ports], None] | None = None,
        redirected: bool = False,
    ) -> None:
        self.way = way
        self.redirected = redirected
        self._groups = [list(group) for group in groups]
        self._leaving: list[list[_socket.socket]] = []
        self._workers = len(self._groups[0]) if self._groups else 1
        self._undo = undo
        self._held = tuple(held)
        self._set_prefixes = set_prefixes
        self._set_ports = set_ports

    @property
    def listeners(self) -> list[list[_socket.socket]]:
        """Those of each worker."""
        rows = self._rows()
        if not rows:
            return [[] for _ in range(self._workers)]
        if self._workers <= len(rows):
            return [list(chain(*rows[worker :: self._workers])) for worker in range(self._workers)]
        return [rows[worker % len(rows)] for worker in range(self._workers)]

    def deal(self, workers: int) -> None:
        """Have listeners for so many workers: some have several, or share one.

        No connection that waits for a worker is lost thereby.
        """
        self._workers = workers

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
            "listeners": [[sock.fileno() for sock in row] for row in self._rows()],
            "held": [thing.state() for thing in self._held],
        }

    @property
    def descriptors(self) -> list[int]:
        """Those that are in the state."""
        listeners = [listener.fileno() for listener in chain(*self._groups)]
        return listeners + [thing.fileno() for thing in self._held]

    def listen(self, port: int) -> None:
        """Listen on *port* of the host's own addresses too.  Raises SetupError."""
        count = len(self._groups[0]) if self._groups else self._workers
        group = listen(self._undo, "::", port, count, transparent=not self.redirected)
        self._groups.append(group)

    def change_ports(self, ports: Ports, own: Ports) -> Callable[[], None]:
        """Get ready to steer *ports*, and to listen on *own* of the host's own addresses.

        What this returns does it, and may raise SetupError; until then everything that was steered
        is, but workers that are forked have the listeners of afterwards.  Raises SetupError when a
        port is not free.
        """
        wanted = set(ports if self.way == "route" else own)
        own_groups = self._groups[self.way != "route" :]
        present = {group[0].getsockname()[1]: group for group in own_groups}
        for port in sorted(wanted - present.keys()):
            self.listen(port)
        for port in present.keys() - wanted:
            self._groups.remove(present[port])
            self._leaving.append(present[port])

        def change() -> None:
            if self._set_ports:
                self._set_ports(ports)
            for listener in chain(*self._leaving):
                listener.close()
            self._leaving.clear()

        return change

    def after_fork(self, worker: int | None) -> list[_socket.socket]:
        """In a forked *worker* (counted from 0): keep its listeners, which are returned, alone.

        None is a process that is no worker, and keeps none.  The rest is closed here, so that the
        kernel drops it when the parent dies; nothing is undone, not even by `close`.
        """
        self._undo.pop_all()
        for thing in self._held:
            thing.close()
        kept = [] if worker is None else self.listeners[worker]
        for listener in chain(*self._groups, *self._leaving):
            if listener not in kept:
                listener.close()
        return kept

    def close(self) -> None:
        """Undo everything, in reverse order; again is nothing."""
        self._undo.close()

    def _rows(self) -> list[list[_socket.socket]]:
        """Listeners with one of each group."""
        return [list(row) for row in zip(*self._groups, strict=True)]

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
    for listener in chain(*groups):
        undo.callback(listener.close)
        listener.setblocking(False)
    return groups


def listen(
    undo: ExitStack, address: str, port: int, workers: int, *, transparent: bool = True
) -> list[_socket.socket]:
    """A listener on *address* and *port* (0: any) for each worker; *undo* closes them.

    Raises SetupError when the port is not free.
    """
    group = tcp_sockets.listeners(address, port, workers, transparent=transparent)
    for listener in group:
        undo.callback(listener.close)
    return group
