"""The runtime files of a daemon: its pid file and its control socket."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.daemon.config.settings import Settings


class RuntimeFiles:
    """The runtime files of a daemon with *settings*."""

    def __init__(self, settings: Settings) -> None:
        self._paths = {str(file) for file in (settings.pid_file, settings.control) if file}

    def remove_others(self, left: Iterable[str]) -> None:
        """Remove the files in a *left* `state` of the predecessor process that this one has not."""
        for file in {*left} - self._paths:
            Path(file).unlink(missing_ok=True)

    def state(self) -> list[str]:
        """Return the paths, for an upgrade."""
        return sorted(self._paths)
