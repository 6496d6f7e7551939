"""The base of all steering methods: listeners, and the undo of the kernel state that feeds them."""

from __future__ import annotations

import _socket
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from faith.errors import SetupError
from faith.kernel.descriptor import Descriptor
from faith.kernel.sockets import tcp_sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import ExitStack
    from types import TracebackType
    from typing import Self

    from faith.translation.ports import Ports
    from faith.translation.prefix import Prefix


class HeldState(Protocol):
    """A holder of descriptors, and of the kernel state that lives by them."""

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process, fit for JSON."""


class Steering:
    """The steering of connections to the prefixes of one faithd, undone by `close`.

    A connection arrives on one of the listeners with its original destination as its local address
    or, where *redirected* is true, as `tcp_sockets.original_destination`.  Connections to the
    host's own addresses may arrive as well; the local address tells them apart.

    *groups* are the listeners, a group for each address and port, with one listener per worker
    until `deal` says otherwise.  The kernel state feeds the first group, except with the method
    "route". *undo* removes everything; *held* is the part of it that keeps kernel state alive by an
    open descriptor, which no worker may inherit.
    """

    def __init__(
        self,
        method: str,
        groups: Sequence[Sequence[_socket.socket]],
        undo: ExitStack,
        *,
        held: Iterable[HeldState] = (),
        set_prefixes: Callable[[Iterable[Prefix]], None] | None = None,
        set_ports: Callable[[Ports], None] | None = None,
        redirected: bool = False,
        in_place: Callable[[], bool] = lambda: True,
    ) -> None:
        self.method = method
        self.redirected = redirected
        self._groups = [list(group) for group in groups]
        self._leaving: list[list[_socket.socket]] = []
        self._paused: list[tuple[_socket.socket, tuple[str, int]]] = []
        self._workers = len(self._groups[0]) if self._groups else 1
        self._undo = undo
        self._held = tuple(held)
        self._set_prefixes = set_prefixes
        self._set_ports = set_ports
        self.in_place = in_place
        """Returns whether what feeds the listeners is there, as far as others can remove it."""

    @property
    def listeners(self) -> list[list[_socket.socket]]:
        """The listeners of each worker."""
        rows = self._rows()
        if not rows:
            return [[] for _ in range(self._workers)]
        if self._workers <= len(rows):
            return [list(chain(*rows[worker :: self._workers])) for worker in range(self._workers)]
        return [rows[worker % len(rows)] for worker in range(self._workers)]

    def deal(self, workers: int) -> None:
        """Distribute the listeners over *workers*: a worker may get several, or share one.

        No connection that waits to be accepted is lost.
        """
        self._workers = workers

    def set_prefixes(self, prefixes: Iterable[Prefix]) -> None:
        """Steer exactly *prefixes* from now on.

        A prefix that stays is steered throughout.  Raises SetupError, and then the old ones stay.
        """
        if self._set_prefixes:
            self._set_prefixes(prefixes)

    def state(self) -> dict[str, Any]:
        """Return the state that an upgrade passes to the successor process, fit for JSON.

        It contains descriptors by their numbers.
        """
        return {
            "way": self.method,
            "listeners": [[Descriptor.of(sock) for sock in row] for row in self._rows()],
            "held": [thing.state() for thing in self._held],
        }

    def listen(self, port: int) -> None:
        """Listen on *port* of the host's own addresses too.  Raises SetupError."""
        count = len(self._groups[0]) if self._groups else self._workers
        group = listen(self._undo, "::", port, count, transparent=not self.redirected)
        self._groups.append(group)

    def change_ports(self, ports: Ports, own: Ports) -> Callable[[], None]:
        """Prepare to steer *ports*, and to listen on *own* of the host's own addresses.

        Returns a function that commits the change, and that may raise SetupError; until it is
        called everything stays steered, but workers forked meanwhile already have the new
        listeners.  Raises SetupError when a port is not free.
        """
        wanted = set(ports if self.method == "route" else own)
        own_groups = self._groups[self.method != "route" :]
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

    def pause(self) -> None:
        """Have the kernel refuse new connections; a no-op the second time.

        What feeds the listeners stays: established connections may depend on it.
        """
        if not self._paused:
            listeners = list(chain(*self._groups))
            self._paused = [(one, one.getsockname()[:2]) for one in listeners]
            for listener in listeners:
                tcp_sockets.pause(listener)

    def resume(self, ports: Ports) -> None:
        """Accept again, after `pause`, connections to *ports*, which are steered.

        Raises SetupError, and stays paused, when another program has taken a port.
        """
        try:
            for listener, name in self._paused:
                tcp_sockets.resume(listener, name)
            if self._paused and self._set_ports:
                self._set_ports(ports)  # until Linux 5.16 a BPF map has lost the sockets
        except SetupError:
            for listener, _ in self._paused:
                tcp_sockets.pause(listener)
            raise
        self._paused.clear()

    def close(self) -> None:
        """Undo everything, in reverse order; a second call does nothing."""
        self._undo.close()

    def _rows(self) -> list[list[_socket.socket]]:
        """Return rows of listeners, each with one listener of every group."""
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


def adopt_groups(undo: ExitStack, listeners: list[list[int]]) -> list[list[_socket.socket]]:
    """Adopt the listeners of a `Steering.state`, in groups; *undo* closes them."""
    groups = [[_socket.socket(fileno=fd) for fd in group] for group in zip(*listeners, strict=True)]
    for listener in chain(*groups):
        undo.callback(listener.close)
        listener.setblocking(False)
    return groups


def listen(
    undo: ExitStack, address: str, port: int, workers: int, *, transparent: bool = True
) -> list[_socket.socket]:
    """Return a listener on *address* and *port* (0: any) for each worker; *undo* closes them.

    Raises SetupError when the port is not free.
    """
    group = tcp_sockets.listeners(address, port, workers, transparent=transparent)
    for listener in group:
        undo.callback(listener.close)
    return group
