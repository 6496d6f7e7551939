"""The FTP ALG of one worker: its control connections, and the data connections they announce."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.relay.alg.control_connection import Control
from faith.relay.alg.ftp_data import FtpData
from faith.translation.reasons import NOT_EXPECTED, STOPPED

if TYPE_CHECKING:
    import _socket
    from asyncio import AbstractEventLoop
    from collections.abc import Iterator
    from typing import Any

    from faith.relay.alg.data_connections import DataConnections
    from faith.relay.alg.ftp_data import Supervised
    from faith.relay.tcp.listener import Peer
    from faith.relay.tcp.plane import Plane
    from faith.relay.tcp.relay_counters import Counters
    from faith.relay.tcp.routing import Routing
    from faith.relay.tcp.session import Session


class Ftp:
    """The control connections of one worker."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        plane: Plane,
        routing: Routing,
        supervised: Supervised,
        data: DataConnections,
        counters: Counters,
    ) -> None:
        self.secured = supervised.secured
        self._refuse = data.refuse
        self._data = FtpData(loop, plane, routing, supervised, data, counters, self._reset)
        self._controls: dict[Session, Control] = {}

    def _control(self, session: Session, *, encrypted_data: bool = True) -> Control:
        control = Control(self._data, session, self._forget, encrypted_data=encrypted_data)
        self._controls[session] = control
        return control

    def take_over(self, session: Session, *, encrypted_data: bool = True) -> None:
        """Serve *session*, whose server has just been connected.

        Without *encrypted_data* it has no data connections once it is encrypted.
        """
        self._data.counters.ftp("control")
        self._control(session, encrypted_data=encrypted_data).start()

    def movable(self) -> list[Session]:
        """The control connections that can be handed over as they stand now."""
        return [session for session, one in self._controls.items() if one.can_be_handed_over]

    def hand_over(self, session: Session) -> tuple[dict[str, Any], list[int]]:
        """Let go of a control connection, for `resume` elsewhere: its state and descriptors."""
        return self._controls[session].hand_over()

    def resume(self, session: Session, state: dict[str, Any], descriptors: Iterator[int]) -> None:
        """Go on with a control connection that was handed over."""
        self._control(session).resume(state, descriptors)

    def _forget(self, session: Session) -> None:
        """It has ended, or is an ordinary session from here on."""
        del self._controls[session]

    def sessions(self) -> list[Session]:
        """The control connections."""
        return list(self._controls)

    def end(self, session: Session, how: str, *, reset: bool) -> None:
        """End a control connection; its data connections go on."""
        self._controls[session].end(how, reset=reset)

    def _reset(self, session: Session) -> None:
        self._controls[session].reset()

    def close(self) -> None:
        """Reset every control connection that is left."""
        self._data.close()
        for session in self.sessions():
            self.end(session, STOPPED, reset=True)

    def accepted(self, client: _socket.socket, peer: Peer, mapped: str, port: int) -> None:
        """Serve *client* if its host has an encrypted control connection, or refuse it."""
        parent = self.secured.find(peer[0], mapped)
        if parent is None:
            self._refuse(client, peer, mapped, port, NOT_EXPECTED)
        else:
            self._data.passive(parent, client, peer[1], port, port)
