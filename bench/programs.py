"""What must be there to be measured, or to measure: programs of other people, a device, rights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from faith.kernel.bpf.bpf import MAP_ARRAY, Map

if TYPE_CHECKING:
    from collections.abc import Iterable

_SEARCHED = (
    f"{os.environ.get('PATH', os.defpath)}:/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin"
)


class Program(NamedTuple):
    """A program, the Debian package it comes in, and the option that prints its version."""

    name: str
    package: str
    version: str = "--version"

    @property
    def path(self) -> str | None:
        """Where it is on this machine, if it is."""
        return shutil.which(self.name, path=_SEARCHED)

    def __str__(self) -> str:
        return f"{self.name} (Debian's package {self.package})"


class Device(NamedTuple):
    """A device by its path."""

    name: str

    @property
    def path(self) -> str | None:
        """Where it is, if it may be used."""
        return self.name if os.access(self.name, os.R_OK | os.W_OK) else None

    def __str__(self) -> str:
        return self.name


class Bpf(NamedTuple):
    """The kernel's BPF, for which root in a user namespace is not enough."""

    name: str = "bpf"

    @property
    def path(self) -> str | None:
        """Its name, if maps can be made."""
        try:
            Map.create(MAP_ARRAY, "faith_bench", key=4, value=8, entries=1).close()
        except OSError:
            return None
        return self.name

    def __str__(self) -> str:
        return "BPF (CAP_BPF)"


class OtherUsers(NamedTuple):
    """Users to become, as root is in a user namespace of its own without."""

    name: str = "other users"

    @property
    def path(self) -> str | None:
        """Its name, if more than one are mapped."""
        mapped = Path("/proc/self/uid_map").read_text().split()
        return self.name if sum(map(int, mapped[2::3])) > 1 else None

    def __str__(self) -> str:
        return "other users (root of the machine)"


Need = Program | Device | Bpf | OtherUsers

BPF = Bpf()
CC = Program("cc", "gcc, with libc6-dev")
DANTE = Program("danted", "dante-server", "-v")
DNSMASQ = Program("dnsmasq", "dnsmasq-base", "-v")
DNSPERF = Program("dnsperf", "dnsperf", "-h")
GO = Program("go", "golang-go", "version")
HAPROXY = Program("haproxy", "haproxy", "-v")
IP = Program("ip", "iproute2", "-V")
IPERF3 = Program("iperf3", "iperf3")
NAMED = Program("named", "bind9", "-v")
NFT = Program("nft", "nftables")
NGINX = Program("nginx", "nginx", "-v")
NGINX_STREAM = Program("nginx", "libnginx-mod-stream", "-v")
OTHER_USERS = OtherUsers()
PERF = Program("perf", "linux-perf")
PING = Program("ping", "iputils-ping", "-V")
PY_SPY = Program("py-spy", "py-spy of PyPI")
SOCAT = Program("socat", "socat", "-V")
SQUID = Program("squid", "squid", "-v")
STRACE = Program("strace", "strace")
TAYGA = Program("tayga", "tayga")
TINYPROXY = Program("tinyproxy", "tinyproxy", "-v")
TUN = Device("/dev/net/tun")
UNBOUND = Program("unbound", "unbound", "-V")
WRK = Program("wrk", "wrk", "-v")


def lacking(needs: Iterable[Need]) -> list[str]:
    """Those that are not there, as texts that say where they come from."""
    return [str(need) for need in needs if need.path is None]


def path(program: Program) -> str:
    """Where *program* is.  Raises FileNotFoundError."""
    found = program.path
    if found is None:
        raise FileNotFoundError(f"{program} is not installed")
    return found
