"""``python -m tests.netns.top_picture DIRECTORY``: the pictures of ``faith top`` in docs/.

They are of a daemon with real sessions in the lab, most of them by the relay, some by the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from faith.cli.top.arrangement import Arrangement
from faith.cli.top.reading import Reader
from faith.cli.top.top_app import TopApp
from faith.lab import Network, gain_rights, three_hosts
from faith.lab.topology import CLIENT, GATEWAY_V6, PREFIX, SERVER
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.netns.flow_lab import connect_as
from tests.netns.gateway import Gateway
from tests.netns.service import Echo

if TYPE_CHECKING:
    import socket

    from faith.lab import ThreeHosts

WEB, SECURE_WEB, SHELL = 80, 443, 22
CONFIGURATION = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "22,80"
[[service]]
ports = "443"
path = "kernel"
[flows]
addresses = ["192.0.2.9"]
[dns]
listen = ["[{GATEWAY_V6}]:53"]
forward = ["{SERVER}"]
[limits]
sessions = 5000
"""
CLIENTS = [CLIENT, *(f"2001:db8:{site:x}::{host:x}" for site in (7, 0xA) for host in (2, 0x1F))]
SESSIONS = [
    (client, port, size)
    for number, client in enumerate(CLIENTS)
    for port, size in (
        (WEB, 1500 * (number + 1)),
        (SECURE_WEB, 400 * (number + 3) ** 2),
        (SHELL, 40),
        (WEB, 0),
    )
]
"""Clients, ports of servers, and the octets that are sent each way in a tenth of a second."""
SIZE = 118, 30
SECONDS = 5.0
"""Seconds until rates are steady."""
_FONTS = re.compile(r"@font-face \{.*?\}\n", re.DOTALL)


def main(directory: Path) -> None:
    """Draw the pictures into *directory*."""
    gain_rights()
    with contextlib.ExitStack() as stack:
        lab = three_hosts(stack.enter_context(Network()))
        files = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _furnish(lab)
        for port in (WEB, SECURE_WEB, SHELL):
            stack.enter_context(contextlib.closing(Echo(lab.server, port)))
        zone = f"{EXAMPLE}www 60 IN A {SERVER}\n"
        stack.enter_context(lab.server.call(lambda: NameServer(Zones(zone), SERVER, 53)))
        gateway = Gateway(lab, files, CONFIGURATION)
        for client, port, size in SESSIONS:
            sock = stack.enter_context(connect_as(lab, client, port))
            threading.Thread(target=_talk, args=(sock, size), daemon=True).start()
        asyncio.run(_draw(gateway, directory))


def _furnish(lab: ThreeHosts) -> None:
    lab.gateway.links.add_address("to-server", "192.0.2.9/24")
    for client in CLIENTS[1:]:
        lab.client.links.add_address("to-gateway", f"{client}/64")
        lab.gateway.links.add_route(f"{client}/128", CLIENT)


def _talk(sock: socket.socket, size: int) -> None:
    with contextlib.suppress(OSError):
        while size:
            sock.sendall(bytes(size))
            left = size
            while left > 0 and (octets := len(sock.recv(65536))):
                left -= octets
            time.sleep(0.1)  # time: the rate of the session


async def _draw(gateway: Gateway, directory: Path) -> None:
    app = TopApp(Reader(gateway.control), {}, Arrangement(), 1.0)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(SECONDS)
        _save(app, directory / "top.svg")
        await pilot.press("2")
        await pilot.pause(1)
        _save(app, directory / "top-workers.svg")


def _save(app: TopApp, file: Path) -> None:
    """Write the picture without the fonts that its reader would have to load from elsewhere."""
    file.write_text(_FONTS.sub("", app.export_screenshot(title="faith top")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
