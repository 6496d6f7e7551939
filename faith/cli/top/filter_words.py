"""The words by which sessions are chosen in ``faith top``."""

from __future__ import annotations

from typing import Any

from faith.errors import ConfigError
from faith.translation.selection import Selection

NETWORKS = ("client", "server", "source")
HINT = "client=NETWORK server=NETWORK source=NETWORK port=PORT"


def parse(text: str) -> dict[str, Any]:
    """Return the selection that *text* says, by the keywords of `Selection`.

    Its words are ``client=NETWORK``, ``server=NETWORK``, ``source=NETWORK`` and ``port=PORT``;
    without a name an IPv6 network is the client's, an IPv4 network the server's, and a number the
    port.  Raises ConfigError.
    """
    wanted: dict[str, Any] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not equals:
            name, value = _name_of(word), word
        if name in wanted:
            raise ConfigError(f"{name} is said twice")
        if name == "port":
            wanted[name] = _port(value)
        elif name in NETWORKS:
            wanted[name] = value
        else:
            raise ConfigError(f"{name!r} is none of {HINT}")
    Selection(**wanted)
    return wanted


def words(wanted: dict[str, Any]) -> str:
    """Return the words that `parse` reads as *wanted*."""
    return " ".join(f"{name}={value}" for name, value in wanted.items())


def _name_of(word: str) -> str:
    if ":" in word:
        return "client"
    return "port" if word.isdigit() else "server"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise ConfigError(f"{text!r} is no port")
    return int(text)
