"""Privileged services of the supervisor for the data connections of FTP, which workers ask for."""

from __future__ import annotations

import logging
import socket
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from faith.daemon.process.channel import InvalidMessage, socket_of
from faith.daemon.process.messages import Done, OpenPinhole, Sock, Steer, Unsteer, WantSockets
from faith.errors import FaithError, SetupError
from faith.kernel.sockets.tcp_sockets import stream_socket
from faith.kernel.steering.host_bindings import HostBindings
from faith.kernel.steering.lookup_program import TCP4, TCP6
from faith.kernel.steering.pinholes import Pinholes
from faith.translation.address import number
from faith.translation.networks import Networks
from faith.translation.prefix import Prefixes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from faith.daemon.process.messages import Report
    from faith.daemon.process.peer import Worker
    from faith.daemon.process.reception import Handler
    from faith.kernel.steering.lookup_program import Flow
    from faith.translation.prefix import Prefix

log = logging.getLogger("faith.supervisor")

MOST_STEERED = 16384
"""Pairs that a worker may have steered at a time."""

_FLOWS = {socket.AF_INET: TCP4, socket.AF_INET6: TCP6}


class DataConnections:
    """Hears what workers ask for.

    They may have it for the addresses of *prefixes* and of mapped IPv4 *networks*.  What the kernel
    has to have for it is set up for the first that needs it.
    """

    def __init__(
        self,
        workers: int,
        prefixes: Callable[[], tuple[Prefix, ...]],
        networks: Callable[[], tuple[tuple[int, int], ...]],
    ) -> None:
        self._workers = workers
        self._prefixes = prefixes
        self._networks = networks
        self._known: tuple[Prefix, ...] = ()
        self._found = Prefixes(())
        self._undo = ExitStack()
        self._pairs: HostBindings | None = None
        self._pinholes: dict[Flow, Pinholes] = {}
        self._no_pinholes = False
        self.handlers: dict[type[Report], Handler] = {
            WantSockets: self._give_sockets,
            OpenPinhole: self._open_pinhole,
            Steer: self._steer,
            Unsteer: self._unsteer,
        }

    def state(self) -> dict[str, Any]:
        """Return the state from which the next program of this process continues: `adopt`."""
        return {
            "doors": {flow.family: pinholes.state() for flow, pinholes in self._pinholes.items()},
            "pairs": self._pairs and self._pairs.state(),
        }

    def adopt(self, state: dict[str, Any]) -> None:
        """Adopt the `state` that the predecessor process left."""
        for flow in (TCP4, TCP6):
            if left := state["doors"].get(str(int(flow.family))):
                self._pinholes[flow] = Pinholes.adopt(left, flow)
                self._undo.callback(self._pinholes[flow].close)
        if state["pairs"]:
            self._pairs = HostBindings.adopt(state["pairs"])
            self._undo.callback(self._pairs.close)

    def forget(self, worker: Worker) -> None:
        """Undo what was done for a worker that has ended."""
        if self._pairs is not None:
            self._pairs.forget(worker.number)

    def close(self) -> None:
        """Undo everything."""
        self._undo.close()

    def _give_sockets(self, worker: Worker, message: WantSockets, descriptors: list[int]) -> None:
        """Transparent sockets, as many as it asks for; it is told of those that cannot be made."""
        family = message.family
        for _ in range(message.count):
            try:
                sock = stream_socket(family, transparent=True)
            except OSError as error:
                log.error("no socket for FTP data connections: %s", error.strerror)
                worker.send(Sock(family))
            else:
                with closing(sock):
                    worker.send(Sock(family), [sock.fileno()])

    # -- in clear ----------------------------------------------------------------------------

    def _open_pinhole(self, worker: Worker, message: OpenPinhole, descriptors: list[int]) -> None:
        """Have a client reach a worker's listener, whoever steers its port."""
        try:
            for listener in descriptors:
                flow = _flow(listener)
                _check(message.client, flow.family)
                ours = self._is_mapped if flow == TCP6 else self._is_mapped_ipv4
                if flow == TCP4 and not ours(_ipv4_of(listener)):
                    continue  # an address of the gateway's own, where nobody steers
                if pinholes := self._opened(flow):
                    pinholes.open(message.client, listener, ours)
        except OSError as error:
            log.error("a port for FTP data may be another faithd's: %s", error)
        worker.send(Done())

    def _opened(self, flow: Flow) -> Pinholes | None:
        """The pinholes; None where there can be none, which is told once."""
        if flow not in self._pinholes and not self._no_pinholes:
            try:
                self._pinholes[flow] = Pinholes.create(flow)
                self._undo.callback(self._pinholes[flow].close)
            except SetupError as error:
                self._no_pinholes = True
                log.info("a port for FTP data may be one that another faithd steers: %s", error)
        return self._pinholes.get(flow)

    def _is_mapped_ipv4(self, address: int) -> bool:
        return address in Networks(32, self._networks())

    def _is_mapped(self, address: int) -> bool:
        if self._known is not self._prefixes():
            self._known = self._prefixes()
            self._found = Prefixes(self._known)
        return self._found.find(address) is not None

    # -- encrypted ---------------------------------------------------------------------------

    def _steer(self, worker: Worker, message: Steer, descriptors: list[int]) -> None:
        """Have a client's data connections come to a worker, which is told when they do.

        Its listener goes with every answer: who has it already knows it.
        """
        listener: list[int] = []
        try:
            pair = self._pair(message)
            pairs = self._steering()
            if pairs.held(worker.number) >= MOST_STEERED:
                raise PermissionError(f"more than {MOST_STEERED} pairs of a worker's")
            pairs.steer(pair, worker.number)
            listener = [pairs.listeners[worker.number].fileno()]
        except (FaithError, OSError) as error:
            log.error("data connections of encrypted FTP will fail: %s", error)
        worker.send(Done(), listener)

    def _pair(self, message: Steer) -> tuple[str, str]:
        """Return the pair to steer.  Raises InvalidMessage unless a mapped address is in it."""
        _check(message.client, socket.AF_INET6)
        _check(message.mapped, socket.AF_INET6)
        if not self._is_mapped(number(message.mapped)):
            # Sessions outlive a prefix that is not relayed from any more; their data do not.
            raise PermissionError(f"{message.mapped} is under no prefix")
        return message.client, message.mapped

    def _steering(self) -> HostBindings:
        if self._pairs is None:
            self._pairs = HostBindings.create(self._workers)
            self._undo.callback(self._pairs.close)
            log.info("data of encrypted FTP is steered by %s", self._pairs.method)
        return self._pairs

    def _unsteer(self, worker: Worker, message: Unsteer, descriptors: list[int]) -> None:
        if self._pairs is not None:
            self._pairs.unsteer((message.client, message.mapped), worker.number)
        worker.send(Done())


def _check(address: str, family: int) -> None:
    """Raise OSError for what is no address of *family*."""
    try:
        socket.inet_pton(family, address)
    except ValueError as error:
        raise OSError(0, "no address") from error


def _ipv4_of(listener: int) -> int:
    with closing(socket_of(listener)) as sock:
        return number(sock.getsockname()[0])


def _flow(listener: int) -> Flow:
    """Return the flow of a TCP listener.  Raises InvalidMessage for what is none."""
    with closing(socket_of(listener)) as sock:
        kind = sock.type, sock.proto
        if kind != (socket.SOCK_STREAM, socket.IPPROTO_TCP) or sock.family not in _FLOWS:
            raise InvalidMessage("no TCP socket")
        return _FLOWS[sock.family]
