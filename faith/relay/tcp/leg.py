"""One socket of a session, and the state of the direction that starts at it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    import _socket
    from typing import Any

    from faith.relay.tcp.pipes import Pipe
    from faith.relay.tcp.session import Session


@final
class Leg:
    """One socket of a session, and the direction that starts at it."""

    __slots__ = (
        "done",
        "ending",
        "eof",
        "error",
        "fd",
        "held",
        "moved",
        "peer",
        "pipe",
        "piped",
        "quick",
        "session",
        "size",
        "sock",
        "up",
        "urgent",
        "urgent_held",
        "watched",
    )
    HANDED_OVER = (
        "done",
        "ending",
        "eof",
        "error",
        "moved",
        "piped",
        "quick",
        "size",
        "up",
        "urgent",
        "urgent_held",
        "watched",
    )
    """What goes to another process as it is; `held` goes as text, the rest as descriptors."""

    peer: Leg

    def __init__(self, sock: _socket.socket, session: Session) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.session = session
        self.up = False  # connected, and the bytes may flow
        self.quick = False  # nothing held, not bulk: read and written at once
        self.size = 0  # of the last read
        self.held: bytes | memoryview | None = None  # read here, not yet taken by the peer
        self.urgent_held = False  # held is one byte, to be sent urgent
        self.pipe: Pipe | None = None
        self.piped = 0  # bytes in it
        self.ending = False  # all that will ever arrive has arrived: FIN, reset or error
        self.urgent = False  # and there is an urgent octet in it, if the peer marked one
        self.error = 0  # errno of the socket, which has failed; what arrived before is still read
        self.eof = False  # the FIN was read
        self.done = False  # and was passed on
        self.watched = False  # the peer's data found this leg full: OUT is watched for
        self.moved = 0  # bytes from here that the peer's socket took

    def state(self) -> dict[str, Any]:
        """What `restore` makes another leg like this one from, fit for JSON."""
        state = {name: getattr(self, name) for name in self.HANDED_OVER}
        state["held"] = None if self.held is None else b64encode(self.held).decode()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where the leg stopped whose `state` it is; a field it has not keeps its value."""
        for name in self.HANDED_OVER:
            setattr(self, name, state.get(name, getattr(self, name)))
        self.held = None if state["held"] is None else b64decode(state["held"])
