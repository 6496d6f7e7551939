"""The kernel path, as an operator sets it up, with a record of every session in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.bed import BULK, ECHO, FLOWS, HTTP
from bench.contenders.base import MANY, Running
from bench.contenders.relay import CLONE, faithd
from bench.programs import BPF

if TYPE_CHECKING:
    from bench.bed import Bed

_FILE = """\
workers = {workers}
control = "{directory}/control"
[[prefix]]
address = "{prefix}"
layout = "low32"
[[service]]
ports = "{ports}"
path = "kernel"
[flows]
addresses = ["{source}"]
[timeouts]
drain = 1
"""


class Kernel:
    """faithd on the ports of the bed, with ``path = "kernel"``."""

    name = "kernel"
    needs = (BPF,)
    most_sessions = MANY
    scales = False

    def start(self, bed: Bed, workers: int = 1) -> Running:
        """As every contender; *workers* of the relay, which serves the gateway's own clients."""
        file = bed.directory / "kernel.toml"
        ports = ",".join(map(str, (ECHO, HTTP, BULK)))
        file.write_text(
            _FILE.format(
                workers=workers,
                directory=bed.directory,
                prefix=bed.lab.prefix,
                ports=ports,
                source=FLOWS,
            )
        )
        argv = [*faithd(), "-F", "--config", str(file)]
        program = bed.start(bed.lab.gateway, argv, cwd=CLONE)
        return Running(bed, bed.lab.mapped(), [program])
