"""A real journald with a journal of its own."""

from __future__ import annotations

import json
import signal
import subprocess

from faith.lab import wait_until

JOURNALD = """\
mount -t tmpfs none /run && mount -t tmpfs none /var/log && mkdir -p /run/systemd
mkdir -p /run/systemd/journald.conf.d
printf '[Journal]\\nStorage=volatile\\nRateLimitIntervalSec=0\\n' \\
    > /run/systemd/journald.conf.d/test.conf
exec "$0"
"""


class Journal:
    """A journald in a mount namespace of its own."""

    def __init__(self, journald: str, journalctl: str) -> None:
        words = ["unshare", "-m", "--propagation", "private", "sh", "-c", JOURNALD, journald]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.by = ("nsenter", "-m", "-t", str(self.process.pid))
        self._journalctl = journalctl
        there = ["test", "-S", "/run/systemd/journal/socket"]
        wait_until(lambda: self.process.poll() is not None or self._done(there), 10, "a socket")
        assert self.process.poll() is None

    def _done(self, words: list[str]) -> bool:
        return subprocess.run([*self.by, *words], check=False).returncode == 0

    def entries(self, *matches: str) -> list[dict[str, str]]:
        words = [self._journalctl, "-D", "/run/log/journal", "-o", "json", "-q", *matches]
        done = subprocess.run([*self.by, *words], check=False, capture_output=True, text=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def close(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
