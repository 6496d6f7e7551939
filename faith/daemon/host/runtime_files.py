"""Files by which a daemon is found: they are there for as long as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.daemon.config.settings import Settings


class Files:
    """Those of a daemon with *settings*."""

    def __init__(self, settings: Settings) -> None:
        self._paths = {str(file) for file in (settings.pid_file, settings.control) if file}

    def remove_others(self, left: Iterable[str]) -> None:
        """Remove what is in a *left* `state` of the program before, and not among them."""
        for file in {*left} - self._paths:
            Path(file).unlink(missing_ok=True)

    def state(self) -> list[str]:
        """Their paths, for the next program."""
        return sorted(self._paths)

    def descriptors(self) -> tuple[()]:
        """None."""
        return ()
