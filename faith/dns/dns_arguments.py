"""The arguments of ``faith dns``, and of ``[dns]`` in faith.toml, as values."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

import dns.exception
import dns.name

from faith.dns import endpoint, lease_file
from faith.dns.options import EXCLUDED, NO_NETWORKS, V4_MAPPED, Options, Rule
from faith.dns.service import Settings
from faith.dns.upstream_exchange import tls_context
from faith.errors import ConfigError
from faith.kernel import text_file
from faith.translation.destination import SPECIAL_DESTINATIONS
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    Network = tuple[int, int]

NONE = "none"
_V4_CLIENTS = (V4_MAPPED, 96)


@dataclass(frozen=True, kw_only=True)
class DnsArguments:
    """The arguments as they are written; `settings` parses them.

    Each is called as its option and its key are.
    """

    prefix: Sequence[str] = ()
    layout: str | None = None
    listen: Sequence[str] = ()
    forward: Sequence[str] = ()
    allow: Sequence[str] = ()
    client: Sequence[str] = ()
    filter_a: Sequence[str] = ()
    map: Sequence[str] = ()
    exclude: Sequence[str] = ()
    exclude_v4: Sequence[str] = ()
    never: Sequence[str] = ()
    always: Sequence[str] = ()
    missing: Sequence[str] = ()
    serve_stale: int = 0
    mixed_case: bool = False
    authorities: Path | None = None
    pool: Sequence[str] = ()
    pool_client: Sequence[str] = ()
    pool_file: Path | None = None

    def settings(self) -> Settings:
        """Return the settings of the server.  Raises ConfigError."""
        return Settings(
            options=self._options(),
            reserved=not self.prefix,
            listen=tuple(map(endpoint.parse, self.listen)),
            forward=tuple(map(endpoint.parse_server, self.forward)),
            served=_networks(self.allow) if self.allow else None,
            stale=self.serve_stale,
            mixed_case=self.mixed_case,
            authorities=_certificates(self.authorities) if self.authorities else None,
            pool=self._pool(),
            pool_file=self.pool_file or Settings.pool_file,
        )

    def _pool(self) -> tuple[Network, ...]:
        if not self.pool and (self.pool_client or self.pool_file):
            raise ConfigError("there is nothing to lend without --pool")
        networks = tuple(map(_v4_network, self.pool))
        if sum(1 << 32 - length for _, length in networks) > lease_file.LIMIT:
            raise ConfigError(f"a pool has {lease_file.LIMIT} addresses at most")
        return networks

    def _borrowers(self) -> Networks:
        if not self.pool:
            return NO_NETWORKS
        return _networks(self.pool_client) if self.pool_client else Networks(128, [_V4_CLIENTS])

    def _options(self) -> Options:
        exclude_v4 = Networks(32, map(_v4_network, self.exclude_v4))
        rules = {Rule.NEVER: self.never, Rule.MISSING: self.missing, Rule.ALWAYS: self.always}
        return Options(
            prefixes=self._prefixes(self.prefix),
            clients={
                _network(network): self._prefixes([] if to == NONE else to.split(","))
                for network, to in map(_pair, self.client)
            },
            filter_a=_networks(self.filter_a),
            borrowers=self._borrowers(),
            ranges={
                _v4_network(network): self._prefixes(to.split(","))
                for network, to in map(_pair, self.map)
            },
            exclude=_networks(self.exclude) if self.exclude else EXCLUDED,
            exclude_v4=exclude_v4 if self.exclude_v4 else SPECIAL_DESTINATIONS,
            names={_domain(text): rule for rule, texts in rules.items() for text in texts},
        )

    def _prefixes(self, texts: Sequence[str]) -> tuple[Prefix, ...]:
        return tuple(Prefix.parse(text, self.layout) for text in texts)


def _certificates(file: Path) -> str:
    """Return the text of *file*, read with privileges; the workers have none."""
    try:
        text = text_file.read_leniently(file)
        text = text.encode("ascii", errors="ignore").decode()  # comments may be anything
        tls_context(text)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
    return text


def _pair(text: str) -> tuple[str, str]:
    """Return the halves of ``NETWORK=PREFIX``."""
    network, equals, prefix = text.partition("=")
    if not equals:
        raise ConfigError(f"{text}: it takes NETWORK=PREFIX")
    return network, prefix


def _networks(texts: Sequence[str]) -> Networks:
    return Networks(128, map(_network, texts))


def _network(text: str) -> Network:
    """Parse a network of either family, IPv4 at ::ffff:0:0/96."""
    try:
        network = ip_network(text.strip())
    except ValueError as error:
        raise ConfigError(f"{text}: {error}") from None
    first, length = int(network.network_address), network.prefixlen
    return (first, length) if network.version == 6 else (V4_MAPPED | first, 96 + length)


def _v4_network(text: str) -> Network:
    first, length = _network(text)
    if ":" in text:
        raise ConfigError(f"{text}: an IPv4 network belongs here")
    return first & 0xFFFFFFFF, length - 96


def _domain(text: str) -> bytes:
    """Return *text* on the wire, in lower case."""
    try:
        return (dns.name.from_text(text).to_wire() or b"").lower()
    except dns.exception.DNSException as error:
        raise ConfigError(f"{text!r} is not a domain: {error}") from None
