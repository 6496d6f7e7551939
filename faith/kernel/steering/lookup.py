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
    """The steering to *sock* of the *networks* in a map, by the program behind a *link*.

    Family and protocol are those of the socket.  It lasts until `close`, or until the last copy of
    its descriptors is closed.
    """

    def __init__(self, sock: _socket.socket, networks: NetworkMap, link: bpf.Object) -> None:
        self._sock = sock
        self.networks = networks
        self.link = link

    @classmethod
    def create(
        cls,
        sock: _socket.socket,
        ports: Ports,
        networks: Iterable[Network],
        holes: Iterable[Network] = (),
    ) -> Self:
        """Steer *ports* of *networks*, except *holes*, to *sock*.

        The socket is bound, and listening if it is a TCP socket.  Raises PermissionNeeded, and
        SetupError when the kernel (before Linux 5.9) cannot do it.
        """
        with ExitStack() as undo, explained("bring in the sk_lookup program"):
            known = undo.enter_context(NetworkMap.create(flow_of(sock)))
            known.replace(networks, holes)
            with _program(sock, known, ports) as code:
                link = bpf.at_socket_lookup(_NAME, code)
            undo.pop_all()
        return cls(sock, known, link)

    @classmethod
    def adopt(cls, state: Any, sock: _socket.socket) -> Self:
        """Adopt the steering to the same socket whose `state` the predecessor process left."""
        networks, link = state
        return cls(sock, NetworkMap.adopt(networks, flow_of(sock)), bpf.Object.adopt(link))

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

    def is_attached(self) -> bool:
        """Return whether the program is still where it was attached: others may detach it."""
        return bpf.is_attached(self.link)

    def close(self) -> None:
        """Stop steering."""
        self.link.close()
        self.networks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class NetworkMap:
    """The networks that a program for *flow* matches; the longest that contains an address decides.

    A match of a hole leaves the packet to the kernel.  The *map* has the *current* entries.
    """

    def __init__(self, flow: Flow, map_: bpf.Map, current: dict[bytes, bytes]) -> None:
        self._flow = flow
        self._map = map_
        self._current = current

    @classmethod
    def create(cls, flow: Flow) -> Self:
        """Make an empty map.  Raises OSError."""
        made = bpf.Map.create(
            bpf.MAP_LPM_TRIE,
            "faith_networks",
            key=flow.network_key.size,
            value=SLOT.size,
            entries=2 * MOST_NETWORKS,  # a change adds everything new before it removes the old
            flags=bpf.NO_PREALLOC,
        )
        return cls(flow, made, {})

    @classmethod
    def adopt(cls, state: Any, flow: Flow) -> Self:
        """Adopt the map whose `state` the predecessor process left."""
        held, slots = state
        current = {bytes.fromhex(key): SLOT.pack(slot) for key, slot in slots.items()}
        return cls(flow, bpf.Map.adopt(held), current)

    @property
    def fd(self) -> int:
        """The descriptor of the map."""
        return self._map.fd

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process."""
        slots = {key.hex(): SLOT.unpack(slot)[0] for key, slot in self._current.items()}
        return [self._map.state(), slots]

    def close(self) -> None:
        """Close the map."""
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

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
            self._map.update_all(dict(wanted.items() - self._current.items()))
            self._current |= wanted
            for key in self._current.keys() - wanted.keys():
                self._map.delete(key)
                del self._current[key]


def flow_of(sock: _socket.socket) -> Flow:
    """Return the family and protocol of *sock*."""
    return Flow(sock.family, sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PROTOCOL))


@contextmanager
def _program(sock: _socket.socket, networks: NetworkMap, ports: Ports) -> Iterator[bytes]:
    """Make the program for *sock*; once loaded, it keeps the maps that this block has open."""
    with (
        bpf.Map.create(
            bpf.MAP_ARRAY, "faith_ports", key=SLOT.size, value=BITMAP_SIZE, entries=1
        ) as port_set,
        bpf.Map.create(
            bpf.MAP_SOCKMAP, "faith_sockets", key=SLOT.size, value=8, entries=1
        ) as sockets,
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
