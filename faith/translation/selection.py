"""A selection of sessions, by the networks of client, server and source, and by ports."""

from __future__ import annotations

from faith.errors import ConfigError
from faith.translation.address import number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Endpoint = tuple[str, int]
    """A host, as text, and a port."""


class Network:
    """An IPv4 or IPv6 network, or one address, of its text.

    Raises ConfigError for what is none, as are those with bits set beyond their length.
    """

    __slots__ = ("_bits", "_is_v6", "_shift")

    def __init__(self, text: str) -> None:
        address, slash, length = text.partition("/")
        self._is_v6 = ":" in address
        width = 128 if self._is_v6 else 32
        try:
            value = number(address)
        except (OSError, ValueError):
            raise ConfigError(f"{text}: {address!r} is no IPv4 or IPv6 address") from None
        if slash and not (length.isascii() and length.isdigit() and int(length) <= width):
            raise ConfigError(f"{text}: {length!r} is no length from 0 to {width}")
        self._shift = width - int(length) if slash else 0
        self._bits = value >> self._shift
        if value != self._bits << self._shift:
            raise ConfigError(f"{text} has bits set beyond its length")

    def __contains__(self, host: str) -> bool:
        """Return whether the address *host*, with or without a zone, is in the network."""
        return (":" in host) == self._is_v6 and number(host) >> self._shift == self._bits


class Selection:
    """Sessions that have all that is given; *port* is the server's.  Raises ConfigError.

    Without anything given, all sessions are selected.
    """

    __slots__ = ("_client", "_client_port", "_port", "_server", "_source")

    def __init__(
        self,
        client: str | None = None,
        server: str | None = None,
        source: str | None = None,
        port: int | None = None,
        client_port: int | None = None,
    ) -> None:
        self._client = None if client is None else Network(client)
        self._server = None if server is None else Network(server)
        self._source = None if source is None else Network(source)
        self._port = port
        self._client_port = client_port

    def includes(
        self, client: Endpoint, server: Endpoint, source: Callable[[], Endpoint | None]
    ) -> bool:
        """Return whether a session of these endpoints is selected.

        *source* is called only if its network matters.
        """
        if self._port not in (None, server[1]) or self._client_port not in (None, client[1]):
            return False
        if self._client is not None and client[0] not in self._client:
            return False
        if self._server is not None and server[0] not in self._server:
            return False
        return self._source is None or (
            (found := source()) is not None and found[0] in self._source
        )
