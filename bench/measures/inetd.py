"""Inetd mode: a process for a connection, from its start to its first relayed byte."""

from __future__ import annotations

import compileall
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.bed import ECHO, near
from bench.contenders.relay import CLONE, Relay, faithd
from bench.contenders.socat import Socat
from bench.errors import MeasureError
from bench.measures.base import Row
from bench.placement import anywhere
from bench.programs import SOCAT, path
from faith.kernel.netlink.routes import release, reserve
from faith.kernel.sockets.tcp_sockets import listener
from faith.lab.topology import SERVER
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.bed import Bed, Build
    from bench.contenders.base import Contender
    from bench.measures.base import Figures
    from bench.programs import Program
    from bench.scale import Scale

FIRST_BYTE = Row("inetd mode, spawn to first relayed byte", "ms")
PYTHON = Row("python3 -I -c pass, spawn to exit", "ms")


class Inetd:
    """Medians over many starts, in turn with those of a Python that does nothing."""

    name = "inetd"
    needs: tuple[Program, ...] = ()
    build: Build = staticmethod(near)
    placement = staticmethod(anywhere)

    def rows(self, scale: Scale) -> list[Row]:
        """The start of the contender, and of Python."""
        return [FIRST_BYTE, PYTHON]

    def suits(self, contender: Contender) -> bool:
        """Those that can serve one connection for inetd."""
        return isinstance(contender, Relay | Socat)

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """Be inetd for as many connections as are asked for."""
        relays = isinstance(contender, Relay)
        # As an installation is, whatever PYTHONDONTWRITEBYTECODE says of this clone.
        compileall.compile_dir(CLONE / "faith", quiet=1)
        argv = (
            [*faithd(), "--inetd", "-f", "/dev/null"]
            if relays
            else [path(SOCAT), "STDIO", f"TCP4:{SERVER}:{ECHO},nodelay"]
        )
        served, python = [], []
        with _listening(bed) as listening, bed.lab.gateway.inside():
            for _ in range(scale.spawns):
                python.append(_time_of_python())
                served.append(_time_of_first_byte(bed, listening, argv))
        figures = {FIRST_BYTE: statistics.median(served) * 1000}
        if relays:
            figures[PYTHON] = statistics.median(python) * 1000
        return figures


@contextmanager
def _listening(bed: Bed) -> Iterator[socket.socket]:
    """A listener that the client reaches under the prefix."""
    gateway, prefix = bed.lab.gateway, Prefix.parse(bed.lab.prefix)
    gateway.call(reserve, prefix)
    try:
        inner = gateway.call(lambda: listener("::", ECHO, transparent=True))
        with socket.socket(fileno=inner.detach()) as listening:
            listening.settimeout(5)
            yield listening
    finally:
        gateway.call(release, prefix)


def _time_of_python() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
    return time.perf_counter() - started


def _time_of_first_byte(bed: Bed, listening: socket.socket, argv: list[str]) -> float:
    """Seconds until the byte that a client had sent is back from the origin."""
    with bed.connect(bed.lab.mapped(), ECHO) as client:
        client.send(b".")
        accepted, _ = listening.accept()
        started = time.perf_counter()
        with accepted:
            ours, null = accepted.fileno(), subprocess.DEVNULL
            program = subprocess.Popen(argv, stdin=ours, stdout=ours, stderr=null, cwd=CLONE)
        answer = client.recv(1)
        seconds = time.perf_counter() - started
    program.wait(10)
    if not answer:
        raise MeasureError(f"{argv[0]} relayed nothing")
    return seconds
