"""HAProxy in TCP mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.bed import BULK, ECHO, HTTP
from bench.contenders.base import MANY, Running
from bench.descriptors import most_sessions
from bench.programs import HAPROXY, path
from faith.lab.topology import GATEWAY_V6, SERVER

if TYPE_CHECKING:
    from bench.bed import Bed

_AUTO = ("", "option splice-auto")
_FORCED = ("tune.pipesize 1048576", "option splice-request\n    option splice-response")
_CONFIGURATION = """\
global
    nbthread {workers}
    maxconn {most}
    maxpipes 200
    {pipes}
defaults
    mode tcp
    maxconn {most}
    timeout connect 10s
    timeout client 2h
    timeout server 2h
    {splice}
"""
_SERVICE = """\
listen port-{port}
    bind [{gateway}]:{port}
    server origin {server}:{port}
"""


class HAProxy:
    """With splice-auto, or with splicing *forced* through pipes of 1 MiB."""

    needs = (HAPROXY,)
    most_sessions = MANY
    scales = True

    def __init__(self, *, forced: bool = False) -> None:
        self.name = "haproxy-splice" if forced else "haproxy"
        self._options = _FORCED if forced else _AUTO

    def start(self, bed: Bed, workers: int = 1) -> Running:
        """As every contender."""
        pipes, splice = self._options
        file = bed.directory / f"{self.name}.cfg"
        file.write_text(
            _CONFIGURATION.format(
                workers=workers, most=most_sessions() + 100, pipes=pipes, splice=splice
            )
            + "".join(
                _SERVICE.format(port=port, gateway=GATEWAY_V6, server=SERVER)
                for port in (ECHO, HTTP, BULK)
            )
        )
        program = bed.start(bed.lab.gateway, [path(HAPROXY), "-db", "-f", str(file)])
        return Running(bed, GATEWAY_V6, [program])
