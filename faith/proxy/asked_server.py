"""The server that a client of HTTP has been led to last: its octets, and its end."""

from __future__ import annotations

from typing import Any

from faith.proxy.http_head import HeadReader
from faith.proxy.proxy_events import Target


class AskedServer:
    """The server *at* which requests are answered, None where there is none.

    Its *octets* are kept until they are passed on; once it is *over*, that is the reason.
    """

    def __init__(self) -> None:
        self.at: Target | None = None
        self.octets = bytearray()
        self.over: str | None = None
        self._heads = HeadReader(of_requests=False)

    def feed(self, data: bytes) -> None:
        """Keep *data*; without a server it is dropped."""
        if self.at is not None:
            self.octets += data

    def end(self, why: str) -> None:
        """Note that the server has ended, for the first time, as *why*."""
        if self.at is not None and self.over is None:
            self.over = why

    def take_head(self) -> bytes | None:
        """Take the head of an answer off its octets, as `HeadReader` does.  Raises BadMessage."""
        return self._heads.take(self.octets)

    def clear(self) -> None:
        """Have no server."""
        self.at = self.over = None
        self.octets.clear()
        self._heads = HeadReader(of_requests=False)

    def state(self) -> dict[str, Any]:
        """Return the state for `restore`, fit for JSON."""
        return {
            "server": self.octets.decode("latin-1"),
            "server_over": self.over,
            "at": None if self.at is None else self.at.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on, just made, where the one stopped whose `state` is among these fields."""
        self.octets += state["server"].encode("latin-1")
        self.over = state["server_over"]
        self.at = Target(*state["at"]) if state["at"] else None
