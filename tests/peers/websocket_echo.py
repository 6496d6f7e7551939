"""``websocket_echo.py PORT``: send every message back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from websockets.sync.server import serve

if TYPE_CHECKING:
    from websockets.sync.server import ServerConnection


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


with serve(echo, "0.0.0.0", int(sys.argv[1]), ping_interval=None) as server:
    server.serve_forever()
