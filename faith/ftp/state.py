"""The states of a session, the steps between them, and who may speak in each.

The rules: commands reach the server, and replies the client, in the order in which they came.  A
command that the ALG takes part in is over before the next one is looked at, so there is never more
than one, and never more than one listener that the I/O side was asked for.  Nobody is read whose
words could not be acted upon: what is held back is in the sender's TCP, not here.
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """States of a session, by what it is waiting for."""

    COMMAND = auto()
    """A command of the client's; replies to earlier ones pass."""
    ACTIVE_LISTENER = auto()
    """A listener for the server, without which the command cannot go on."""
    REPLY = auto()
    """The server's reply to a command that the ALG takes part in."""
    PASSIVE_LISTENER = auto()
    """A listener for the client, without which the reply cannot go on."""
    TRANSPARENT = auto()
    """Nothing any more: whatever comes is carried."""
    CLOSED = auto()
    """Nothing any more: whatever comes is dropped."""


class Step(Enum):
    """Steps that move a session from one state to another."""

    NEEDS_LISTENER = auto()
    ASKED = auto()
    DONE = auto()
    SECURED = auto()
    OUT_OF_STEP = auto()


TRANSITIONS = {
    (State.COMMAND, Step.NEEDS_LISTENER): State.ACTIVE_LISTENER,
    (State.COMMAND, Step.ASKED): State.REPLY,
    (State.ACTIVE_LISTENER, Step.ASKED): State.REPLY,
    (State.REPLY, Step.NEEDS_LISTENER): State.PASSIVE_LISTENER,
    (State.REPLY, Step.DONE): State.COMMAND,
    (State.REPLY, Step.SECURED): State.TRANSPARENT,
    (State.PASSIVE_LISTENER, Step.DONE): State.COMMAND,
    (State.COMMAND, Step.OUT_OF_STEP): State.CLOSED,
    (State.REPLY, Step.OUT_OF_STEP): State.CLOSED,
}

CLIENT_SPEAKS = frozenset((State.COMMAND, State.TRANSPARENT))
SERVER_SPEAKS = frozenset((State.COMMAND, State.REPLY, State.TRANSPARENT))
