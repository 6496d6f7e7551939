"""Pinholes: listeners that one client each reaches, with precedence over all lookup programs.

Without a pinhole, the range of any faithd of the network namespace would take the connections to a
listener at an address and a port of its own, and so would a host binding, of every port.
"""

from __future__ import annotations

import _socket
import os
import struct
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from faith.kernel.bpf import bpf
from faith.kernel.bpf.assembler import assemble
from faith.kernel.process import capabilities
from faith.kernel.steering.lookup_program import TCP6, pinhole_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from faith.kernel.steering.lookup_program import Flow

CAPABILITIES = ("CAP_BPF", "CAP_NET_ADMIN")
MOST_PINHOLES = 16384

_LOWEST_PORT = 1024


class Pinholes:
    """The pinholes of one *flow*: a map of *listeners*, and the *link* of its program.

    Each ends with its listener, all of them with the process.
    """

    def __init__(self, flow: Flow, listeners: bpf.Map, link: bpf.Object) -> None:
        self._flow = flow
        self._listeners = listeners
        self._link = link

    @classmethod
    def create(cls, flow: Flow = TCP6) -> Self:
        """Attach the program, with no pinhole yet.  Raises SetupError if the kernel cannot."""
        try:
            return cls(flow, *_attached(flow))
        except OSError as error:
            step = "open pinholes for FTP data"
            raise capabilities.refusal(step, error, *CAPABILITIES) from error

    @classmethod
    def adopt(cls, state: Any, flow: Flow = TCP6) -> Self:
        """Adopt the pinholes whose `state` the predecessor process left; they stay open."""
        listeners, link = state
        return cls(flow, bpf.Map.adopt(listeners), bpf.Object.adopt(link))

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process."""
        return [self._listeners.state(), self._link.state()]

    def open(self, client: str, listener: int, ours: Callable[[int], object]) -> None:
        """Steer connections of *client* to the listener that is open at this descriptor.

        *ours* returns whether pinholes may be at an address.  Raises OSError.
        """
        with closing(_socket.socket(fileno=os.dup(listener))) as sock:
            address, port = sock.getsockname()[:2]
        family = self._flow.family
        packed = _socket.inet_pton(family, address)
        if port < _LOWEST_PORT or not ours(int.from_bytes(packed, "big")):
            raise PermissionError(f"no pinhole may be at {address} port {port}")
        key = self._flow.pinhole_key.pack(_socket.inet_pton(family, client), packed, port)
        self._listeners.update(key, struct.pack("=Q", listener))

    def close(self) -> None:
        """Close all pinholes."""
        self._link.close()
        self._listeners.close()


def _attached(flow: Flow) -> tuple[bpf.Map, bpf.Object]:
    """Return the map of the listeners, and the link of the program.  Raises OSError."""
    with ExitStack() as undo:
        listeners = undo.enter_context(
            bpf.Map.create(
                bpf.MAP_SOCKHASH,
                "faith_pinholes",
                key=flow.pinhole_key.size,
                value=8,
                entries=MOST_PINHOLES,
            )
        )
        code = assemble(pinhole_program(flow, listeners.fd))
        link = bpf.at_socket_lookup("faith_pinholes", code)
        undo.pop_all()
    return listeners, link
