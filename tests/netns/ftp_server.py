"""An FTP server for IPv4 with a memory for files, and none for good manners."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import Host

PORT = 21
PATIENCE = 30
"""Seconds that a data connection may take."""


class FtpServer:
    """Serves on *host*, a thread for each connection, until it is closed.

    *files* by their names; *heard* are the lines that came, *data_peers* whom data connections were
    with, *control_peers* and *control_ports* whom the others; *passive_ports* are those that were
    said to clients.  *reply_227* is what is said to PASV, *replies* to commands of which nothing
    comes.
    """

    def __init__(self, host: Host, port: int = PORT) -> None:
        self.host = host
        self.files: dict[str, bytes] = {}
        self.heard: list[bytes] = []
        self.data_peers: list[str] = []
        self.control_peers: list[str] = []
        self.control_ports: list[int] = []
        self.passive_ports: list[int] = []
        self.replies = {
            "USER": "331 Who?",
            "PASS": "230 In",
            "TYPE": "200 As you like",
            "AUTH": "234 Go ahead",
        }
        self.reply_227 = "227 Come in ({})"
        self.listener = host.call(socket.create_server, ("", port))
        self.listener.listen(4096)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                control, peer = self.listener.accept()
                self.control_peers.append(peer[0])
                self.control_ports.append(peer[1])
                threading.Thread(target=_Visit(self, control).run, daemon=True).start()


class _Visit:
    """One control connection."""

    def __init__(self, server: FtpServer, control: socket.socket) -> None:
        self.server = server
        self.control = control
        self.passive: socket.socket | None = None
        self.active: tuple[str, int] | None = None
        self.data: socket.socket | None = None
        self.commands: dict[str, Callable[[str], None]] = {
            "PASV": self.pasv,
            "PORT": self.port,
            "RETR": self.retr,
            "STOR": self.stor,
            "LIST": self.list,
            "ABOR": self.abor,
            "EPSV": self.epsv,
        }

    def run(self) -> None:
        with self.server.host.inside(), self.control, contextlib.suppress(OSError):
            self.say("220-A server", "220 of few words")
            with self.control.makefile("rb") as lines:
                for line in lines:
                    self.server.heard.append(line)
                    words = line.lstrip(b"\xff\xf4\xf2").decode().split()
                    verb, argument = words[0].upper(), " ".join(words[1:])
                    if verb == "QUIT":
                        break
                    if verb in self.commands:
                        self.commands[verb](argument)
                    else:
                        self.say(self.server.replies.get(verb, "200 Done"))
            self.say("221 Bye")
        self.hang_up()
        if self.passive:
            self.passive.close()

    def say(self, *lines: str) -> None:
        self.control.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def listen(self) -> tuple[str, int]:
        if self.passive:
            self.passive.close()
        self.passive = socket.create_server((self.control.getsockname()[0], 0))
        self.passive.settimeout(PATIENCE)
        host, port = self.passive.getsockname()
        self.server.passive_ports.append(port)
        return host, port

    def epsv(self, _: str) -> None:
        self.say(f"229 Come in (|||{self.listen()[1]}|)")

    def pasv(self, _: str) -> None:
        host, port = self.listen()
        numbers = f"{host.replace('.', ',')},{port >> 8},{port & 255}"
        self.say(self.server.reply_227.format(numbers))

    def port(self, argument: str) -> None:
        numbers = argument.split(",")
        self.active = ".".join(numbers[:4]), int(numbers[4]) * 256 + int(numbers[5])
        self.say("200 I will")

    def retr(self, name: str) -> None:
        self.open()
        if name == "endless":
            threading.Thread(target=self.pour, daemon=True).start()
            return
        assert self.data
        self.data.sendall(self.server.files[name])
        self.hang_up()
        self.say("226 Sent")

    def stor(self, name: str) -> None:
        self.open()
        assert self.data
        pieces = []
        while piece := self.data.recv(65536):
            pieces.append(piece)
        self.server.files[name] = b"".join(pieces)
        self.hang_up()
        self.say("226 Kept")

    def list(self, _: str) -> None:
        self.open()
        assert self.data
        self.data.sendall("".join(f"{name}\r\n" for name in sorted(self.server.files)).encode())
        self.hang_up()
        self.say("226 That is all")

    def pour(self) -> None:
        data = self.data
        assert data
        with contextlib.suppress(OSError):
            while True:
                data.sendall(bytes(65536))

    def abor(self, _: str) -> None:
        self.hang_up()
        self.say("426 Broken off", "226 As you wished")

    def open(self) -> None:
        self.say("150 Here it comes")
        if self.passive:
            self.data, peer = self.passive.accept()
            self.passive.close()
            self.passive = None
        else:
            assert self.active
            self.data = socket.create_connection(self.active, PATIENCE)
            peer = self.active
        self.server.data_peers.append(peer[0])

    def hang_up(self) -> None:
        if self.data:
            with contextlib.suppress(OSError):
                self.data.shutdown(socket.SHUT_RDWR)
            self.data.close()
            self.data = None
