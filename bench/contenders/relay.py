"""The relay, as an operator starts it, with a record of every session in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import faith
from bench.bed import BULK, ECHO, FILE, FTP, HTTP
from bench.contenders.base import MANY, Running

if TYPE_CHECKING:
    from bench.bed import Bed
    from bench.programs import Program

CLONE = Path(faith.__file__).parents[1]

_NOT_INSTALLED = "import sys; from faith.cli.faithd import main; sys.exit(main())"


def faithd() -> list[str]:
    """The command ``faithd``; from the clone itself when that is not installed."""
    installed = Path(sys.prefix, "bin", "faithd")
    return [str(installed)] if installed.exists() else [sys.executable, "-c", _NOT_INSTALLED]


class Relay:
    """faithd on the ports of the bed.

    *reserves*: it sets up the lab's prefix itself.  *rules* is the text of its access file.  With
    *ftp* it has the ports of the file too.
    """

    name = "relay"
    needs: tuple[Program, ...] = ()
    most_sessions = MANY
    scales = True

    def __init__(self, *, reserves: bool = True, rules: str = "", ftp: bool = False) -> None:
        self._ports = [ECHO, HTTP, BULK, *([FTP, FILE] if ftp else [])]
        self._reserves = reserves
        self._rules = rules

    def start(self, bed: Bed, workers: int = 1, target: str = "") -> Running:
        """As every contender; the client can also be led to another *target*."""
        rules = bed.directory / "faithd.conf"
        rules.write_text(self._rules)
        options = ["-F", "--workers", str(workers), "--drain-timeout", "1", "-f", str(rules)]
        if self._reserves:
            options += ["-P", bed.lab.prefix]
        ports = ",".join(map(str, self._ports))
        program = bed.start(bed.lab.gateway, [*faithd(), *options, ports], cwd=CLONE)
        return Running(bed, target or bed.lab.mapped(), [program])
