"""A BPF program at the kernel's socket lookup that hands one socket what is for some networks.

Where the kernel looks for the socket that a new connection or a datagram is for, the program
compares the destination with the networks and the ports, and if both fit, chooses ours: any port,
no packet rewritten, no connection tracked, and nobody else's socket asked.  Of a group of sockets
with SO_REUSEPORT one is enough: the kernel goes on to choose among all of them.  A connected UDP
socket comes first, as an established connection does.

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
    """An address and a length."""

CAPABILITIES = ("CAP_BPF", "CAP_NET_ADMIN")
"""What a `Lookup` takes."""

MOST_NETWORKS = 1 << 18

_NAME = "faith"
_OURS = SLOT.pack(0)
_NOBODYS = SLOT.pack(1)  # no socket is there: the kernel goes on as if there were no program


class Lookup:
    """Hands *sock* what is for *ports* of *networks*, but for what is in *holes*.

    Its family and protocol are the socket's, which is bound, and listens if it is TCP's.  It lasts
    until `close`, or until the last copy of its descriptors is closed.  Raises PermissionNeeded,
    and SetupError when the kernel (before Linux 5.9) cannot do it.
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
        """The one whose `state` the program before this one has left, of the same socket."""
        made = cls.__new__(cls)
        made._sock = sock
        networks, link = state
        with ExitStack() as undo:
            made.networks = undo.enter_context(NetworkMap.take(flow_of(sock), networks))
            made.link = undo.enter_context(bpf.Descriptor(link))
            made._undo = undo.pop_all()
        return made

    def state(self) -> Any:
        """What the program after this one needs of it, fit for JSON."""
        return [self.networks.state(), self.link.state()]

    @property
    def descriptors(self) -> list[int]:
        """Those that it lives by."""
        return [self.networks.fileno(), self.link.fileno()]

    def replace(self, networks: Iterable[Network], holes: Iterable[Network] = ()) -> None:
        """Have it for *networks* but for *holes*, and for nothing else.

        What stays is steered all the while.  Raises SetupError.
        """
        self.networks.replace(networks, holes)

    def set_ports(self, ports: Ports) -> None:
        """Have it for *ports*, and no others, in one step.  Raises SetupError."""
        with (
            explained("steer the ports"),
            _program(self._sock, self.networks, ports) as code,
        ):
            bpf.change_at_socket_lookup(self.link, _NAME, code)

    def close(self) -> None:
        """Steer nothing any more; in a forked process, only let go of it."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class NetworkMap(bpf.Map):
    """The networks that a program for *flow* knows; of several that hold an address, the longest.

    Those that are *holes* are none of ours.
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__(
            bpf.MAP_LPM_TRIE,
            "faith_networks",
            key=flow.network_key.size,
            value=SLOT.size,
            entries=2 * MOST_NETWORKS,  # a change adds all that is new before it takes the old
            flags=bpf.NO_PREALLOC,
        )
        self._flow = flow
        self._current: dict[bytes, bytes] = {}

    @classmethod
    def take(cls, flow: Flow, state: Any) -> Self:
        """The map whose `state` the program before this one has left."""
        fd, current = state
        made = cls.resume(fd)
        made._flow = flow
        made._current = {bytes.fromhex(key): SLOT.pack(slot) for key, slot in current.items()}
        return made

    def state(self) -> Any:
        """What makes another like it in the program after this one."""
        slots = {key.hex(): SLOT.unpack(slot)[0] for key, slot in self._current.items()}
        return [self.fd, slots]

    def _keys(self, networks: Iterable[Network]) -> Iterator[bytes]:
        pack, octets = self._flow.network_key.pack, self._flow.octets
        return (pack(length, address.to_bytes(octets, "big")) for address, length in networks)

    def replace(self, networks: Iterable[Network], holes: Iterable[Network] = ()) -> None:
        """Have *networks* and *holes* in it and no others.  Raises SetupError."""
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
    """What comes to *sock*."""
    return Flow(sock.family, sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PROTOCOL))


@contextmanager
def _program(sock: _socket.socket, networks: bpf.Map, ports: Ports) -> Iterator[bytes]:
    """The program for *sock*; once it is loaded, it keeps the maps that this block has open."""
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
    """Turn what the kernel refuses into a SetupError."""
    try:
        yield
    except OSError as error:
        raise capabilities.refusal(step, error, *CAPABILITIES) from error
