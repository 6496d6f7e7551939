"""Ways through a gateway on which a test ends sessions: who connects, and who accepts."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import faith
from faith.kernel.netlink import routes
from faith.kernel.sockets.tcp_sockets import unacknowledged
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V6
from faith.translation.prefix import Prefix
from tests.netns.gateway import Gateway
from tests.netns.way import Way, inward, outward

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

    Ends = tuple[socket.socket, socket.socket]

PORT = 2323
MAPPED = "192.0.2.102"
SECONDS = 20
_ABORT = struct.pack("ii", 1, 0)


class Passage:
    """A *way* with something in it that relays, and the server's listener behind it."""

    def __init__(self, way: Way, listener: socket.socket | None = None) -> None:
        self.way = way
        self.listener = listener or way.listener()
        self.listener.settimeout(SECONDS)
        self._opened: list[socket.socket] = []

    def open(self) -> Ends:
        """Return both ends of a connection on which an octet has gone each way."""
        client = self.way.connection()
        server, _ = self.listener.accept()
        for sock in (client, server):
            self._opened.append(sock)
            sock.settimeout(SECONDS)
        client.sendall(b"?")
        said = b""
        while not said.endswith(b"?"):  # behind a PROXY header, if there is one
            said += server.recv(200)
        server.sendall(b"!")
        assert client.recv(1) == b"!"
        return client, server

    def settle(self) -> None:
        """Do what is to be done between the opening and the end of sessions: nothing."""

    def close(self) -> None:
        for sock in (self.listener, *self._opened):
            sock.close()


class Daemon(Passage):
    """Through a faithd; *upgrade* has it replaced once sessions are open."""

    def __init__(self, way: Way, gateway: Gateway, *, upgrade: bool = False) -> None:
        super().__init__(way)
        self.gateway = gateway
        self._upgrade = upgrade

    def settle(self) -> None:
        if self._upgrade:
            self.gateway.signal(signal.SIGUSR2)
            self.gateway.wait_said("everything is handed over", seconds=SECONDS)

    def close(self) -> None:
        super().close()
        self.gateway.stop()


class Inetd(Passage):
    """Through ``faithd --inetd``, a process for each connection."""

    def __init__(self, lab: ThreeHosts) -> None:
        super().__init__(outward(lab, PORT))
        self._lab = lab
        self._processes: list[subprocess.Popen[str]] = []
        with lab.gateway.inside():
            routes.reserve(Prefix.parse(lab.prefix))
            self._front = socket.create_server(("::", PORT), family=socket.AF_INET6)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._front.accept()
                with connection:
                    self._processes.append(
                        self._lab.gateway.popen(
                            [sys.executable, "-m", "faith.relay.inetd.inetd"],
                            **dict.fromkeys(("stdin", "stdout"), connection.fileno()),
                            stderr=subprocess.DEVNULL,
                            cwd=os.path.dirname(os.path.dirname(faith.__file__)),
                        )
                    )

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            self._front.shutdown(socket.SHUT_RDWR)
        self._front.close()
        for process in self._processes:
            process.wait(SECONDS)


def relay(lab: ThreeHosts, directory: Path, service: str = "") -> Gateway:
    """A faithd for the prefix, and a map to the client's host."""
    return Gateway(
        lab,
        directory,
        f'workers = 2\n[[prefix]]\naddress = "{lab.prefix}"\n'
        f'[[service]]\nports = "{PORT}"\n{service}\n'
        f'[[map]]\nv4 = "{MAPPED}"\nv6 = "{CLIENT}"\n',
    )


def direct(lab: ThreeHosts, _: Path) -> Passage:
    """To the gateway itself, without a relay."""
    at = GATEWAY_V6, PORT
    with lab.gateway.inside():
        listener = socket.create_server(at, family=socket.AF_INET6)
    return Passage(Way(lab.client, GATEWAY_V6, lab.gateway, GATEWAY_V6, PORT), listener)


def _prefix(lab: ThreeHosts, directory: Path) -> Passage:
    return Daemon(outward(lab, PORT), relay(lab, directory))


def _proxy(lab: ThreeHosts, directory: Path) -> Passage:
    return Daemon(outward(lab, PORT), relay(lab, directory, 'proxy = "v1"'))


def _upgraded(lab: ThreeHosts, directory: Path) -> Passage:
    return Daemon(outward(lab, PORT), relay(lab, directory), upgrade=True)


def _map(lab: ThreeHosts, directory: Path) -> Passage:
    return Daemon(inward(lab, MAPPED, CLIENT, PORT), relay(lab, directory))


def _inetd(lab: ThreeHosts, _: Path) -> Passage:
    return Inetd(lab)


PATHS: dict[str, Callable[[ThreeHosts, Path], Passage]] = {
    "prefix": _prefix,
    "PROXY": _proxy,
    "map": _map,
    "inetd": _inetd,
    "upgraded": _upgraded,
}


# -- what an end does -------------------------------------------------------------------------


def send_and_reset(sock: socket.socket, data: bytes, *, unread: bool) -> None:
    """Send *data*, and once it is acknowledged close *sock* so that the kernel sends RST.

    That is because of *unread* octets in its receive buffer, or by SO_LINGER.
    """
    sock.sendall(data)
    wait_until(lambda: not unacknowledged(sock.fileno()), SECONDS, "acknowledgement of all")
    if unread:
        wait_until(lambda: bool(select.select([sock], [], [], 0)[0]), SECONDS, "unread octets")
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    sock.close()


def read_to_reset(sock: socket.socket) -> tuple[bytes, str]:
    """Return what still comes, and how it ends: "end" or "reset"."""
    got = bytearray()
    try:
        while data := sock.recv(1 << 18):
            got += data
    except ConnectionResetError:
        return bytes(got), "reset"
    poll = select.poll()
    poll.register(sock, 0)
    poll.poll(100)
    behind = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return bytes(got), "reset" if behind in (errno.EPIPE, errno.ECONNRESET) else "end"


def upload_to_deaf_server(client: socket.socket, server: socket.socket) -> bytes:
    """Have *client* send 180 kB to a server that reads 1,000 octets, answers 140 and closes.

    Returns what the client gets of the answer.
    """
    answer = b"HTTP/1.1 413 Content Too Large\r\n".ljust(140, b".")

    def refuse() -> None:
        server.recv(1000)
        server.sendall(answer)
        server.close()

    refusing = threading.Thread(target=refuse)
    refusing.start()
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        client.sendall(bytes(180_000))
    refusing.join()
    return read_to_reset(client)[0]


@contextlib.contextmanager
def through(passage: Passage) -> Iterator[Passage]:
    """Close *passage* after use."""
    try:
        yield passage
    finally:
        passage.close()
