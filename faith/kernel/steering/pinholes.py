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
from faith.kernel.descriptor import Descriptor
from faith.kernel.process import capabilities
from faith.kernel.steering.lookup_program import TCP6, pinhole_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from faith.kernel.steering.lookup_program import Flow

CAPABILITIES = ("CAP_BPF", "CAP_NET_ADMIN")
MOST_PINHOLES = 16384

_LOWEST_PORT = 1024


class Pinholes:
    """The pinholes of one *flow*; each ends with its listener, all of them with the process.

    Raises SetupError when the kernel cannot do it.
    """

    def __init__(self, flow: Flow = TCP6) -> None:
        self._flow = flow
        with ExitStack() as undo:
            try:
                self._listeners = undo.enter_context(
                    bpf.Map(
                        bpf.MAP_SOCKHASH,
                        "faith_pinholes",
                        key=flow.pinhole_key.size,
                        value=8,
                        entries=MOST_PINHOLES,
                    )
                )
                code = assemble(pinhole_program(flow, self._listeners.fd))
                self._link = undo.enter_context(bpf.at_socket_lookup("faith_pinholes", code))
            except OSError as error:
                step = "open pinholes for FTP data"
                raise capabilities.refusal(step, error, *CAPABILITIES) from error
            self._undo = undo.pop_all()

    @classmethod
    def resume(cls, descriptors: Iterable[int], flow: Flow = TCP6) -> Self:
        """Adopt the pinholes whose `descriptors` the predecessor process left; they stay open."""
        listeners, link = descriptors
        made = cls.__new__(cls)
        made._flow = flow
        with ExitStack() as undo:
            made._listeners = undo.enter_context(bpf.Map.resume(listeners))
            made._link = undo.enter_context(bpf.Object(link))
            made._undo = undo.pop_all()
        return made

    def state(self) -> list[Descriptor]:
        """Return the state that an upgrade passes to the successor process."""
        return [Descriptor.of(self._listeners), Descriptor.of(self._link)]

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
        """Close all pinholes; in a forked process, only close the descriptors."""
        self._undo.close()
