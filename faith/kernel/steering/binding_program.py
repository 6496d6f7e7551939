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
    """A BPF program behind a *link* that hands connections of the pairs in a *map* to listeners."""

    method = "sk_lookup"

    def __init__(self, map_: bpf.Map, link: bpf.Object) -> None:
        self._map = map_
        self._link = link

    @classmethod
    def create(cls, listeners: Sequence[_socket.socket]) -> Self:
        """Attach the program, which hands a pair to one of *listeners*.  Raises SetupError."""
        try:
            return cls(*_attached(listeners))
        except OSError as error:
            raise capabilities.refusal("load a BPF program", error, *CAPABILITIES) from error

    @classmethod
    def adopt(cls, state: Any) -> Self:
        """Adopt the program whose `state` the predecessor process left."""
        pairs, link = state
        return cls(bpf.Map.adopt(pairs), bpf.Object.adopt(link))

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process."""
        return [self._map.state(), self._link.state()]

    def put(self, pair: bytes, listener: int) -> None:
        """Steer *pair* to the listener of that index alone.  Raises OSError."""
        self._map.update(pair, SLOT.pack(listener))

    def remove(self, pair: bytes) -> None:
        """Stop steering *pair*.  Raises OSError, with ENOENT when it was not steered."""
        self._map.delete(pair)

    def close(self) -> None:
        """Stop steering."""
        self._link.close()
        self._map.close()


def _attached(listeners: Sequence[_socket.socket]) -> tuple[bpf.Map, bpf.Object]:
    """Return the map of the pairs, and the link of the program.  Raises OSError."""
    with ExitStack() as undo:
        pairs = undo.enter_context(
            bpf.Map.create(
                bpf.MAP_HASH,
                "faith_bindings",
                key=PAIR_SIZE,
                value=SLOT.size,
                entries=MOST_BINDINGS,
            )
        )
        with bpf.Map.create(
            bpf.MAP_SOCKMAP, "faith_data", key=SLOT.size, value=8, entries=len(listeners)
        ) as slots:
            for number, listener in enumerate(listeners):
                slots.update(SLOT.pack(number), struct.pack("=Q", listener.fileno()))
            code = assemble(binding_program(pairs.fd, slots.fd))
            link = bpf.at_socket_lookup("faith_bindings", code)
        undo.pop_all()
    return pairs, link
