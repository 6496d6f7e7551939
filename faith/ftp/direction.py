"""The table: what becomes of each command, from IPv6 to IPv4 and the other way (RFC 6384 §6, §7).

Both directions are made of the same rows; what differs is which commands a client has, and which
two the server is asked with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.ftp import notation
from faith.ftp.command import CommandRefused
from faith.ftp.events import quoted
from faith.ftp.notation import NET_PRT, Endpoint, OtherVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOWEST_PORT = 1024  # RFC 2577 §3: below are servers, none of which expects a data connection
_SYNTAX = "501 Syntax error in parameters or arguments"


@dataclass(frozen=True, slots=True)
class Passive:
    """A client's command that asks for a port to connect to.

    *check* raises CommandRefused for an argument; *reply* tells the port.
    """

    check: Callable[[bytes, int], None]
    reply: Callable[[Endpoint], str]


@dataclass(frozen=True, slots=True)
class Active:
    """A client's command that names the port it listens at.

    *read* raises ValueError or OtherVersion, to which *other_version* is the reply.
    """

    read: Callable[[bytes, int], Endpoint]
    other_version: str = ""

    def port(self, argument: bytes, client: Endpoint) -> int:
        """The port of *client*'s that *argument* names; raises CommandRefused."""
        try:
            endpoint = self.read(argument, client.version)
        except OtherVersion:
            reply = self.other_version.format(
                number=NET_PRT[client.version].decode(), **client._asdict()
            )
            raise CommandRefused(reply) from None
        except ValueError:
            raise CommandRefused(_SYNTAX) from None
        if endpoint.address != client.address:
            raise CommandRefused(
                "501 Only the address of this connection, please",
                "a data connection to somebody else was asked for",
                quoted(argument),
            )
        if endpoint.port < _LOWEST_PORT:
            raise CommandRefused(
                f"504 No port below {_LOWEST_PORT}, please",
                "a data connection to a port of the system's was asked for",
                quoted(argument),
            )
        return endpoint.port


@dataclass(frozen=True, slots=True)
class Server:
    """The commands by which a server of an IP version is asked for a port, and told one."""

    passive: str
    active: Callable[[Endpoint], str]


@dataclass(frozen=True, slots=True)
class Direction:
    """From clients of IP version *client* to servers of *server*.

    *refused* are commands that would only mislead the client, with the replies to them.  *status*
    tells whether the client may ask and set the status of the ALG: RFC 6384 §11 has no more than
    IPv6 to IPv4.
    """

    client: int
    server: int
    passive: Mapping[bytes, Passive]
    active: Mapping[bytes, Active]
    refused: Mapping[bytes, str]
    ask: Server
    status: bool


def _check_extended(argument: bytes, version: int) -> None:
    """The argument of an EPSV (RFC 6384 §6)."""
    if argument.upper() == b"ALL":
        raise CommandRefused("504 Command not implemented for that parameter")
    if argument and not argument.isdigit():
        raise CommandRefused(_SYNTAX)
    own = NET_PRT[version]
    if argument not in (b"", own):
        raise CommandRefused(f"522 Network protocol not supported, use ({own.decode()})")


def _check_none(argument: bytes, version: int) -> None:
    if argument:
        raise CommandRefused(_SYNTAX)


def _reply_227(endpoint: Endpoint) -> str:
    return f"227 Entering Passive Mode ({notation.write_short(endpoint)})"


def _reply_228(endpoint: Endpoint) -> str:
    return f"228 Entering Long Passive Mode ({notation.write_long(endpoint)})"


def _reply_229(endpoint: Endpoint) -> str:
    return f"229 Entering Extended Passive Mode (|||{endpoint.port}|)"


def _port_command(endpoint: Endpoint) -> str:
    return f"PORT {notation.write_short(endpoint)}"


def _eprt_command(endpoint: Endpoint) -> str:
    return f"EPRT {notation.write_extended(endpoint)}"


_PASV = Passive(_check_none, _reply_227)
_LPSV = Passive(_check_none, _reply_228)
_EPSV = Passive(_check_extended, _reply_229)

_PORT = Active(notation.read_short)
_LPRT = Active(notation.read_long, "521 Supported address families are ({version})")
_EPRT = Active(notation.read_extended, "522 Network protocol not supported, use ({number})")

V6_TO_V4 = Direction(
    client=6,
    server=4,
    passive={b"EPSV": _EPSV, b"LPSV": _LPSV},
    active={b"EPRT": _EPRT, b"LPRT": _LPRT},
    refused={
        b"PASV": "502 PASV is for IPv4, use EPSV",
        b"PORT": "502 PORT is for IPv4, use EPRT",
    },
    ask=Server("PASV", _port_command),
    status=True,
)

V4_TO_V6 = Direction(
    client=4,
    server=6,
    passive={b"PASV": _PASV, b"EPSV": _EPSV, b"LPSV": _LPSV},
    active={b"PORT": _PORT, b"EPRT": _EPRT, b"LPRT": _LPRT},
    refused={},
    ask=Server("EPSV", _eprt_command),
    status=False,
)
