"""What is told of a connection when it is over."""

from __future__ import annotations

CLOSED = "closed"
"""The good end: both sides said FIN, and every byte before it was passed on."""


class Record:
    """One connection, accept to end.

    *client*, *mapped* (the address the client asked for), *source* and *server* are ``[host]:port``
    or ``host:port``; *source* and *server* are empty when there was no IPv4 leg.  *started* is Unix
    time, *seconds* the duration; *sent* counts bytes from the client that the server's socket took,
    *received* the other way; *end* says why it ended.
    """

    __slots__ = (
        "client",
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
        client: str,
        mapped: str,
        end: str,
        started: float,
        *,
        source: str = "",
        server: str = "",
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

    def text(self) -> str:
        """One line of ``key=value``; a value with spaces stands in quotes."""
        legs = f" source={self.source} server={self.server}" if self.server else ""
        return (
            f"client={self.client} mapped={self.mapped}{legs} sent={self.sent}"
            f" received={self.received} seconds={self.seconds:.3f} end={_quoted(self.end)}"
        )

    def fields(self) -> dict[str, str | int | float]:
        """The same by name, for JSON and the journal."""
        return {name: getattr(self, name) for name in self.__slots__ if getattr(self, name) != ""}


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text


def endpoint(host: str, port: int) -> str:
    """``[2001:db8::1]:80`` or ``192.0.2.1:80``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
