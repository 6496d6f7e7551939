"""The record of a connection or a UDP flow: at its end, and at its start where that is wanted."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    Endpoint = tuple[str, int]
    """A host, as text, and a port."""


TCP, UDP = "tcp", "udp"
START, END, REFUSED = "start", "end", "refused"


class Record:
    """One connection or UDP flow, accept to end.

    *client*, *mapped* (what the client asked for), *source* and *server* are ``(host, port)``; the
    last two are None when there was no second leg.  *started* is Unix time, *seconds* the duration;
    *sent* counts bytes from the client that the server's socket took, *received* the other way;
    *end* says why it ended, and is empty in a record of its start.  A client of a proxy has *asked*
    for a server, ``(host, port)`` with a name or an address, by a *method*; others have neither.
    The *user* is the one whose password the client has given.  A *discreet* record does not tell
    where it went.
    """

    __slots__ = (
        "asked",
        "client",
        "discreet",
        "end",
        "mapped",
        "method",
        "protocol",
        "received",
        "seconds",
        "sent",
        "server",
        "source",
        "started",
        "user",
    )

    def __init__(
        self,
        client: Endpoint,
        mapped: Endpoint,
        end: str,
        started: float,
        source: Endpoint | None = None,
        server: Endpoint | None = None,
        seconds: float = 0.0,
        sent: int = 0,
        received: int = 0,
        protocol: str = TCP,
        method: str = "",
        asked: Endpoint | None = None,
        user: str = "",
    ) -> None:
        self.client = client
        self.mapped = mapped
        self.end = end
        self.started = started
        self.source = source
        self.server = server
        self.seconds = seconds
        self.sent = sent
        self.received = received
        self.protocol = protocol
        self.method = method
        self.asked = asked
        self.user = user
        self.discreet = False

    @property
    def event(self) -> str:
        """The event that is recorded: `START`, `END` or `REFUSED`."""
        if self.server is None:
            return REFUSED
        return END if self.end else START

    def text(self) -> str:
        """One line of ``key=value``; a value with spaces stands in quotes."""
        end = self.end
        protocol = "" if self.protocol == TCP else f"protocol={self.protocol} "
        if not end:
            return (
                f"event=start {protocol}client={endpoint(self.client)}{self._legs_text()}"
                f" started={self.started:.6f}"
            )
        if " " in end:
            end = f'"{end}"'
        return (
            f"{protocol}client={endpoint(self.client)}{self._legs_text()} sent={self.sent}"
            f" received={self.received} started={self.started:.6f} seconds={self.seconds:.6f}"
            f" end={end}"
        )

    def fields(self) -> dict[str, str | int | float]:
        """The same by name, for JSON and the journal; an address and its port are two fields."""
        fields: dict[str, str | int | float] = {"event": self.event, "protocol": self.protocol}
        if self.method:
            fields["method"] = self.method
        if self.user:
            fields["user"] = self.user
        for name, (host, port) in [("client", self.client), *self._legs()]:
            fields[name] = host
            fields[f"{name}_port"] = port
        if self.end:
            fields["sent"] = self.sent
            fields["received"] = self.received
        fields["started"] = round(self.started, 6)
        if self.end:
            fields["seconds"] = round(self.seconds, 6)
            fields["end"] = self.end
        return fields

    def _legs_text(self) -> str:
        if self.discreet or self.method or not self.source or not self.server:
            legs = [f" {name}={endpoint(address)}" for name, address in self._legs()]
            method = f" method={self.method}" if self.method else ""
            user = f" user={_quoted(self.user)}" if self.user else ""
            return "".join([method, user, *legs])
        # At once, the families being known: most records are of this kind, and short connections
        # notice what theirs cost.
        mapped, mapped_port = self.mapped
        source, source_port = self.source
        server, server_port = self.server
        if ":" in server:
            return "".join([f" {name}={endpoint(address)}" for name, address in self._legs()])
        return (
            f" mapped=[{mapped}]:{mapped_port} source={source}:{source_port}"
            f" server={server}:{server_port}"
        )

    def _legs(self) -> list[tuple[str, Endpoint]]:
        legs = [("mapped", self.mapped)]
        if self.asked:
            legs.append(("asked", self.asked))
        if self.source and self.server:
            legs += [("source", self.source), ("server", self.server)]
        return [leg for leg in legs if leg[0] == "source"] if self.discreet else legs


def _quoted(name: str) -> str:
    """Return *name*, in quotes if a reader might take it for something else."""
    if not any(mark in name for mark in ' "=\\'):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def endpoint(address: Endpoint) -> str:
    """``[2001:db8::1]:80`` or ``192.0.2.1:80``."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def broken(side: str, error: int | None) -> str:
    """The end of a connection whose *side* ("client" or "server") failed with an errno."""
    number = error or 0
    return f"{side} {_FAILURES.get(number) or os.strerror(number).lower()}"


_FAILURES = {
    errno.ECONNRESET: "reset",
    errno.ENOTCONN: "reset",  # before its FIN could be answered
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timed out",
}
