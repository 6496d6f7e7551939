"""Two gateways side by side, and switches that join them to others."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faith.lab.topology import PREFIX, SERVER
from tests.faithd import ENVIRONMENT, Faithd
from tests.netns.service import connect_from

if TYPE_CHECKING:
    import os
    import subprocess
    from pathlib import Path

    from faith.lab import Host, Network

FAITH = [sys.executable, "-m", "faith.cli.faith"]
MAPPED = "192.0.2.102"
"""Stands for the client."""
VRRP = "192.0.2.1"
PORT = 8000
MAPPED_SERVER = f"{PREFIX.removesuffix('/96')}{SERVER}"


@dataclass
class Outcome:
    """What became of connections that were made one after the other."""

    good: int = 0
    bad: list[float] = field(default_factory=list)
    """The times of those that failed, on the monotonic clock."""
    errors: Counter[str] = field(default_factory=Counter)
    """Their errors, by type."""

    @property
    def gap(self) -> float:
        """The seconds between the first and the last failure."""
        return self.bad[-1] - self.bad[0] if self.bad else 0.0


class Member:
    """A gateway of the pair: *number* 1 or 2, with a daemon by a file in *directory*."""

    def __init__(self, host: Host, number: int, directory: Path) -> None:
        self.host = host
        self.number = number
        self.directory = directory / f"gateway{number}"
        self.directory.mkdir()
        self.control = self.directory / "control"
        self.faithd: Faithd | None = None

    def start(self, more: str = "") -> Faithd:
        """Start the daemon, and wait until it serves."""
        self.faithd = self._launch(more)
        self.faithd.wait_said("serving", seconds=20)
        return self.faithd

    def refusal(self, more: str = "") -> str:
        """Start a daemon that does not come up; return what it says."""
        faithd = self._launch(more)
        assert faithd.process.wait(20) == 1, faithd.said
        return faithd.said

    def _launch(self, more: str) -> Faithd:
        file = self.directory / "faith.toml"
        file.write_text(
            f'control = "{self.control}"\nworkers = 2\n[[prefix]]\naddress = "{PREFIX}"\n'
            f'[[service]]\nports = "{PORT}"\n{more}'
        )
        log = self.directory / f"log{time.monotonic_ns()}"
        return Faithd(self.host, log, "--config", str(file))

    def faith(self, *words: str) -> str:
        """Run a command of faith(8) here; return its output."""
        return self.host.run([*FAITH, *words], env=ENVIRONMENT, check=False).stdout

    def watch(self, up: str, down: str, lame_duck: str) -> subprocess.Popen[str]:
        """Run ``faith ready --watch`` here."""
        words = ["ready", "--watch", "--up", up, "--down", down, "--lame-duck", lame_duck]
        return self.host.popen([*FAITH, *words], env=ENVIRONMENT, stdout=-3, stderr=-3)

    def run(self, *argv: str | os.PathLike[str], log: str) -> subprocess.Popen[str]:
        """Run a daemon of others here, in the foreground."""
        with (self.directory / log).open("wb") as output:
            return self.host.popen([*argv], stdout=output, stderr=output)

    def cut_off(self) -> None:
        """Be a machine that died: nothing of it is on the networks."""
        assert self.faithd
        self.faithd.signal(signal.SIGKILL)
        for name in ("to-clients", "to-servers"):
            self.host.run(["ip", "link", "set", name, "down"])

    def has(self, address: str) -> bool:
        return any(one.startswith(f"{address}/") for one in self.host.links.addresses())


def switch(network: Network, name: str, *ports: tuple[Host, list[str]]) -> None:
    """Join *ports*, each with its addresses, by a switch of that *name*."""
    bridge = network.host(name)
    bridge.run(["ip", "link", "add", "name", "switch0", "type", "bridge"])
    bridge.run(["ip", "link", "set", "switch0", "up"])
    for host, addresses in ports:
        network.link(bridge, host, (), addresses)
        bridge.run(["ip", "link", "set", f"to-{host.name}"[:15], "master", "switch0"])


def connect_for(
    client: Host, seconds: float, until: float = 0.0, address: str = MAPPED_SERVER
) -> Outcome:
    """Connect again and again for so many *seconds*, or until nothing has failed for *until*."""
    outcome = Outcome()
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        try:
            with connect_from(client, address, PORT) as connection:
                connection.settimeout(1)
                connection.sendall(b"x")
                if connection.recv(1) != b"x":
                    raise ConnectionResetError
            outcome.good += 1
        except OSError as error:
            outcome.bad.append(now)
            outcome.errors[type(error).__name__] += 1
        if until and outcome.bad and now - outcome.bad[-1] > until:
            break
    return outcome
