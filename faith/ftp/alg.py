"""The ALG as its client can see and set it, and the part that it takes in a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.ftp import command
from faith.ftp.command import CommandRefused
from faith.ftp.data_port import ActiveTranslated, PassiveTranslated, PassiveUntouched
from faith.ftp.events import ToServer
from faith.ftp.exchange import Reinitialising, Securing, Substituted
from faith.ftp.features import ListingFeatures
from faith.ftp.notation import Endpoint
from faith.ftp.telnet import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.ftp.direction import Direction
    from faith.ftp.exchange import Exchange
    from faith.ftp.listeners import Listeners
    from faith.ftp.telnet import Line


class Alg:
    """The ALG of a *direction*, *enabled* at first; addresses are given as numbers."""

    def __init__(
        self, direction: Direction, client: int, mapped: int, source: int, *, active: bool
    ) -> None:
        self._direction = direction
        self._client = Endpoint(direction.client, client, 0)
        self._mapped = Endpoint(direction.client, mapped, 0)
        self._source = Endpoint(direction.server, source, 0)
        self._active = active
        self.enabled = True

    def exchange_for(self, line: Line, listeners: Listeners) -> Exchange | None:
        """The part that the ALG takes in the command on *line*; None where it takes none.

        Raises CommandRefused.
        """
        if not line.ends:
            raise CommandRefused("500 Line too long", f"a command of more than {LIMIT} octets")
        verb, argument = command.read(line.data)
        passed = ToServer(line.data, line.urgent)
        match verb:
            case b"AUTH":
                return Securing(passed)
            case b"REIN":
                return Reinitialising(passed, listeners, self._reset)
            case b"ALGS" if self._direction.status:
                return Substituted(self._set(argument))
        if self.enabled:
            if verb == b"FEAT":
                return ListingFeatures(passed, *self._features())
            return self._translated(verb, argument, listeners)
        return PassiveUntouched(passed, listeners) if verb in (b"EPSV", b"PASV") else None

    def _translated(self, verb: bytes, argument: bytes, listeners: Listeners) -> Exchange | None:
        table = self._direction
        if verb in table.refused:
            raise CommandRefused(table.refused[verb])
        if verb in table.passive:
            passive = table.passive[verb]
            passive.check(argument, table.client)
            return PassiveTranslated(passive, table.ask, self._mapped, listeners)
        if verb in table.active:
            port = table.active[verb].port(argument, self._client)
            if self._active:
                return ActiveTranslated(port, table.ask, self._source, listeners)
        return None

    def _set(self, argument: bytes) -> str:
        """Do what the *argument* of an ALGS asks; the reply to it (RFC 6384 §11)."""
        match argument.upper():
            case b"ENABLE64":
                self.enabled = True
            case b"DISABLE64":
                self.enabled = False
            case b"STATUS64":
                pass
            case _:
                raise CommandRefused("504 STATUS64, ENABLE64 or DISABLE64, please")
        if not self.enabled:
            return "216 NONE"
        return "216 EPSVEPRT" if self._active else "216 EPSV"

    def _features(self) -> tuple[Iterable[bytes], Iterable[bytes]]:
        """Return the features that a reply to FEAT has to list, and those that it must not."""
        if self._active:
            return (b"EPRT", b"EPSV"), self._direction.refused
        return (b"EPSV",), (*self._direction.refused, *self._direction.active)

    def _reset(self) -> None:
        self.enabled = True
