"""The visits of the demo's client to the four servers, by a mapped address.

Every visit raises OSError when the network fails, and VisitError when the answer is not what a
server behind a correct relay would send.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.cli.demo.servers import BLOCK, BULK, DIALOGUE, PAGE, SINK, SOURCE
from faith.errors import FaithError
from faith.lab.topology import GATEWAY_V4

if TYPE_CHECKING:
    from collections.abc import Callable

    Visitor = Callable[[str], tuple[str, ...]]

DEADLINE = 15.0
"""Seconds that the network may take for each step of a visit."""
_DIGEST = hashlib.sha256().digest_size


class VisitError(FaithError):
    """The answer differs from the expected one."""


@dataclass(frozen=True)
class Visit:
    """A visit to one server: ``go(address)`` returns lines to show."""

    name: str
    port: int
    go: Visitor


def dialogue(address: str) -> tuple[str, ...]:
    """Log in, run a command, and leave; return the dialogue."""
    said = ""
    with _connect(address, DIALOGUE) as server:
        for prompt, answer in (("login: ", "kame"), ("$ ", "dance"), ("$ ", "exit")):
            said += _until(server, prompt)
            server.sendall(f"{answer}\r\n".encode())
            said += f"{answer}\n"
        said += _until(server, "")
    if f"you are {GATEWAY_V4}." not in said or not said.endswith("bye.\r\n"):
        raise VisitError(f"the dialogue went wrong: {said!r}")
    return tuple(said.splitlines())


def page(address: str) -> tuple[str, ...]:
    """Fetch a page."""
    connection = http.client.HTTPConnection(address, PAGE, timeout=DEADLINE)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        text = answer.read().decode()
    except http.client.HTTPException as error:
        raise VisitError(f"no HTTP came back: {error!r}") from error
    finally:
        connection.close()
    if answer.status != 200 or GATEWAY_V4 not in text:
        raise VisitError(f"another page came back: {answer.status} {text!r}")
    return (f"GET / gives {answer.status} {answer.reason}: {text.strip()}",)


def send_much(address: str) -> tuple[str, ...]:
    """Send `BULK` octets; the server's hash of them must equal the client's."""
    digest = hashlib.sha256()
    block = os.urandom(BLOCK)
    started = time.monotonic()
    with _connect(address, SINK) as server:
        for _ in range(BULK // BLOCK):
            digest.update(block)
            server.sendall(block)
        server.shutdown(socket.SHUT_WR)
        answer = _read(server, _DIGEST)
    return _compared("sent", digest.digest(), answer, time.monotonic() - started)


def receive_much(address: str) -> tuple[str, ...]:
    """Receive `BULK` octets; the client's hash of them must equal the server's."""
    digest = hashlib.sha256()
    started = time.monotonic()
    with _connect(address, SOURCE) as server:
        left = BULK
        while left and (block := server.recv(min(left, BLOCK))):
            digest.update(block)
            left -= len(block)
        answer = _read(server, _DIGEST)
    return _compared("received", digest.digest(), answer, time.monotonic() - started)


VISITS = (
    Visit("dialogue", DIALOGUE, dialogue),
    Visit("web page", PAGE, page),
    Visit("upload", SINK, send_much),
    Visit("download", SOURCE, receive_much),
)


def _connect(address: str, port: int) -> socket.socket:
    return socket.create_connection((address, port), timeout=DEADLINE)


def _until(server: socket.socket, prompt: str) -> str:
    """Return what *server* sends up to *prompt*, or to its end if that is empty."""
    said = b""
    while not (prompt and said.endswith(prompt.encode())):
        more = server.recv(4096)
        if not more:
            break
        said += more
    return said.decode(errors="replace")


def _read(server: socket.socket, octets: int) -> bytes:
    with server.makefile("rb") as stream:
        return stream.read(octets)


def _compared(done: str, ours: bytes, theirs: bytes, seconds: float) -> tuple[str, ...]:
    if ours != theirs:
        raise VisitError(f"SHA-256 differs: {ours.hex()} here, {theirs.hex()} there")
    rate = BULK * 8 / seconds / 1e9
    return (
        f"{done} {BULK >> 20} MiB in {seconds:.2f} s, {rate:.1f} Gbit/s with the hashing",
        f"SHA-256 is {ours.hex()[:16]}... at both ends",
    )
