"""What answers for names on the gateway, one process each: by DNS64, or as a plain forwarder."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.contenders.base import MANY, Running
from bench.contenders.relay import CLONE
from bench.programs import DNSMASQ, NAMED, UNBOUND, path
from faith.lab.topology import GATEWAY_V6, SERVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.bed import Bed
    from bench.programs import Program

PORT = 53

_UNBOUND = """\
server:
  interface: {address}
  access-control: ::/0 allow
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  num-threads: {workers}
  msg-cache-size: 64m
  rrset-cache-size: 128m
  module-config: "dns64 iterator"
  dns64-prefix: {prefix}
forward-zone:
  name: "."
  forward-addr: {server}
remote-control:
  control-enable: no
"""
_BIND = """\
options {{
    directory "{directory}";
    listen-on {{ none; }};
    listen-on-v6 {{ {address}; }};
    allow-query {{ any; }};
    forwarders {{ {server}; }};
    forward only;
    dnssec-validation no;
    empty-zones-enable no;
    pid-file none;
    session-keyfile none;
    dns64 {prefix} {{ }};
}};
controls {{ }};
"""


class _Answering(Running):
    """A name server at work, which need not reach the origin's echo."""

    def _serves(self, bed: Bed) -> bool:
        self._check(bed)
        return bed.lab.gateway.is_listening(PORT, socket.AF_INET6, "udp")


@dataclass(frozen=True)
class Resolver:
    """Runs *command*, and asks the origin, which has authority, for whatever it does not know.

    It synthesises AAAA records, unless it is *plain*, and has several workers, if it *scales*.
    """

    name: str
    needs: tuple[Program, ...]
    command: Callable[[Bed, int], list[str]]
    plain: bool = False
    most_sessions: int = MANY
    scales: bool = False

    def start(self, bed: Bed, workers: int = 1) -> Running:
        """Answer the client, by processes or threads, of which the workers are so many."""
        program = bed.start(bed.lab.gateway, self.command(bed, workers), cwd=CLONE)
        return _Answering(bed, GATEWAY_V6, [program])


def _faith(bed: Bed, workers: int) -> list[str]:
    options = ["-p", bed.lab.prefix, "--listen", GATEWAY_V6, "--forward", SERVER]
    options += ["--allow", "::/0", "--workers", str(workers)]
    return [sys.executable, "-m", "faith.cli.faith", "dns", *options]


def _unbound(bed: Bed, workers: int) -> list[str]:
    return [path(UNBOUND), "-d", "-c", _written(bed, "unbound.conf", _UNBOUND, workers)]


def _bind(bed: Bed, workers: int) -> list[str]:
    return [
        path(NAMED),
        "-g",
        "-n",
        str(workers),
        "-c",
        _written(bed, "named.conf", _BIND, workers),
    ]


def _dnsmasq(bed: Bed, workers: int) -> list[str]:
    options = ("-k", "-C", "/dev/null", "-u", "root", "--pid-file=", "--bind-interfaces")
    where = (f"--server={SERVER}", f"--listen-address={GATEWAY_V6}")
    limits = ("--no-resolv", "--no-hosts", "--cache-size=20000", "--dns-forward-max=1000")
    return [path(DNSMASQ), *options, *where, *limits]


def _written(bed: Bed, name: str, form: str, workers: int) -> str:
    file = bed.directory / name
    file.write_text(
        form.format(
            address=GATEWAY_V6,
            server=SERVER,
            prefix=bed.lab.prefix,
            directory=bed.directory,
            workers=workers,
        )
    )
    return str(file)


OURS = Resolver("faith dns", (), _faith, scales=True)
RESOLVERS = (
    OURS,
    Resolver("unbound", (UNBOUND,), _unbound, scales=True),
    Resolver("BIND", (NAMED,), _bind, scales=True),
    Resolver("dnsmasq", (DNSMASQ,), _dnsmasq, plain=True),
)
"""All of them."""
