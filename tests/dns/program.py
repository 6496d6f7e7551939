"""``faith dns`` as tests run it: a program of its own, its words in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from faith.lab import wait_until
from tests.faithd import ENVIRONMENT

if TYPE_CHECKING:
    from faith.lab import Host

FAITH_DNS = [sys.executable, "-m", "faith.cli.faith", "dns"]


class FaithDns:
    """``faith dns`` in the foreground on a host, and what it wrote."""

    def __init__(self, host: Host, output: Path, *arguments: str, **environment: str) -> None:
        self.output = output
        with output.open("wb") as file:
            self.process = host.popen(
                [*FAITH_DNS, *arguments],
                stderr=file,
                env={**ENVIRONMENT, **environment},
            )
        self.wait_said("serving")

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return list(map(int, children.read_text().split()))

    def wait_said(self, text: str, times: int = 1) -> None:
        wait_until(
            lambda: self.said.count(text) >= times or self.process.poll() is not None,
            10,
            f"faith dns saying {text!r}",
        )
        assert self.said.count(text) >= times, self.said
