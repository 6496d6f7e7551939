"""The events of a proxy's client: what is to be done for it next."""

from __future__ import annotations

from dataclasses import dataclass, field

SOCKS5, SOCKS4, CONNECT, HTTP = METHODS = "socks5", "socks4", "connect", "http"
"""The ways in which a client asks for a server; the words stand in records and settings."""


@dataclass(frozen=True, slots=True)
class Target:
    """The server that a client asks for: *host* is a name or an address, as text.

    A name is in ASCII and lower case, and has no dot at its end; an address is in the form of
    RFC 5952 or a dotted quad.
    """

    host: str
    port: int
    is_address: bool

    def state(self) -> list[str | int | bool]:
        """Return the arguments of another one that is equal, fit for JSON."""
        return [self.host, self.port, self.is_address]


@dataclass(frozen=True, slots=True)
class ToClient:
    """Send *data* to the client."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ToServer:
    """Send *data* to the server."""

    data: bytes


@dataclass(frozen=True, slots=True)
class CheckUser:
    """Find out whether *password* is that of the user *name*; nothing is read before the answer."""

    name: str
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect to *target*, asked for by *method*, in place of the server that there is, if any."""

    target: Target
    method: str


@dataclass(frozen=True, slots=True)
class Bind:
    """Accept one connection from *target* (RFC 1928 BIND)."""

    target: Target
    method: str


@dataclass(frozen=True, slots=True)
class Associate:
    """Relay datagrams, which come from *target* if that is known (RFC 1928 UDP ASSOCIATE)."""

    target: Target


@dataclass(frozen=True, slots=True)
class Tunnel:
    """From here on both sides' octets pass as they are; *early* is what the client sent already,
    and *late* what the server did."""

    early: bytes = b""
    late: bytes = b""


@dataclass(frozen=True, slots=True)
class LeaveServer:
    """The server is not needed any more: its session ends as *why*, a reason of records."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The client's request was refused for a *why*: count and report it, and read on.

    *method* is that by which it asked, as far as it is known.
    """

    target: Target | None
    why: str
    method: str = ""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Send what waits for the client, then end its connection: *why* is a reason of records.

    If *cut*, end it by a reset: the client would take the answer that it has for a whole one.
    """

    why: str
    cut: bool = False


Event = (
    ToClient
    | ToServer
    | CheckUser
    | Dial
    | Bind
    | Associate
    | Tunnel
    | LeaveServer
    | Refused
    | HangUp
)
