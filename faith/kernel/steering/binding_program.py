"""Pairs steered by a BPF program at the socket lookup, as in `faith.kernel.steering.sk_lookup`."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

from faith.kernel.bpf import bpf
from faith.kernel.bpf.assembler import assemble
from faith.kernel.process import capabilities
from faith.kernel.steering.lookup_program import PAIR_SIZE, SLOT, pairs_program

if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence
    from typing import Any, Self

CAPABILITIES = ("CAP_BPF", "CAP_NET_ADMIN")
MOST_PAIRS = 65536


class PairProgram:
    """A program that hands a pair's connections to one of *listeners*.  Raises SetupError."""

    way = "sk_lookup"

    def __init__(self, listeners: Sequence[_socket.socket]) -> None:
        with ExitStack() as undo:
            try:
                self._attach(undo, listeners)
            except OSError as error:
                raise capabilities.refusal("load a BPF program", error, *CAPABILITIES) from error
            self._undo = undo.pop_all()

    @classmethod
    def resume(cls, state: Any) -> Self:
        """The one whose `state` the program before this one has left."""
        made = cls.__new__(cls)
        with ExitStack() as undo:
            made._map = undo.enter_context(bpf.Map.resume(state[0]))
            made._link = undo.enter_context(bpf.Descriptor(state[1]))
            made._undo = undo.pop_all()
        return made

    def state(self) -> Any:
        """What makes another like it in the next program of this process."""
        return self.descriptors

    @property
    def descriptors(self) -> list[int]:
        """Those that it lives by."""
        return [self._map.fileno(), self._link.fileno()]

    def _attach(self, undo: ExitStack, listeners: Sequence[_socket.socket]) -> None:
        self._map = undo.enter_context(
            bpf.Map(bpf.MAP_HASH, "faith_pairs", key=PAIR_SIZE, value=SLOT.size, entries=MOST_PAIRS)
        )
        with bpf.Map(
            bpf.MAP_SOCKMAP, "faith_data", key=SLOT.size, value=8, entries=len(listeners)
        ) as slots:
            for number, listener in enumerate(listeners):
                slots.update(SLOT.pack(number), struct.pack("=Q", listener.fileno()))
            code = assemble(pairs_program(self._map.fd, slots.fd))
            self._link = undo.enter_context(bpf.at_socket_lookup("faith_pairs", code))

    def put(self, pair: bytes, listener: int) -> None:
        """Have *pair* come to the listener of that number, and to no other.  Raises OSError."""
        self._map.update(pair, SLOT.pack(listener))

    def take(self, pair: bytes) -> None:
        """Steer *pair* no more.  Raises OSError, ENOENT when it was not."""
        self._map.delete(pair)

    def close(self) -> None:
        """Steer nothing any more; in a forked process, only let go of it."""
        self._undo.close()
