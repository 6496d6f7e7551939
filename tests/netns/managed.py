"""A faithd as in a container: it tells when it is ready, and is started again after a kill."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

from tests.faithd import Faithd
from tests.netns.endurance import halt
from tests.netns.footprint import Footprint
from tests.netns.gateway import metrics

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import ThreeHosts
    from tests.netns.journal import Journal

START = 60
"""Seconds that a start may take, as systemd's TimeoutStartSec=."""


class Managed:
    """A daemon of Type=notify that is killed and restarted as a whole; its log goes to *journal*.

    That loses more than the shipped units, whose KillMode=process leaves sessions their workers.

    *lives* has what each process told last, at :9064.
    """

    def __init__(self, lab: ThreeHosts, directory: Path, text: str, journal: Journal) -> None:
        self.lives: list[dict[str, float]] = []
        self.file, self.control = directory / "faith.toml", directory / "control"
        self.lab = lab
        self._journal = journal
        self._output = directory / "log"
        self._output.touch()
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(directory / "notify"))
        self._notify.settimeout(START)
        self.write(text)
        self._faithd = self._started()

    @property
    def process(self) -> subprocess.Popen[str]:
        """The supervisor."""
        return self._faithd.process

    @property
    def workers(self) -> list[int]:
        """Its children."""
        return self._faithd.workers

    def write(self, text: str) -> None:
        """Have *text* in the file."""
        self.file.write_text(f'control = "{self.control}"\n{text}')

    def _started(self) -> Faithd:
        """Return once it is ready; what was said before it is old."""
        self._notify.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._notify.recv(4096)
        self._notify.settimeout(START)
        stat = self._output.stat()
        faithd = Faithd(
            self.lab.gateway,
            self._output,
            *("--config", str(self.file)),
            by=self._journal.by,
            NOTIFY_SOCKET=str(self._notify.getsockname()),
            JOURNAL_STREAM=f"{stat.st_dev}:{stat.st_ino}",
        )
        while "READY=1" not in self._notify.recv(4096).decode().splitlines():
            assert faithd.process.poll() is None, faithd.said
        return faithd

    def kill(self, about_to: Callable[[list[int]], object]) -> None:
        """Kill the supervisor as all stand still, then all that it leaves, and start it again.

        *about_to* is called with the processes when nothing changes any more.
        """
        named = Footprint(self.lab, self).processes()
        pids = [pid for name, pid in named.items() if name != "metrics"]
        open_ones = {pid: os.pidfd_open(pid) for pid in named.values()}
        for pid in pids:
            halt(pid)
        self.lives.append(metrics(self.lab))
        about_to(pids)
        self.process.kill()
        self.process.wait(START)
        for pid, descriptor in open_ones.items():
            with contextlib.suppress(ProcessLookupError):
                if pid != self.process.pid:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)
        self._faithd = self._started()

    def stop(self, seconds: float) -> int:
        """End it; *lives* has what it told last."""
        self.lives.append(metrics(self.lab))
        return self._faithd.stop(seconds)

    def close(self) -> None:
        """Close what it told by."""
        self._notify.close()
