"""Telling a server who its client is, by the PROXY protocol, before the client says anything."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from faith.translation.proxy_protocol import header

if TYPE_CHECKING:
    from faith.relay.tcp.session import Session


def introduce(session: Session, version: str) -> None:
    """Tell the server of *session*, which has just been connected.

    These bytes are ours: they do not count as sent by the client.  A server that has hung up
    already is left to the plane (`Leg.error`): what it said is still to be passed on.
    """
    client = session.client_host, session.client_port
    told = header(version, client, (session.route.mapped, session.mapped_port))
    try:
        session.server.sock.send(told)  # the first on this connection: there is room for them
    except OSError as error:
        session.server.error = session.server.error or error.errno or errno.EIO
