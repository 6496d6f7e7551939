"""A BPF program at the kernel's socket lookup that steers some networks to one socket.

Where the kernel looks up the socket for a new connection or a datagram, the program compares the
destination with the networks and the ports, and if both match, chooses the daemon's socket: any
port, no packet rewritten, no connection tracked, and no other socket considered.  Of a group of
sockets with SO_REUSEPORT one is enough: the kernel goes on to choose among all of them.  A
connected UDP socket comes first, as an established connection does.

The programs of one network namespace run in the order in which they were attached; the first that
chooses a socket wins.  The link that attaches one is a descriptor, so the program goes when the
process does, however it ends.
"""

from __future__ import annotations

import _socket
import struct
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from faith.errors import SetupError
from faith.kernel.bpf import bpf
from faith.kernel.bpf.assembler import assemble
from faith.kernel.descriptor import Descriptor
from faith.kernel.process import capabilities
from faith.kernel.steering.lookup_program import BITMAP_SIZE, SLOT, Flow, bitmap, program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from faith.translation.ports import Ports

    Network = tuple[int, int]
    """An address and a prefix length."""

CAPABILITIES = ("CAP_BPF", "CAP_NET_ADMIN")
"""The capabilities that a `Lookup` needs."""

MOST_NETWORKS = 1 << 18

_NAME = "faith"
_OURS = SLOT.pack(0)
_NOBODYS = SLOT.pack(1)  # the slot has no socket: the kernel goes on as if there were no program


class Lookup:
    """The steering of *ports* of *networks*, except *holes*, to *sock*.

    Family and protocol are those of the socket, which is bound, and listening if it is a TCP
    socket.  It lasts until `close`, or until the last copy of its descriptors is closed.  Raises
    PermissionNeeded, and SetupError when the kernel (before Linux 5.9) cannot do it.
    """

    def __init__(
        self,
        sock: _socket.socket,
        ports: Ports,
        networks: Iterable[Network],
        holes: Iterable[Network] = (),
    ) -> None:
        self._sock = sock
        with ExitStack() as undo, explained("bring in the sk_lookup program"):
            self.networks = undo.enter_context(NetworkMap(flow_of(sock)))
            self.networks.replace(networks, holes)
            with _program(sock, self.networks, ports) as code:
                self.link = undo.enter_context(bpf.at_socket_lookup(_NAME, code))
            self._undo = undo.pop_all()

    @classmethod
    def resume(cls, sock: _socket.socket, state: Any) -> Self:
        """Adopt the steering to the same socket whose `state` the predecessor process left."""
        made = cls.__new__(cls)
        made._sock = sock
        networks, link = state
        with ExitStack() as undo:
            made.networks = undo.enter_context(NetworkMap.take(flow_of(sock), networks))
            made.link = undo.enter_context(bpf.Object(link))
            made._undo = undo.pop_all()
        return made

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process, fit for JSON."""
        return [self.networks.state(), self.link.state()]

    def replace(self, networks: Iterable[Network], holes: Iterable[Network] = ()) -> None:
        """Steer exactly *networks*, except *holes*.

        A network that stays is steered throughout.  Raises SetupError.
        """
        self.networks.replace(networks, holes)

    def set_ports(self, ports: Ports) -> None:
        """Steer exactly *ports*, in one step.  Raises SetupError."""
        with (
            explained("steer the ports"),
            _program(self._sock, self.networks, ports) as code,
        ):
            bpf.change_at_socket_lookup(self.link, _NAME, code)

    def close(self) -> None:
        """Stop steering; in a forked process, only close the descriptors."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class NetworkMap(bpf.Map):
    """The networks that a program for *flow* matches; the longest that contains an address decides.

    A match of a hole leaves the packet to the kernel.
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__(
            bpf.MAP_LPM_TRIE,
            "faith_networks",
            key=flow.network_key.size,
            value=SLOT.size,
            entries=2 * MOST_NETWORKS,  # a change adds everything new before it removes the old
            flags=bpf.NO_PREALLOC,
        )
        self._flow = flow
        self._current: dict[bytes, bytes] = {}

    @classmethod
    def take(cls, flow: Flow, state: Any) -> Self:
        """Adopt the map whose `state` the predecessor process left."""
        fd, current = state
        made = cls.resume(fd)
        made._flow = flow
        made._current = {bytes.fromhex(key): SLOT.pack(slot) for key, slot in current.items()}
        return made

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process."""
        slots = {key.hex(): SLOT.unpack(slot)[0] for key, slot in self._current.items()}
        return [Descriptor(self.fd), slots]

    def _keys(self, networks: Iterable[Network]) -> Iterator[bytes]:
        pack, octets = self._flow.network_key.pack, self._flow.octets
        return (pack(length, address.to_bytes(octets, "big")) for address, length in networks)

    def replace(self, networks: Iterable[Network], holes: Iterable[Network] = ()) -> None:
        """Replace the content by *networks* and *holes*.  Raises SetupError."""
        wanted = dict.fromkeys(self._keys(networks), _OURS)
        wanted |= dict.fromkeys(self._keys(holes), _NOBODYS)
        if len(wanted) > MOST_NETWORKS:
            raise SetupError("steer networks", f"{len(wanted)} are more than {MOST_NETWORKS}")
        with explained("steer networks"):
            self.update_all(dict(wanted.items() - self._current.items()))
            self._current |= wanted
            for key in self._current.keys() - wanted.keys():
                self.delete(key)
                del self._current[key]


def flow_of(sock: _socket.socket) -> Flow:
    """Return the family and protocol of *sock*."""
    return Flow(sock.family, sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PROTOCOL))


@contextmanager
def _program(sock: _socket.socket, networks: bpf.Map, ports: Ports) -> Iterator[bytes]:
    """Make the program for *sock*; once loaded, it keeps the maps that this block has open."""
    with (
        bpf.Map(
            bpf.MAP_ARRAY, "faith_ports", key=SLOT.size, value=BITMAP_SIZE, entries=1
        ) as port_set,
        bpf.Map(bpf.MAP_SOCKMAP, "faith_sockets", key=SLOT.size, value=8, entries=1) as sockets,
    ):
        port_set.update(_OURS, bitmap(ports))
        sockets.update(_OURS, struct.pack("=Q", sock.fileno()))
        yield assemble(program(flow_of(sock), networks.fd, port_set.fd, sockets.fd))


@contextmanager
def explained(step: str) -> Iterator[None]:
    """Translate an OSError of the kernel into a SetupError."""
    try:
        yield
    except OSError as error:
        raise capabilities.refusal(step, error, *CAPABILITIES) from error
