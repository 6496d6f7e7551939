"""``websocket_echo.py PORT [ADDRESS]``: send every message back."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

from websockets.sync.server import serve

if TYPE_CHECKING:
    from websockets.sync.server import ServerConnection


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


port, address = int(sys.argv[1]), (sys.argv[2:] or ["0.0.0.0"])[0]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
listener = socket.create_server((address, port), family=family)
with serve(echo, sock=listener, ping_interval=None) as server:
    server.serve_forever()
