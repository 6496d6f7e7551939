"""Daemons of any clone that serve a bed by a file, and clients that come meanwhile."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import ends
from bench.bed import ECHO
from bench.errors import MeasureError
from bench.usage import family, memory, spending
from faith.lab import wait_until
from faith.lab.topology import SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.bed import Bed

    Figures = dict[str, float]

PATIENCE = 180.0
REST = 5.0
"""Seconds in which a daemon at rest is watched."""


@dataclass
class Daemon:
    """A faithd of *tree* that serves by a file, in the bed's gateway."""

    bed: Bed
    tree: Path
    file: Path
    head: str
    """The first lines of the file, before any table."""
    program: subprocess.Popen[str]
    started: float
    """Seconds from its start to its first session."""

    def command(self, *words: str) -> float:
        """Run a ``faith`` command on the gateway; return the seconds that it took."""
        begun = time.monotonic()
        argv = [str(self.tree / ".venv/bin/faith"), *words]
        done = self.bed.lab.gateway.run(argv, timeout=PATIENCE, check=False)
        if done.returncode and words[0] != "status":  # which may find something amiss
            raise MeasureError(f"faith {' '.join(words)}: {done.stderr.strip()}")
        return time.monotonic() - begun

    def reload(self, text: str) -> float:
        """Have it go by another file; return the seconds until every process does."""
        self.file.write_text(self.head + text)
        return self.command("reload")

    def memory(self) -> float:
        """MiB of all its processes."""
        return memory(family([self.program.pid])) / 2**20

    def at_rest(self, seconds: float = 0) -> float:
        """Return the CPU that it takes while nothing happens, in milliseconds a second.

        It is watched for REST *seconds* unless that is another number.
        """
        with spending([self.program.pid]) as spent:
            time.sleep(seconds or REST)
        return spent.contender / (seconds or REST) * 1000

    def sessions(self) -> int:
        """Return how many sessions and flows it has."""
        words = [str(self.tree / ".venv/bin/faith"), "status", "--json"]
        (found,) = json.loads(self.bed.lab.gateway.run(words, check=False).stdout)["daemons"]
        return int(found["sessions"])


@contextmanager
def daemon(bed: Bed, tree: Path, text: str, workers: int = 2) -> Iterator[Daemon]:
    """Within the block, a daemon of *tree* serves the bed by the file *text*."""
    file = bed.directory / "faith.toml"
    head = f'workers = {workers}\ncontrol = "{bed.directory}/control"\n'
    file.write_text(head + text)
    begun = time.monotonic()
    argv = [str(tree / ".venv/bin/faithd"), "-F", "--config", str(file)]
    program = bed.start(bed.lab.gateway, argv, cwd=tree)
    try:
        wait_until(lambda: bed.reaches_echo(bed.lab.mapped()), PATIENCE, f"{tree.name} serving")
        yield Daemon(bed, tree, file, head, program, time.monotonic() - begun)
    finally:
        program.send_signal(signal.SIGTERM)
        program.wait(PATIENCE)


@contextmanager
def pace(bed: Bed, rate: float, port: int = ECHO) -> Iterator[Figures]:
    """Make short connections within the block; the figures are there afterwards."""
    program = bed.lab.client.popen(
        ends.command("pace", bed.lab.mapped(), port, rate),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    figures: Figures = {}
    try:
        yield figures
        output, _ = program.communicate(timeout=PATIENCE)
        figures.update(json.loads(output))
    finally:
        program.kill()
        program.wait()


def base(bed: Bed, *ports: int) -> str:
    """Return the file of a daemon that serves *ports* under the lab's own prefix."""
    words = ",".join(map(str, ports or (ECHO,)))
    return (
        f'[[prefix]]\naddress = "{bed.lab.prefix}"\nlayout = "low32"\n'
        f'[[service]]\nports = "{words}"\n[timeouts]\ndrain = 1\n'
    )


def echo(bed: Bed, port: int) -> None:
    """Have the server echo at another *port*."""
    program = bed.start(bed.lab.server, ends.command("echo", SERVER, port))
    bed.lab.server.wait_listening(port, seconds=REST, program=program)
