"""Exchanges: commands that the ALG takes part in, from the command to the end of the reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from faith.ftp.events import GoTransparent, Hangup, Log, ToClient, ToServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from faith.ftp.events import Event
    from faith.ftp.listeners import Listeners
    from faith.ftp.reply import ReplyLine


_TELLING_PORTS = (227, 228, 229)


class Exchange(Protocol):
    """A command that the ALG takes part in.

    *codes* are replies that can be to nothing else: if one comes, then the server owes no reply to
    the commands before.
    """

    codes: frozenset[int] = frozenset()

    def begin(self) -> list[Event]:
        """Return the events for the command."""

    def hear(self, line: ReplyLine) -> list[Event]:
        """Return the events for a *line* of the reply."""

    def presume(self) -> list[Event]:
        """Return the events for a reply that seems to have passed as one to another command."""
        return []

    def state(self) -> list[Any]:
        """Return the changes since the exchange was made, fit for JSON; by default none."""
        return []

    def restore(self, state: list[Any]) -> None:
        """Go on, just made, where the one of the same command stopped whose :meth:`state` it is."""
        return


class PassedOn(Exchange):
    """One whose command the server gets as it is."""

    def __init__(self, command: ToServer) -> None:
        self._command = command

    def begin(self) -> list[Event]:
        return [self._command]


def to_client(text: str) -> ToClient:
    """A line of the ALG's own."""
    return ToClient(text.encode("ascii") + b"\r\n")


def to_server(text: str) -> ToServer:
    """A line of the ALG's own."""
    return ToServer(text.encode("ascii") + b"\r\n")


def out_of_step(peer: str, why: str, detail: str = "") -> list[Event]:
    """Return the events for a *peer* that is out of step: log *why*, send a 421 and hang up."""
    text = "421 Service not available, closing control connection"
    return [Log(peer, why, detail), to_client(text), Hangup()]


class Substituted(Exchange):
    """A command that the server does not see; a NOOP in its place keeps it in step (RFC 6384 §12).

    What answers the NOOP is replaced by *reply*, so that this comes in its turn.
    """

    def __init__(self, reply: str) -> None:
        self._reply = reply

    def begin(self) -> list[Event]:
        return [to_server("NOOP")]

    def hear(self, line: ReplyLine) -> list[Event]:
        if not line.completes:
            return []
        # 5yz: the server has no NOOP, or wants a login first.
        if line.code // 100 in (2, 5) and line.code not in _TELLING_PORTS:
            return [to_client(self._reply)]
        return out_of_step("server", "no reply to NOOP in its place", str(line.code))

    def presume(self) -> list[Event]:
        return [to_client(self._reply)]


class Securing(PassedOn):
    """AUTH: if the server accepts, client and server are on their own (RFC 6384 §5)."""

    codes = frozenset((234, 334))  # RFC 2228 §3

    def hear(self, line: ReplyLine) -> list[Event]:
        passed: list[Event] = [ToClient(line.data)]
        return [*passed, GoTransparent()] if line.completes and line.code < 400 else passed


class Reinitialising(PassedOn):
    """REIN: if the server does, *reset* is called and *listeners* are closed (RFC 959 §4.1.1)."""

    def __init__(self, command: ToServer, listeners: Listeners, reset: Callable[[], None]) -> None:
        super().__init__(command)
        self._listeners = listeners
        self._reset = reset

    def hear(self, line: ReplyLine) -> list[Event]:
        passed: list[Event] = [ToClient(line.data)]
        if not line.completes or line.code >= 300:
            return passed
        self._reset()
        return [*passed, *self._listeners.close_old()]
