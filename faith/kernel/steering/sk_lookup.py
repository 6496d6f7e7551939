"""Way in: a BPF program of our own at the kernel's socket lookup.

Where the kernel looks for the listener that a new connection is for, the program compares the
destination with the prefixes and the ports, and if both fit, hands it one of our listeners: any
port, no packet rewritten, no connection tracked, and nobody else's listener asked.

Each faithd has its own program.  Those of one network namespace run in the order in which they
were attached; the first that chooses a socket wins.  The link that attaches ours is a descriptor,
so the program goes when the process does, however it ends.
"""

from __future__ import annotations

import struct
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from faith.errors import SetupError
from faith.kernel import bpf, capabilities
from faith.kernel.assembler import assemble
from faith.kernel.steering.base import Steering, listen, resume_groups
from faith.kernel.steering.lookup_program import BITMAP_SIZE, PREFIX_KEY, SLOT, bitmap, program

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable, Iterator
    from typing import Self

    from faith.translation.ports import Ports
    from faith.translation.prefix import Prefix

CAPABILITIES = ("CAP_BPF", "CAP_NET_ADMIN")
"""What `start` takes."""

MOST_PREFIXES = 16384

_FIRST = SLOT.pack(0)


def start(ports: Ports, prefixes: Iterable[Prefix], workers: int) -> Steering:
    """Steer *ports* of *prefixes* to a listener on ``[::1]``, or a group of them.

    The kernel chooses the port of the listeners and spreads connections among the workers.
    Raises PermissionNeeded, and SetupError when the kernel (before Linux 5.9) cannot do it.
    """
    with ExitStack() as undo, _explained("bring in the sk_lookup program"):
        group = listen(undo, "::1", 0, workers)
        steered = undo.enter_context(_Prefixes())
        steered.replace(prefixes)
        link = undo.enter_context(_attach(steered, ports, group[0]))
        return Steering(
            "sk_lookup",
            [group],
            undo.pop_all(),
            held=[steered, link],
            set_prefixes=steered.replace,
        )


def resume(listeners: list[list[int]], held: list[Any]) -> Steering:
    """What `start` gave the program before this one, from its `Steering.state`."""
    with ExitStack() as undo:
        groups = resume_groups(undo, listeners)
        steered = undo.enter_context(_Prefixes.resume(held[0]))
        link = undo.enter_context(bpf.Descriptor(held[1]))
        return Steering(
            "sk_lookup",
            groups,
            undo.pop_all(),
            held=[steered, link],
            set_prefixes=steered.replace,
        )


class _Prefixes(bpf.Map):
    """The prefixes that the program knows."""

    @classmethod
    def resume(cls, state: Any) -> Self:
        """The map whose `state` the program before this one has left."""
        fd, current = state
        made = super().resume(fd)
        made._current = set(map(bytes.fromhex, current))
        return made

    def state(self) -> Any:
        return [self.fd, [key.hex() for key in self._current]]

    def __init__(self) -> None:
        super().__init__(
            bpf.MAP_LPM_TRIE,
            "faith_prefixes",
            key=PREFIX_KEY.size,
            value=SLOT.size,
            entries=2 * MOST_PREFIXES,  # a change adds all that is new before it takes the old
            flags=bpf.NO_PREALLOC,
        )
        self._current: set[bytes] = set()

    def replace(self, prefixes: Iterable[Prefix]) -> None:
        """Have *prefixes* in it and no others."""
        wanted = {PREFIX_KEY.pack(prefix.length, prefix.packed) for prefix in prefixes}
        if len(wanted) > MOST_PREFIXES:
            raise SetupError("steer the prefixes", f"{len(wanted)} are more than {MOST_PREFIXES}")
        with _explained("steer the prefixes"):
            for key in wanted - self._current:
                self.update(key, _FIRST)
                self._current.add(key)
            for key in self._current - wanted:
                self.delete(key)
                self._current.remove(key)


def _attach(prefixes: bpf.Map, ports: Ports, listener: _socket.socket) -> bpf.Descriptor:
    """Load the program and attach it to this thread's network namespace.

    Of a group of listeners one is enough: the kernel goes on to choose among all of them.  The
    link keeps the program, and that its maps.
    """
    with (
        bpf.Map(
            bpf.MAP_ARRAY, "faith_ports", key=SLOT.size, value=BITMAP_SIZE, entries=1
        ) as port_set,
        bpf.Map(bpf.MAP_SOCKMAP, "faith_listeners", key=SLOT.size, value=8, entries=1) as listeners,
    ):
        port_set.update(_FIRST, bitmap(ports))
        listeners.update(_FIRST, struct.pack("=Q", listener.fileno()))
        return bpf.at_socket_lookup(
            "faith", assemble(program(prefixes.fd, port_set.fd, listeners.fd))
        )


@contextmanager
def _explained(step: str) -> Iterator[None]:
    """Turn what the kernel refuses into a SetupError."""
    try:
        yield
    except OSError as error:
        raise capabilities.refusal(step, error, *CAPABILITIES) from error
