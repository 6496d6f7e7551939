"""Playbooks for the FTP translator: what it is fed (``>>``) and what is to come of it (``<<``)."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from faith.ftp import V6_TO_V4, Event, Log, OpenPassive, ToClient, ToServer, Translator

if TYPE_CHECKING:
    from faith.ftp import Direction

V6_CLIENT = int(IPv6Address("2001:db8:2::31"))
V4_SERVER_MAPPED = int(IPv6Address("2001:db8:ffff::192.0.2.21"))
V4_SOURCE = int(IPv4Address("192.0.2.31"))

V4_CLIENT = int(IPv4Address("198.51.100.7"))
V6_SERVER_MAPPED = int(IPv4Address("198.51.100.80"))
V6_SOURCE = int(IPv6Address("2001:db8:2::31"))


def new_translator(direction: Direction = V6_TO_V4, *, active: bool = True) -> Translator:
    """A translator between the peers of RFC 6384's examples, or of the other direction."""
    client, mapped, source = (
        (V6_CLIENT, V4_SERVER_MAPPED, V4_SOURCE)
        if direction is V6_TO_V4
        else (V4_CLIENT, V6_SERVER_MAPPED, V6_SOURCE)
    )
    return Translator(direction, client=client, mapped=mapped, source=source, active=active)


def _octets(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode() + b"\r\n"


@dataclass(frozen=True)
class FromClient:
    data: bytes
    urgent: bool = False

    def feed(self, translator: Translator) -> list[Event]:
        return translator.from_client(self.data, self.urgent)


@dataclass(frozen=True)
class FromServer:
    data: bytes

    def feed(self, translator: Translator) -> list[Event]:
        return translator.from_server(self.data)


@dataclass(frozen=True)
class Listening:
    port: int

    def feed(self, translator: Translator) -> list[Event]:
        return translator.listening(self.port)


@dataclass(frozen=True)
class Refused:
    reason: str

    def feed(self, translator: Translator) -> list[Event]:
        return translator.refused(self.reason)


Fed = FromClient | FromServer | Listening | Refused


def client(text: str | bytes, urgent: bool = False) -> FromClient:
    """Octets from the client; text is a line."""
    return FromClient(_octets(text), urgent)


def server(text: str | bytes) -> FromServer:
    """Octets from the server; text is a line."""
    return FromServer(_octets(text))


def listening(port: int) -> Listening:
    """The I/O side has the listener that it was asked for."""
    return Listening(port)


def refused(reason: str) -> Refused:
    """The I/O side has none."""
    return Refused(reason)


def to_client(text: str | bytes) -> ToClient:
    """Octets for the client; text is a line."""
    return ToClient(_octets(text))


def to_server(text: str | bytes, urgent: bool = False) -> ToServer:
    """Octets for the server; text is a line."""
    return ToServer(_octets(text), urgent)


class Playbook:
    """``assert Playbook() >> client("EPSV") << to_server("PASV")``: all that comes must be said.

    If not *greeted*, the server has yet to say hello.  The details of logs are not compared.
    """

    def __init__(
        self, direction: Direction = V6_TO_V4, *, active: bool = True, greeted: bool = True
    ) -> None:
        self.translator = new_translator(direction, active=active)
        self._lines: list[Fed | Event] = []
        if greeted:
            self.translator.from_server(b"220 Hello\r\n")

    def __rshift__(self, fed: Fed) -> Playbook:
        self._lines.append(fed)
        return self

    def __lshift__(self, expected: Event) -> Playbook:
        self._lines.append(expected)
        return self

    def __bool__(self) -> bool:
        expected, happened = [], []
        for line in self._lines:
            expected.append(_written(line))
            if isinstance(line, Fed):
                happened.append(_written(line))
                happened += [_written(event) for event in line.feed(self.translator)]
        self._lines.clear()
        if expected != happened:
            transcript = "\n".join(difflib.ndiff(expected, happened))
            raise AssertionError(f"expected (-) is not what happened (+):\n{transcript}")
        return True


def with_listener() -> Playbook:
    """A session with listener number 1, to which nobody has come."""
    playbook = Playbook()
    assert (
        playbook
        >> client("EPSV")
        << to_server("PASV")
        >> server("227 (192,0,2,21,237,19)")
        << OpenPassive(1, 60691)
        >> listening(60691)
        << to_client("229 Entering Extended Passive Mode (|||60691|)")
    )
    return playbook


def _written(line: Any) -> str:
    if isinstance(line, Log):
        line = replace(line, detail="")
    return f"{'>>' if isinstance(line, Fed) else '<<'} {line}"


def joined(events: list[Event]) -> list[Event]:
    """*events* with neighbours that go the same way made one."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        match last, event:
            case ToClient(before), ToClient(data):
                result[-1] = ToClient(before + data)
            case ToServer(before, False), ToServer(data, urgent):
                result[-1] = ToServer(before + data, urgent)
            case _:
                result.append(event)
    return result
