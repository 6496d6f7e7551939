"""Static maps as text, one a line, and their checks against prefixes, own addresses and pools.

A line is ``IPV4[/LENGTH] IPV6[/LENGTH] [KEY=VALUE …]``, with the keys of ``[[map]]`` in
faith.toml(5).  Addresses are parsed by the C library: a file may have very many.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from faith.errors import ConfigError, meant, raise_all
from faith.kernel.sockets.service_names import ports
from faith.translation.address import from_packed, text4, text6
from faith.translation.map import DIRECTIONS, PROTOCOLS, Map, overlap
from faith.translation.typography import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from faith.translation.map import Network
    from faith.translation.networks import Networks
    from faith.translation.prefix import Prefixes

FORM = "IPV4[/LENGTH] IPV6[/LENGTH] [KEY=VALUE ...]"
OPTIONS = ("ports", "to_port", "protocols", "direction")
"""The options of a map."""

_BITS = {socket.AF_INET: 32, socket.AF_INET6: 128}
_NAMES = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
_SUCH_AS = {socket.AF_INET: "198.51.100.102", socket.AF_INET6: "2001:db8:a::2"}


def parse(text: str, file: str | None = None) -> list[Map]:
    """Return the maps in the *text* of a file.

    Raises ConfigError naming *file* and line, for all lines that are wrong.
    """
    found, errors = [], []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.partition("#")[0].split()
        if words:
            try:
                found.append(_of_line(words, file, number))
            except ConfigError as error:
                errors.append(ConfigError(explain(error.message, line), file, number))
    raise_all(errors)
    return found


def of_words(v4: str, v6: str, options: Mapping[str, str], file: str | None = None) -> Map:
    """Return the map of two networks with *options*, all as text.  Raises ConfigError."""
    return Map(network4(v4), network6(v6), **values(options), file=file)


def _of_line(words: list[str], file: str | None, number: int) -> Map:
    if len(words) < 2:
        raise ConfigError(f"a map has two addresses: {FORM}")
    v4, v6, *rest = words
    options = values(_options(rest)) if rest else {}
    return Map(network4(v4), network6(v6), **options, file=file, line=number)


def _options(words: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"{word!r} is not KEY=VALUE: {FORM}")
        if key in found:
            raise ConfigError(f"{key} is given twice")
        found[key] = value
    return found


def values(options: Mapping[str, str]) -> dict[str, Any]:
    """Parse a map's options into keyword arguments of `Map`.  Raises ConfigError."""
    return {_one_of(key, OPTIONS): _READERS[key](text) for key, text in options.items()}


def network4(text: str) -> Network:
    """Parse an IPv4 network or address.  Raises ConfigError."""
    return _network(text, socket.AF_INET)


def network6(text: str) -> Network:
    """Parse an IPv6 network or address.  Raises ConfigError."""
    return _network(text, socket.AF_INET6)


def _network(text: str, family: socket.AddressFamily) -> Network:
    address, slash, length = text.partition("/")
    try:
        number = from_packed(socket.inet_pton(family, address))
    except (OSError, ValueError):
        raise ConfigError(_no_address(text, address, family)) from None
    bits = _BITS[family]
    if not slash:
        return number, bits
    if not (length.isascii() and length.isdigit() and len(length) < 4 and int(length) <= bits):
        raise ConfigError(f"{text}: {length!r} is not a prefix length from 0 to {bits}")
    return number, int(length)


def _no_address(text: str, address: str, family: socket.AddressFamily) -> str:
    """Return the error message for *address*, which is no address of *family*."""
    (other,) = _BITS.keys() - {family}
    try:
        socket.inet_pton(other, address)
    except (OSError, ValueError):
        return f"{text!r} is not an {_NAMES[family]} address (such as {_SUCH_AS[family]})"
    return (
        f"{text} is {_NAMES[other]}, and {_NAMES[family]} is expected here: IPv4 first, then IPv6"
    )


def _port(text: str) -> int:
    found = ports(text)
    if len(found) != 1:
        raise ConfigError(f"{text} is not one port")
    return found.ranges[0][0]


def _protocols(text: str) -> frozenset[str]:
    return frozenset(_one_of(word.strip(), PROTOCOLS) for word in text.split(","))


def _direction(word: str) -> str:
    return _one_of(word, DIRECTIONS)


def _one_of(word: str, words: tuple[str, ...]) -> str:
    if word not in words:
        raise ConfigError(f"{word!r} is none of {', '.join(words)}{meant(word, words)}")
    return word


_READERS: dict[str, Callable[[str], object]] = {
    "ports": ports,
    "to_port": _port,
    "protocols": _protocols,
    "direction": _direction,
}


def check(maps: Iterable[Map], prefixes: Prefixes, own: Networks) -> None:
    """Raise ConfigError for a map to or from an address that the gateway has another use for.

    *own* are the networks it answers for on IPv4.  A mapped network may contain some of them:
    there, the gateway goes on to answer for itself.
    """
    for one in maps:
        if prefix := prefixes.find(one.v6[0]):
            raise _fault(one, f"{text6(*one.v6)} is under the prefix {prefix}, not a host's")
        network = own.find(one.v4[0])
        if network and network[1] <= one.v4[1]:
            what = f"{text4(*one.v4)} is the gateway's own"
            raise _fault(one, what if network == one.v4 else f"{what}, by {text4(*network)}")
        for prefix in prefixes:
            if prefix.length > one.v6[1] and overlap(one.v6, (prefix.address, prefix.length), 128):
                raise _fault(one, f"{text6(*one.v6)} has the prefix {prefix} in it")


def check_pool(maps: Iterable[Map], pool: Sequence[Network]) -> None:
    """Raise ConfigError for a map of an address in *pool*, which is leased to names."""
    for one in maps if pool else ():
        if any(overlap(one.v4, network, 32) for network in pool):
            raise _fault(one, f"{text4(*one.v4)} is mapped, and in the pool of [dns]")


def _fault(one: Map, what: str) -> ConfigError:
    return ConfigError(what, one.file, one.line)
