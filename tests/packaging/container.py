"""Containers of the image in a namespace of the lab, by podman."""

from __future__ import annotations

import os
import subprocess
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from faith.lab import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faith.lab import Host

    Words = Sequence[str | os.PathLike[str]]

IMAGE = os.environ.get("FAITH_IMAGE", "")
"""The name of the image; ``scripts/image`` builds it."""

_RUNTIME = Path(__file__).with_name("crun-here")
_ONE_HIERARCHY = (
    *("unshare", "--mount", "sh", "-euc"),
    "umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec " + '"$@"',
    "sh",
)


class Podman:
    """Podman in the network of *host*, with its files in *directory*."""

    def __init__(self, host: Host, directory: Path) -> None:
        self._host = host
        self._by: Words = ()
        self._environment = dict(os.environ)
        if Path("/sys/fs/cgroup/unified").is_dir():
            self._by = _ONE_HIERARCHY
            settings = directory / "containers.conf"
            settings.write_text(
                '[engine]\ncgroup_manager = "cgroupfs"\nruntime = "crun"\n'
                f'[engine.runtimes]\ncrun = ["{_RUNTIME}"]\n'
            )
            self._environment["CONTAINERS_CONF"] = str(settings)

    def run(self, *words: str | os.PathLike[str], check: bool = True) -> str:
        """Run a command to its end; return what it wrote."""
        argv = [*self._by, "podman", *words]
        result = self._host.run(argv, check=check, env=self._environment, timeout=120)
        return result.stdout + result.stderr

    def status(self, *words: str | os.PathLike[str]) -> int:
        """Run a command to its end; return its exit status."""
        argv = [*self._by, "podman", *words]
        return self._host.run(argv, check=False, env=self._environment).returncode

    def start(self, output: Path, *words: str | os.PathLike[str]) -> subprocess.Popen[str]:
        """Start a command that writes to *output*."""
        with output.open("wb") as file:
            return self._host.popen(
                [*self._by, "podman", *words],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )


class Container:
    """A container of `IMAGE`, with *options* for podman, and *words* for the program in it.

    It has a read-only root, and no capabilities but *capabilities*.
    """

    def __init__(
        self,
        podman: Podman,
        output: Path,
        *words: str,
        capabilities: Sequence[str] = (),
        options: Words = (),
    ) -> None:
        self.name = f"faith-{uuid.uuid4().hex[:12]}"
        self._podman = podman
        self._output = output
        added = (f"--cap-add={name}" for name in capabilities)
        self._process = podman.start(
            output,
            *("run", "--rm", "--name", self.name, "--network=host"),
            *("--read-only", "--read-only-tmpfs=false", "--security-opt=no-new-privileges"),
            *("--cap-drop=all", *added, *options, IMAGE, *words),
        )

    @property
    def said(self) -> str:
        """What it has written."""
        return self._output.read_text()

    def wait_said(self, text: str, seconds: float = 30) -> None:
        """Wait until *text* is in the output."""
        wait_until(
            lambda: text in self.said or self._process.poll() is not None,
            seconds,
            f"the container saying {text!r}",
        )
        assert text in self.said, self.said

    def run(self, *words: str, check: bool = True) -> str:
        """Run a command in it; return its output."""
        return self._podman.run("exec", self.name, *words, check=check)

    def succeeds(self, *words: str) -> bool:
        """Run a command in it; return whether its exit status is 0."""
        return not self._podman.status("exec", self.name, *words)

    def has(self, program: str) -> bool:
        """Return whether a program can be run in it."""
        return self._podman.status("exec", self.name, program) != 127

    def stop(self) -> int:
        """Send it SIGTERM, and return the status it ends with."""
        self._podman.run("kill", "--signal=TERM", self.name)
        return self._process.wait(30)

    def close(self) -> None:
        """Remove it."""
        with suppress(subprocess.CalledProcessError):
            self._podman.run("rm", "--force", "--time=0", self.name)
