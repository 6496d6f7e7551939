"""Proxies on the gateway, which clients ask for the origin, and the relay that needs no asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.bed import ECHO, HTTP
from bench.contenders.base import MANY, Running
from bench.contenders.relay import CLONE, Relay, faithd
from bench.descriptors import most_sessions
from bench.holding import holding
from bench.programs import DANTE, OTHER_USERS, SQUID, TINYPROXY, path
from bench.way import CONNECT, FORWARD, SOCKS5, TUNNEL, Way
from faith.lab.topology import GATEWAY_V4, GATEWAY_V6

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from bench.bed import Bed
    from bench.contenders.base import Contender
    from bench.programs import Need

PORT = 1080

_MOST_THREADS = 1_000
"""Of tinyproxy, which has one for every connection."""
_MOST_PROCESSES = 1_000
"""Sessions of Dante, which has a process for a few of them."""

_FAITHD = """\
workers = {workers}
control = "{directory}/control"
[[proxy]]
listen = "[{gateway}]:{port}"
connect_ports = "{ports}"
[timeouts]
drain = 1
"""
_SQUID = """\
http_port [{gateway}]:{port}
http_access allow all
cache deny all
access_log none
cache_log stdio:/dev/stderr
cache_store_log none
netdb_filename none
pid_filename none
pinger_enable off
max_filedescriptors {descriptors}
visible_hostname gateway
shutdown_lifetime 0 seconds
coredump_dir {directory}
"""
_DANTE = """\
logoutput: stderr
errorlog: stderr
internal: {gateway} port = {port}
external: {outside}
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0/0 to: 0/0 }}
socks pass {{ from: 0/0 to: 0/0 }}
"""
_TINYPROXY = """\
Listen {gateway}
Port {port}
Timeout 7200
MaxClients {most}
LogLevel Critical
"""


_OWN_MEMORY = (
    *("unshare", "--mount", "sh", "-c"),
    *('mount -t tmpfs none /dev/shm && exec "$@"', "squid"),
)
"""What squid shares with others of its name, which may run too, and would leave behind."""


class _Asked(Running):
    """A proxy at work, which is asked by its *methods*."""

    def __init__(self, bed: Bed, methods: tuple[str, ...], program: subprocess.Popen[str]) -> None:
        self._methods = methods
        super().__init__(bed, GATEWAY_V6, [program])

    def _serves(self, bed: Bed) -> bool:
        self._check(bed)
        if not bed.lab.gateway.is_listening(PORT):
            return False
        with holding(bed, self.way(TUNNEL, ECHO)) as hold:
            hold(1)
        return True

    def way(self, method: str, port: int) -> Way:
        """By asking it; it chooses the kind of a tunnel."""
        return Way(self._methods[0] if method == TUNNEL else method, self.target, PORT, port)


@dataclass(frozen=True)
class Proxy:
    """Runs *command*, and is asked by the *methods*, of which the first is for a tunnel."""

    name: str
    methods: tuple[str, ...]
    needs: tuple[Need, ...]
    command: Callable[[Bed, int], list[str]]
    most_sessions: int = MANY
    scales: bool = False

    def start(self, bed: Bed, workers: int = 1) -> Running:
        """As every contender."""
        program = bed.start(bed.lab.gateway, self.command(bed, workers), cwd=CLONE)
        return _Asked(bed, self.methods, program)


def suits(method: str, contender: Contender) -> bool:
    """Whether *contender* can be asked by it, or need not be asked."""
    return not isinstance(contender, Proxy) or method in (*contender.methods, TUNNEL)


def _faithd(bed: Bed, workers: int) -> list[str]:
    ports = ",".join(map(str, (ECHO, HTTP)))
    file = _written(bed, "proxy.toml", _FAITHD, workers=workers, ports=ports)
    return [*faithd(), "-F", "--config", file]


def _squid(bed: Bed, workers: int) -> list[str]:
    descriptors = min(2 * most_sessions() + 1_000, 65_536)
    file = _written(bed, "squid.conf", _SQUID, descriptors=descriptors)
    return [*_OWN_MEMORY, path(SQUID), "-N", "-f", file]


def _dante(bed: Bed, workers: int) -> list[str]:
    file = _written(bed, "danted.conf", _DANTE, outside=GATEWAY_V4)
    return [path(DANTE), "-f", file, "-p", str(bed.directory / "danted.pid")]


def _tinyproxy(bed: Bed, workers: int) -> list[str]:
    file = _written(bed, "tinyproxy.conf", _TINYPROXY, most=_MOST_THREADS + 100)
    return [path(TINYPROXY), "-d", "-c", file]


def _written(bed: Bed, name: str, form: str, **fields: object) -> str:
    """A file with its configuration; its name."""
    file = bed.directory / name
    fields = {"gateway": GATEWAY_V6, "port": PORT, "directory": bed.directory, **fields}
    file.write_text(form.format(**fields))
    return str(file)


PROXIES: tuple[Contender, ...] = (
    Proxy("proxy", (CONNECT, SOCKS5, FORWARD), (), _faithd, scales=True),
    Proxy("squid", (CONNECT, FORWARD), (SQUID, OTHER_USERS), _squid),
    Proxy("dante", (SOCKS5,), (DANTE, OTHER_USERS), _dante, _MOST_PROCESSES),
    Proxy("tinyproxy", (CONNECT, FORWARD), (TINYPROXY,), _tinyproxy, _MOST_THREADS),
    Relay(),
)
"""All of them, faithd first, and the relay that needs no asking."""
