"""HAProxy and nginx in the place of faithd: what they deliver before a reset, it delivers too.

Of answers to an upload that the server does not read, HAProxy 2.6 delivered 22 of 40 and nginx 1.22
29 of 40 (Debian 12), faithd all.
"""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from faith.lab.topology import GATEWAY_V6, SERVER
from tests.netns.ends import (
    PATHS,
    PORT,
    Passage,
    read_to_reset,
    send_and_reset,
    through,
    upload_to_deaf_server,
)
from tests.netns.way import Way
from tests.peers.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.peers]

SESSIONS = 20


def _beside(lab: ThreeHosts, site: Site, program: str, *arguments: str | Path) -> Passage:
    """*program* on the gateway, which relays the port to the server's."""
    passage = Passage(Way(lab.client, GATEWAY_V6, lab.server, SERVER, PORT))
    site.serve(PORT, program, *arguments)
    return passage


def _haproxy(lab: ThreeHosts, site: Site) -> Passage:
    configuration = site.directory / "haproxy.cfg"
    configuration.write_text(
        "defaults\n    mode tcp\n    timeout client 60s\n    timeout server 60s\n"
        f"    timeout connect 5s\nlisten all\n    bind [{GATEWAY_V6}]:{PORT}\n"
        f"    server one {SERVER}:{PORT}\n"
    )
    return _beside(lab, site, "haproxy", "-db", "-f", configuration)


def _nginx(lab: ThreeHosts, site: Site) -> Passage:
    built = subprocess.run([site.need("nginx"), "-V"], capture_output=True, text=True, check=True)
    directory = re.search(r"--modules-path=(\S+)", built.stderr)
    assert directory
    configuration = site.directory / "nginx.conf"
    configuration.write_text(
        f"load_module {directory[1]}/ngx_stream_module.so;\n"
        "daemon off; user root; worker_processes 1; pid nginx.pid; error_log stderr;\n"
        f"events {{}}\nstream {{ server {{ listen [{GATEWAY_V6}]:{PORT};\n"
        f"proxy_pass {SERVER}:{PORT}; }} }}\n"
    )
    return _beside(lab, site, "nginx", "-p", site.directory, "-e", "stderr", "-c", configuration)


def _whole(passage: Passage) -> dict[str, int]:
    """Count the clients that get all of what a server said before its reset."""
    counts = {}
    with through(passage), ThreadPoolExecutor(1) as reader:
        for size in (1_000, 60_000, 1_000_000):
            data = os.urandom(size)
            counts[f"{size} octets"] = 0
            for _ in range(SESSIONS):
                client, server = passage.open()
                client.sendall(b"never read")
                reading = reader.submit(read_to_reset, client)
                send_and_reset(server, data, unread=True)
                counts[f"{size} octets"] += reading.result()[0] == data
        ends = [passage.open() for _ in range(SESSIONS)]
        counts["an upload that is not read"] = sum(
            len(upload_to_deaf_server(client, server)) == 140 for client, server in ends
        )
    return counts


@pytest.mark.parametrize("peer", [_haproxy, _nginx])
def test_no_peer_delivers_more(
    lab: ThreeHosts,
    tmp_path: Path,
    need: Callable[[str], str],
    peer: Callable[[ThreeHosts, Site], Passage],
) -> None:
    theirs = _whole(peer(lab, Site(lab.gateway, tmp_path, need)))
    ours = _whole(PATHS["prefix"](lab, tmp_path))
    assert set(ours.values()) == {SESSIONS}
    assert theirs["1000 octets"] == SESSIONS, "it relays, and this test knows how to ask"
