"""Ports by the names of services(5), with a guess at what a misspelt name means."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from faith.errors import ConfigError, meant
from faith.kernel import text_file
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICES = "/etc/services"


def ports(text: str, protocol: str = "tcp") -> Ports:
    """Parse a list of services of *protocol*, ports and ranges: see `Ports.parse`.

    Raises ConfigError, which suggests the service that was probably meant.
    """
    try:
        return Ports.parse(text, socket.getservbyname, protocol)
    except ConfigError as error:
        known = [*_names(protocol)]
        guesses = {meant(word.strip(), known) for word in text.split(",") if not _is_known(word)}
        raise ConfigError(f"{error.message}{max(guesses, default='')}") from None


def _is_known(word: str) -> bool:
    try:
        return bool(Ports.parse(word, socket.getservbyname))
    except ConfigError:
        return False


def _names(protocol: str) -> Iterator[str]:
    try:
        text = text_file.read_leniently(SERVICES)
    except OSError:
        return
    for line in text.split("\n"):
        name, *rest = line.partition("#")[0].split() or [""]
        if rest and rest[0].endswith(f"/{protocol}"):
            yield from (name, *rest[1:])
