"""``faith hosts``: lines for the hosts(5) of IPv6-only hosts, where DNS is too much."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from faith.cli import addr
from faith.errors import ConfigError, FaithError
from faith.kernel import text_file
from faith.translation.destination import NOT_GLOBAL_DESTINATIONS, SPECIAL_DESTINATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from faith.translation.prefix import Prefix


class Entry(NamedTuple):
    """An IPv4 address and the *names* of the host there."""

    address: IPv4Address
    names: tuple[str, ...]


def entries(word: str) -> list[Entry]:
    """Return the entries of *word*: an IPv4 address, a name, or the path of a hosts(5) file.

    *word* is a path if it has a slash in it or the file exists; an address gets the name that it
    has.  Raises FaithError for a name without an address or an address without a name, and OSError
    for a file that cannot be read.
    """
    if "/" in word or os.path.isfile(word):
        return list(_in_file(text_file.read_leniently(word)))
    try:
        address = IPv4Address(word)
    except ValueError:
        return [Entry(address, (word,)) for address in _addresses(word)]
    return [Entry(address, (_name(address),))]


def _in_file(text: str) -> Iterator[Entry]:
    """The IPv4 lines of *text*; others, and this host's own, are of no use under a prefix."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        try:
            address = IPv4Address(words[0] if words else "")
        except ValueError:
            continue
        if words[1:] and int(address) not in SPECIAL_DESTINATIONS:
            yield Entry(address, tuple(words[1:]))


def _addresses(name: str) -> list[IPv4Address]:
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FaithError(f"{name}: {getattr(error, 'strerror', None) or error}") from None
    return sorted({IPv4Address(address[0]) for *_, address in found})


def _name(address: IPv4Address) -> str:
    try:
        return socket.gethostbyaddr(str(address))[0]
    except OSError:
        raise FaithError(
            f"{address} has no name; put a line with one into a file, and give that"
        ) from None


def lines(found: Iterable[Entry], prefixes: Sequence[Prefix]) -> list[str]:
    """A line for every entry under every prefix.

    Raises ConfigError for an address that is no other host's, or that a prefix must not stand for.
    """
    return [_line(entry, prefix) for prefix in prefixes for entry in found]


def _line(entry: Entry, prefix: Prefix) -> str:
    if int(entry.address) in SPECIAL_DESTINATIONS:
        raise ConfigError(f"{entry.address} is not the address of another host")
    if prefix.well_known and int(entry.address) in NOT_GLOBAL_DESTINATIONS:
        raise ConfigError(f"{entry.address} is not global: {prefix} must not stand for it")
    (pair,) = addr.convert([str(entry.address)], [prefix])
    return f"{pair.answer():<31} {' '.join(entry.names):<27} # {entry.address}"
