"""A faithd by a file, and what it tells of itself."""

from __future__ import annotations

import re
import signal
import socket
import sys
from typing import TYPE_CHECKING

from tests.faithd import ENVIRONMENT, Faithd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from faith.lab import ThreeHosts


class Gateway(Faithd):
    """A faithd by a file, which can be written anew."""

    def __init__(
        self,
        lab: ThreeHosts,
        directory: Path,
        text: str,
        by: Sequence[str] = (),
        **environment: str,
    ) -> None:
        self.lab = lab
        self.file = directory / "faith.toml"
        self.control = directory / "control"
        self.write(text)
        words = "--config", str(self.file)
        super().__init__(lab.gateway, directory / "log", *words, by=by, **environment)
        self.wait_said("serving", seconds=20)

    def write(self, text: str) -> None:
        """Have *text* in the file, with a control socket if it names none."""
        self.file.write_text(text if "control =" in text else f'control = "{self.control}"\n{text}')

    def reload(self, text: str) -> None:
        """Have it go by *text*, by ``faith reload``.  Raises CalledProcessError."""
        self.write(text)
        command = [sys.executable, "-m", "faith.cli.faith", "reload"]
        assert "in force" in self.lab.gateway.run(command, env=ENVIRONMENT).stdout

    def counted(self, name: str) -> dict[str, float]:
        """The numbers of a metric by what its only label says, "" without one."""
        of_name = re.compile(rf'{name}(?:{{\w+="([^"]*)"}})?')
        parts = ((of_name.fullmatch(key), number) for key, number in metrics(self.lab).items())
        return {part[1] or "": number for part, number in parts if part}


def metrics(lab: ThreeHosts) -> dict[str, float]:
    """The numbers at :9064, by names with their labels: ``faith_sessions_total{end="closed"}``."""

    with lab.gateway.inside():  # and not by its thread, which others wait for meanwhile
        sock = socket.create_connection(("::1", 9064), timeout=10)
    with sock, sock.makefile("rb") as answer:
        sock.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        _, _, text = answer.read().decode().partition("\r\n\r\n")
    pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(number) for name, _, number in pairs}


def reread(faithd: Gateway, text: str, says: str = "read again") -> None:
    """Have *faithd* read *text*, and wait for what it says then."""
    times = faithd.said.count(says)
    faithd.write(text)
    faithd.signal(signal.SIGHUP)
    faithd.wait_said(says, times + 1)
