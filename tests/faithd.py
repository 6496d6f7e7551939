"""A faithd as tests run it: a program of its own, in the foreground, its words in a file."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from faith.lab import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from faith.lab import Host

FAITHD = [sys.executable, "-m", "faith.cli.faithd"]
ENVIRONMENT = {
    **{name: os.environ[name] for name in os.environ.keys() - {"INVOCATION_ID", "NOTIFY_SOCKET"}},
    "PYTHONPATH": str(Path(__file__).parents[1]),
}


WITHOUT_BPF = ("setpriv", "--bounding-set=-bpf,-sys_admin")
"""A command prefix to start a faithd *by*, so that it may not use BPF, as in a container."""


class Faithd:
    """A faithd in the foreground, started *by* another program, and what it wrote."""

    def __init__(
        self,
        gateway: Host,
        output: Path,
        *arguments: str,
        by: Sequence[str] = (),
        **environment: str,
    ) -> None:
        self.output = output
        workers = [] if "--config" in arguments else ["--workers", "2"]
        with output.open("wb") as file:
            self.process: subprocess.Popen[str] = gateway.popen(
                [*by, *FAITHD, "-F", *workers, *arguments],
                stderr=file,
                env={**ENVIRONMENT, **environment},
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return list(map(int, children.read_text().split()))

    def wait_said(self, text: str, times: int = 1, seconds: float = 5) -> None:
        wait_until(
            lambda: self.said.count(text) >= times or self.process.poll() is not None,
            seconds,
            f"faithd saying {text!r}",
        )
        assert self.said.count(text) >= times, self.said

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, seconds: float = 5) -> int:
        self.signal(signal.SIGTERM)
        return self.process.wait(seconds)
