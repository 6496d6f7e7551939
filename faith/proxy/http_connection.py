"""A client's connection of HTTP: both streams, and what is to be done for them next."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from faith.proxy import own_answers
from faith.proxy.asked_server import AskedServer
from faith.proxy.proxy_events import (
    Dial,
    Event,
    HangUp,
    LeaveServer,
    Refused,
    Target,
    ToClient,
    Tunnel,
)
from faith.translation import reasons

if TYPE_CHECKING:
    from faith.proxy.http_head import BadMessage, Field
    from faith.proxy.own_answers import OwnAnswer
    from faith.proxy.proxy_rules import ProxyRules

OWN_ANSWERS = 32
"""Answers of the proxy's own in a row, after which it closes the connection."""


class Stage(Enum):
    """Stages of a client's connection, by what is waited for."""

    HEAD = auto()
    """The head of a request."""
    USER = auto()
    """The answer to CheckUser."""
    SERVER = auto()
    """The answer to Dial."""
    EXCHANGE = auto()
    """The rest of a request, and the answer to it."""
    OVER = auto()
    """Nothing any more: whatever comes is dropped."""


class HttpConnection:
    """A client's octets, its server, the *stage* they are at, and the *events* of it so far."""

    def __init__(self, rules: ProxyRules) -> None:
        self.rules = rules
        self.date: bytes | None = None
        """The date of what comes next, for answers that have none; None if nobody knows it."""
        self.stage = Stage.HEAD
        self.client = bytearray()
        self.client_over = False
        self.server = AskedServer()
        self.events: list[Event] = []
        self.own_answers = 0
        """Answers of the proxy's own since the last of a server."""

    def state(self) -> dict[str, Any]:
        """Return the state for `restore`, fit for JSON."""
        return {
            "stage": self.stage.name,
            "client": self.client.decode("latin-1"),
            "client_over": self.client_over,
            "own_answers": self.own_answers,
            **self.server.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on, just made, where the one stopped whose `state` is among these fields."""
        self.stage = Stage[state["stage"]]
        self.client += state["client"].encode("latin-1")
        self.client_over = state["client_over"]
        self.own_answers = state["own_answers"]
        self.server.restore(state)

    def emit(self, event: Event) -> None:
        """Have *event* come next."""
        self.events.append(event)

    # -- the server ------------------------------------------------------------------------------

    def dial(self, target: Target, method: str) -> None:
        """Ask for *target*, and wait for it."""
        self.stage = Stage.SERVER
        self.emit(Dial(target, method))

    def leave_server(self, why: str) -> None:
        """Have the session with the server ended, if there is one."""
        if self.server.at is not None:
            self.emit(LeaveServer(why))
        self.server.clear()

    # -- answers of the proxy's own --------------------------------------------------------------

    def say(self, answer: OwnAnswer, *, leaves: bool, has_body: bool, why: str) -> None:
        """Answer the client, and hang up as *why* if it *leaves*, or has had enough of these."""
        self.own_answers += 1
        answer = replace(answer, fields=answer.fields + self.date_field())
        leaves = leaves or self.own_answers >= OWN_ANSWERS
        self.emit(ToClient(answer.message(closes=leaves, has_body=has_body)))
        if leaves:
            self.leave_server(reasons.CLOSED)  # of a request before: it has done nothing wrong
            self.hang_up(why)

    def say_failed(self, why: str, target: Target, *, leaves: bool, has_body: bool) -> None:
        """Answer that *target* gave no answer, for the reason *why*."""
        answer = own_answers.failed(why, own_answers.told(why, target), self.rules.pseudonym)
        self.say(answer, leaves=leaves, has_body=has_body, why=why)

    def refuse(self, error: BadMessage) -> None:
        """Answer a request that cannot be read, and hang up."""
        self.emit(Refused(None, f"{reasons.BAD_REQUEST}: {error}"))
        answer = own_answers.bad_message(error, self.rules.pseudonym)
        self.say(answer, leaves=True, has_body=True, why=reasons.BAD_REQUEST)

    def date_field(self) -> tuple[Field, ...]:
        """Return the field of an answer that has no Date (RFC 9110 §6.6.1)."""
        return () if self.date is None else ((b"Date", self.date),)

    # -- ends ------------------------------------------------------------------------------------

    def hang_up(self, why: str, *, cut: bool = False) -> None:
        """End both connections; the client's by a reset if *cut*."""
        self.leave_server(why)
        self.emit(HangUp(why, cut))
        self._close()

    def tunnel(self) -> None:
        """Have both streams carried as they are from now on."""
        self.emit(Tunnel(bytes(self.client), bytes(self.server.octets)))
        self._close()

    def _close(self) -> None:
        self.stage = Stage.OVER
        self.client.clear()
        self.server.clear()
