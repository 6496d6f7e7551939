"""The record of a connection, reported when the connection is over."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    Endpoint = tuple[str, int]
    """A host, as text, and a port."""


class Record:
    """One connection, accept to end.

    *client*, *mapped* (what the client asked for), *source* and *server* are ``(host, port)``; the
    last two are None when there was no second leg.  *started* is Unix time, *seconds* the duration;
    *sent* counts bytes from the client that the server's socket took, *received* the other way;
    *end* says why it ended.  A *discreet* record does not tell where it went.
    """

    __slots__ = (
        "client",
        "discreet",
        "end",
        "mapped",
        "received",
        "seconds",
        "sent",
        "server",
        "source",
        "started",
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
        self.discreet = False

    def text(self) -> str:
        """One line of ``key=value``; a value with spaces stands in quotes."""
        end = f'"{self.end}"' if " " in self.end else self.end
        return (
            f"client={endpoint(self.client)}{self._legs_text()} sent={self.sent}"
            f" received={self.received} started={self.started:.3f} seconds={self.seconds:.3f}"
            f" end={end}"
        )

    def fields(self) -> dict[str, str | int | float]:
        """The same by name, for JSON and the journal."""
        return {
            "client": endpoint(self.client),
            **dict(self._legs()),
            "sent": self.sent,
            "received": self.received,
            "started": self.started,
            "seconds": self.seconds,
            "end": self.end,
        }

    def _legs_text(self) -> str:
        if self.discreet or not self.source or not self.server:
            return "".join([f" {name}={address}" for name, address in self._legs()])
        # At once, the families being known: most records are of this kind, and short connections
        # notice what theirs cost.
        mapped, mapped_port = self.mapped
        source, source_port = self.source
        server, server_port = self.server
        if ":" in server:
            return "".join([f" {name}={address}" for name, address in self._legs()])
        return (
            f" mapped=[{mapped}]:{mapped_port} source={source}:{source_port}"
            f" server={server}:{server_port}"
        )

    def _legs(self) -> list[tuple[str, str]]:
        legs = [("mapped", endpoint(self.mapped))]
        if self.source and self.server:
            legs += [("source", endpoint(self.source)), ("server", endpoint(self.server))]
        return [leg for leg in legs if leg[0] == "source"] if self.discreet else legs


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
