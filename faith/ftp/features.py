"""The features that a client is told of (RFC 2389)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from faith.ftp.events import ToClient, ToServer
from faith.ftp.exchange import PassedOn, to_client

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from faith.ftp.events import Event
    from faith.ftp.reply import ReplyLine

_FEATURE = re.compile(rb"(?:211-)?[ \t]*([!-~]*)")


class ListingFeatures(PassedOn):
    """FEAT: the reply names what the ALG *gives* and not what it *hides* (RFC 2389 §3.2)."""

    def __init__(self, command: ToServer, gives: Iterable[bytes], hides: Iterable[bytes]) -> None:
        super().__init__(command)
        self._missing = list(gives)
        self._hides = frozenset(hides)
        self._hiding = False

    def hear(self, line: ReplyLine) -> list[Event]:
        passed: list[Event] = [ToClient(line.data)]
        if line.code != 211:
            return passed
        if line.starts and line.ends:
            return self._instead_of_no_features() or passed
        if line.ends:
            return [*self._added(), *passed]
        if not line.starts and line.fresh:
            self._look_at(line.data)
        return [] if self._hiding else passed

    def state(self) -> list[Any]:
        return [[name.decode() for name in self._missing], self._hiding]

    def restore(self, state: list[Any]) -> None:
        missing, self._hiding = state
        self._missing = [name.encode() for name in missing]

    def _look_at(self, feature: bytes) -> None:
        found = _FEATURE.match(feature)
        name = found[1].upper() if found else b""
        self._hiding = name in self._hides
        if name in self._missing:
            self._missing.remove(name)

    def _added(self) -> list[Event]:
        return [to_client(f" {name.decode()}") for name in self._missing]

    def _instead_of_no_features(self) -> list[Event]:
        added = self._added()
        return added and [to_client("211-Extensions supported:"), *added, to_client("211 End")]
