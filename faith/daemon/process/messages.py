"""Messages between the supervisor and its processes: an enum of types for each direction.

What a process sends is an attacker's if the process was taken over: every field has bounds, and
what breaks them is no message.  Each pool says which types its processes may send.
"""

from __future__ import annotations

import socket
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from faith.daemon.observe.checked_decoding import checked
from faith.daemon.process.channel import Channel, Codec

MOST_SOCKETS = 32
"""Sockets that a worker may ask for in one message."""

Count = Annotated[int, Meta(ge=0, lt=1 << 62)]
Family = Literal[2, 10]
"""AF_INET or AF_INET6."""
Few = Annotated[int, Meta(ge=1, le=MOST_SOCKETS)]
Address = Annotated[str, Meta(min_length=2, max_length=64)]
"""An IPv4 or IPv6 address as text."""
LONGEST_REASON = 2000
"""Characters of a reason."""
Reason = Annotated[str, Meta(max_length=LONGEST_REASON)]


Port = Annotated[int, Meta(ge=0, le=65535)]
Network = Annotated[str, Meta(max_length=64)]
"""A network or an address as text."""


class Wanted(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which sessions are meant: those that have all that is given, as `Selection` has it."""

    client: Network | None = None
    server: Network | None = None
    source: Network | None = None
    port: Port | None = None
    client_port: Port | None = None


ALL = Wanted()


class Message(Struct, tag_field="kind", tag=str.lower, forbid_unknown_fields=True):
    """A message; its type is its "kind"."""


# -- from the supervisor to a process ------------------------------------------------------------


class Heartbeat(Message):
    """The process is to answer `Alive`."""


class State(Message):
    """The desired state of *topic* in its *generation*; the process is to apply it, and say so.

    With *base* it is the difference to that generation, else the whole.  Its text is in a file in
    memory, the first of the descriptors; others are the state's.
    """

    topic: str
    generation: int
    base: int = 0


class Sessions(Message, omit_defaults=True):
    """A worker is to answer `SessionList`, with the sessions that are *wanted*."""

    question: int
    wanted: Wanted = ALL


class Kill(Message, omit_defaults=True):
    """A worker is to end the sessions that are *wanted*, and answer `Killed`.

    With *serial* it is that one only, and only if it is *wanted*.
    """

    question: int
    serial: int | None = None
    wanted: Wanted = ALL


class Sock(Message, tag="socket"):
    """A socket of *family* that was asked for; without a descriptor it could not be made."""

    family: int


class Done(Message):
    """The end of a request of the child, done or failed; with the listener if one was opened."""


class LocalRefused(Message):
    """The connection of `Local` from *client* to the gateway's own *address* was reset; *why* is
    for the record."""

    client: str
    client_port: int
    address: str
    port: int
    why: str


class Serve(Message):
    """The process is to begin to serve."""


class Give(Message):
    """The process is to hand over by the descriptor to a process of the next program, and end."""


class Take(Message):
    """The process is to take over by the descriptor."""


class Drain(Message):
    """The process is to accept nothing new, and end with its last session."""


class Resume(Message):
    """The process is to accept connections again, after `Drain`."""


class Stop(Message):
    """The process is to end."""


Order = (
    Heartbeat
    | State
    | Sessions
    | Kill
    | Sock
    | Done
    | LocalRefused
    | Serve
    | Give
    | Take
    | Drain
    | Resume
    | Stop
)


# -- from a process to the supervisor ------------------------------------------------------------


class Ready(Message):
    """The process serves."""


class Failed(Message):
    """The process cannot serve, and ends."""

    why: Reason


class Alive(Message):
    """The process answers a `Heartbeat` or a `State`: the generation *applied* of each topic."""

    applied: Annotated[dict[Annotated[str, Meta(max_length=32)], Count], Meta(max_length=16)] = (
        msgspec.field(default_factory=dict)
    )


class WantSockets(Message, tag="sockets"):
    """A worker asks for transparent sockets, and is answered by as many `Sock`."""

    family: Family
    count: Few


class OpenPinhole(Message, tag="door"):
    """A worker asks that *client* reach the listener that comes with it, and is answered `Done`."""

    client: Address


class Steer(Message):
    """A worker asks for the data connections of a pair, and is answered `Done`."""

    client: Address
    mapped: Address


class Unsteer(Message):
    """A worker takes one `Steer` back, and is answered `Done`."""

    client: Address
    mapped: Address


class Local(Message):
    """A worker passes on a connection to an address of the gateway's own."""


class SessionList(Message, tag="sessions"):
    """A worker answers `Sessions` with a file of JSON lines."""

    question: Count


class Killed(Message):
    """A worker answers `Kill`: how many sessions it has *ended*."""

    question: Count
    ended: Count


class WantReport(Message):
    """The process asks for the status report, as the desired state of its topic."""


class Kept(Message):
    """A worker could not hand over all: so many *sessions* go on in it."""

    sessions: Count


Report = (
    Ready
    | Failed
    | Alive
    | WantSockets
    | OpenPinhole
    | Steer
    | Unsteer
    | Local
    | SessionList
    | Killed
    | WantReport
    | Kept
)

_encode = msgspec.json.Encoder().encode
SUPERVISOR: Codec[Order, Report] = Codec(_encode, checked(msgspec.json.Decoder(Report).decode))
PROCESS: Codec[Report, Order] = Codec(_encode, checked(msgspec.json.Decoder(Order).decode))

MOST_DESCRIPTORS = 252
"""Descriptors of a message to a process: the kernel carries 253."""


class ProcessChannel(Channel[Report, Order]):
    """A process's end of its channel; *applied* are the generations of the state it began with."""

    def __init__(self, sock: socket.socket, applied: dict[str, int] | None = None) -> None:
        super().__init__(sock, MOST_DESCRIPTORS, PROCESS)
        self.applied: dict[str, int] = dict(applied or {})


SupervisorChannel = Channel[Order, Report]


def supervisor_end(sock: socket.socket) -> SupervisorChannel:
    """Return the supervisor's end of the channel that *sock* is."""
    return Channel(sock, 1, SUPERVISOR)


def pair(applied: dict[str, int] | None = None) -> tuple[SupervisorChannel, ProcessChannel]:
    """Return the two ends of a new channel, the supervisor's first."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return supervisor_end(near), ProcessChannel(far, applied)


# -- from a process to that of the next program --------------------------------------------------


class Coming(Message):
    """The giver has so many *descriptors*: the taker is to keep room for them."""

    descriptors: Count


class Lot(Message):
    """A lot of *part*: its states in a file in memory, then the descriptors of them."""

    part: Annotated[str, Meta(max_length=32)]


class Taken(Message):
    """The lot is the taker's now."""


class Refused(Message):
    """The lot is the giver's still: the taker has no room for it."""


Handing = Coming | Lot | Taken | Refused
_HANDOVER: Codec[Handing, Handing] = Codec(_encode, checked(msgspec.json.Decoder(Handing).decode))

HandoverChannel = Channel[Handing, Handing]


def handover_end(descriptor: int) -> HandoverChannel:
    """Return the end of a hand-over's channel that is open at *descriptor*."""
    return Channel(socket.socket(fileno=descriptor), MOST_DESCRIPTORS + 1, _HANDOVER)
