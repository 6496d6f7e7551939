"""Host bindings by a BPF program at the socket lookup; see `faith.kernel.steering.sk_lookup`."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

from faith.kernel.bpf import bpf
from faith.kernel.bpf.assembler import assemble
from faith.kernel.process import capabilities
from faith.kernel.steering.lookup_program import PAIR_SIZE, SLOT, binding_program

if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence
    from typing import Any, Self

CAPABILITIES = ("CAP_BPF", "CAP_NET_ADMIN")
MOST_BINDINGS = 65536


class BindingProgram:
    """A BPF program that hands a pair's connections to one of *listeners*.  Raises SetupError."""

    method = "sk_lookup"

    def __init__(self, listeners: Sequence[_socket.socket]) -> None:
        with ExitStack() as undo:
            try:
                self._attach(undo, listeners)
            except OSError as error:
                raise capabilities.refusal("load a BPF program", error, *CAPABILITIES) from error
            self._undo = undo.pop_all()

    @classmethod
    def resume(cls, state: Any) -> Self:
        """Adopt the program whose `state` the predecessor process left."""
        made = cls.__new__(cls)
        with ExitStack() as undo:
            made._map = undo.enter_context(bpf.Map.resume(state[0]))
            made._link = undo.enter_context(bpf.Object(state[1]))
            made._undo = undo.pop_all()
        return made

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process."""
        return [self._map.state(), self._link.state()]

    def _attach(self, undo: ExitStack, listeners: Sequence[_socket.socket]) -> None:
        self._map = undo.enter_context(
            bpf.Map(
                bpf.MAP_HASH,
                "faith_bindings",
                key=PAIR_SIZE,
                value=SLOT.size,
                entries=MOST_BINDINGS,
            )
        )
        with bpf.Map(
            bpf.MAP_SOCKMAP, "faith_data", key=SLOT.size, value=8, entries=len(listeners)
        ) as slots:
            for number, listener in enumerate(listeners):
                slots.update(SLOT.pack(number), struct.pack("=Q", listener.fileno()))
            code = assemble(binding_program(self._map.fd, slots.fd))
            self._link = undo.enter_context(bpf.at_socket_lookup("faith_bindings", code))

    def put(self, pair: bytes, listener: int) -> None:
        """Steer *pair* to the listener of that index alone.  Raises OSError."""
        self._map.update(pair, SLOT.pack(listener))

    def take(self, pair: bytes) -> None:
        """Stop steering *pair*.  Raises OSError, with ENOENT when it was not steered."""
        self._map.delete(pair)

    def close(self) -> None:
        """Stop steering; in a forked process, only close the descriptors."""
        self._undo.close()
