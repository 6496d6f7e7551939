"""A host of the lab where other people's programs run, away from the machine's configuration."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.conftest import do_without, has_other_users

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import Host


@dataclass(frozen=True)
class Payload:
    """A large file and the SHA-256 of its content."""

    path: Path
    digest: str


@dataclass(frozen=True)
class Site:
    """A host with a directory of its own; *need* finds a program or skips the test."""

    host: Host
    directory: Path
    need: Callable[[str], str]

    def environment(self) -> dict[str, str]:
        """Nothing of the user's own: neither settings nor proxies."""
        return {
            "PATH": f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin",
            "HOME": str(self.directory),
            "GIT_CONFIG_NOSYSTEM": "1",
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
        }

    def start(self, program: str, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start *program*; it writes to ``PROGRAM.log``, unless *options* say otherwise."""
        with (self.directory / f"{os.path.basename(program)}.log").open("a") as log:
            streams = {"stdout": log, "stderr": subprocess.STDOUT}
            return self.host.popen(
                [self.need(program), *arguments],
                cwd=self.directory,
                env=self.environment(),
                **{**streams, **options},
            )

    def need_other_users(self) -> None:
        """Skip the test where there is no user but one: servers of many users do not start."""
        if not has_other_users():
            do_without("setgroups() is refused in a user namespace of one's own; run it as root")

    def serve(self, port: int, program: str, *arguments: str | Path) -> None:
        """Start *program*, and return when it listens on *port*."""
        server = self.start(program, *arguments)
        self.host.wait_listening(port, program=server)

    def run(self, program: str, *arguments: str | Path, timeout: float = 50) -> str:
        """What *program* writes to its standard output; CalledProcessError if it fails."""
        return self.host.run(
            [self.need(program), *arguments],
            cwd=self.directory,
            env=self.environment(),
            timeout=timeout,
        ).stdout


@dataclass(frozen=True)
class Meeting:
    """A client, a server, and the *address* at which the client finds the server."""

    client: Site
    server: Site
    address: str
    payload: Payload

    @property
    def url_host(self) -> str:
        """The address as it stands in a URL."""
        return f"[{self.address}]" if ":" in self.address else self.address


def write_payload(path: Path, mebibytes: int) -> Payload:
    """Write a file in which no two blocks are alike, so that none can be lost or change places."""
    block = os.urandom(2**20 - 8)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(mebibytes):
            for part in (number.to_bytes(8, "big"), block):
                file.write(part)
                digest.update(part)
    return Payload(path, digest.hexdigest())


def digest(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
