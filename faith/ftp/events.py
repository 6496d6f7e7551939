"""Events of the translator: values, to be acted upon in the order in which they come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ToClient:
    """Send *data* to the client."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ToServer:
    """Send *data* to the server; if *urgent*, its last octet as TCP urgent data."""

    data: bytes
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class OpenPassive:
    """Listen for the client, at the mapped address, and connect it to the server's *port*.

    To be answered by ``listening`` or ``refused``.  With *same_port* the client will hear of no
    other port: listen at *port* itself, or refuse.  *listener* is a number to close it by.
    """

    listener: int
    port: int
    same_port: bool = False


@dataclass(frozen=True, slots=True)
class OpenActive:
    """Listen for the server, at the source address, and connect it to the client's *port*.

    To be answered by ``listening`` or ``refused``.  The client is reached from the mapped address.
    *listener* is a number to close it by.
    """

    listener: int
    port: int


@dataclass(frozen=True, slots=True)
class CloseData:
    """Close the *listener* of that number, if nobody has come; a connection that has goes on."""

    listener: int


@dataclass(frozen=True, slots=True)
class GoTransparent:
    """From here on both streams are carried as they are: client and server agreed on security."""


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close the control connection, on both sides, after what is to be sent."""


@dataclass(frozen=True, slots=True)
class Log:
    """Tell the operator that *peer* ("client", "server" or "gateway") did what *text* says.

    The same *text* comes once in a session, whatever the *detail*.
    """

    peer: str
    text: str
    detail: str = ""


Event = ToClient | ToServer | OpenPassive | OpenActive | CloseData | GoTransparent | Hangup | Log


def quoted(data: bytes) -> str:
    """The beginning of what a peer sent, fit for the detail of a Log."""
    return ascii(data[:80].decode("latin-1").rstrip())
