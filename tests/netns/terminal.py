"""A real terminal, tmux's, in which a program runs on a host; its screen is text."""

from __future__ import annotations

import contextlib
import re
import subprocess
from typing import TYPE_CHECKING

from faith.lab import wait_until
from tests.faithd import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from faith.lab import Host


SIZE = {"COLUMNS", "LINES"}
"""Variables that would say more than the terminal itself."""
_COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")


class Terminal:
    """A terminal of *width* columns and *height* lines on *host*, where *command* runs."""

    def __init__(
        self,
        host: Host,
        directory: Path,
        command: Sequence[str],
        width: int = 110,
        height: int = 30,
        **environment: str,
    ) -> None:
        self._tmux = ["tmux", "-S", str(directory / "tmux"), "-f", "/dev/null"]
        self._host = host
        inherited = {name: ENVIRONMENT[name] for name in ENVIRONMENT.keys() - SIZE}
        self._environment = {**inherited, "LC_ALL": "C.UTF-8", **environment}
        size = "-x", str(width), "-y", str(height)
        # The shell stays, so that what the command says at its end can be read.
        shell = " ".join([*command, ";", "echo", "status $?;", "read", "-r", "_"])
        self._run("new-session", "-d", *size, shell)

    def _run(self, *words: str) -> str:
        found: str = self._host.run([*self._tmux, *words], env=self._environment).stdout
        return found

    @property
    def screen(self) -> str:
        """The lines that are shown."""
        return self._run("capture-pane", "-p")

    @property
    def has_colours(self) -> bool:
        """Whether the lines that are shown have any colour."""
        return _COLOUR.search(self._run("capture-pane", "-p", "-e")) is not None

    def press(self, *keys: str) -> None:
        """Press *keys*, as tmux names them: ``q``, ``Enter``, ``Down``."""
        self._run("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type *text* as it is."""
        self._run("send-keys", "-l", text)

    def resize(self, width: int, height: int) -> None:
        """Make the terminal another size."""
        self._run("resize-window", "-x", str(width), "-y", str(height))

    def wait_shown(self, *texts: str, seconds: float = 15) -> str:
        """Wait until all *texts* are shown, and return the screen."""
        shown = ""

        def is_shown() -> bool:
            nonlocal shown
            shown = self.screen
            return all(text in shown for text in texts)

        try:
            wait_until(is_shown, seconds, f"{texts} being shown")
        except TimeoutError as error:
            raise AssertionError(f"{error}:\n{shown}") from None
        return shown

    def close(self) -> None:
        """End the terminal and what runs in it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("kill-server")
