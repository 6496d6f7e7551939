"""The daemons of this host and their processes, as proc(5) and discovery know them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from faith.cli.explain.facts import DaemonFacts
from faith.daemon.observe.roles import WORKER
from faith.errors import SetupError
from faith.kernel import text_file
from faith.relay.tcp.session_shares import KEPT, SessionShares
from faith.translation.address import text, unmapped

if TYPE_CHECKING:
    from faith.daemon.observe.status_report import Daemon

_STOPPED = ("T", "t")
_LISTEN, _ESTABLISHED = "0A", "01"
_TIME_WAIT = "06"
_PROC = Path("/proc")


def daemon(running: Daemon, client: str = "") -> DaemonFacts:
    """Return the facts of a daemon that was discovered, and the room it has for *client*."""
    workers = [one.pid for one in running.processes if one.role.startswith(WORKER)]
    sessions = _sessions() if client else {}
    servers = running.names.servers if running.names else []
    return DaemonFacts(
        running.pid,
        running.service,
        running.served,
        running.via,
        running.draining,
        len(workers),
        tuple(
            one.role
            for one in running.processes
            if one.state == "late" or state(one.pid) in _STOPPED
        ),
        running.control,
        max(map(descriptors, workers), key=_fullness, default=(0, 0)),
        tuple(one.address for one in servers if not one.healthy)
        if not any(one.healthy for one in servers)
        else (),
        full=sum(_is_full(pid, sessions, client) for pid in workers) if sessions else 0,
        refusals={one.path: one.refusals for one in running.traffic},
        flows=(running.flows.open, running.flows.slots) if running.flows else (0, 0),
        proxies=tuple(running.proxies),
    )


def _is_full(pid: int, sessions: dict[str, str], client: str) -> bool:
    """Return whether a worker has no place for a session of *client*: shares, and descriptors.

    *sessions* are the clients of all connections of this host, by the inodes of their sockets.
    """
    _, limit = descriptors(pid)
    held = [sessions[inode] for inode in _sockets(pid) if inode in sessions]
    if not limit or not held:
        return False
    shares = SessionShares(max(limit - KEPT, limit // 2) // 2)
    for other in held:
        shares.add(shares.client(other))
    return shares.refuses(client) is not None


def _sessions() -> dict[str, str]:
    """Return the peers of the connections that arrived on this host, by inode."""
    found: dict[str, str] = {}
    for rows in (_rows("tcp6"), _rows("tcp")):
        served = {row[1].rpartition(":")[2] for row in rows if row[3] == _LISTEN}
        found |= {
            row[9]: _peer(row[2])
            for row in rows
            if row[3] == _ESTABLISHED and row[1].rpartition(":")[2] in served
        }
    return found


def _peer(words: str) -> str:
    """Return the address that /proc/net/tcp or tcp6 has as words of the host's byte order."""
    hexadecimal = words.partition(":")[0]
    parts = (hexadecimal[at : at + 8] for at in range(0, len(hexadecimal), 8))
    octets = b"".join(int(part, 16).to_bytes(4, sys.byteorder) for part in parts)
    return unmapped(text(octets))


def _sockets(pid: int) -> list[str]:
    """Return the inodes of the sockets of a process."""
    found = []
    with suppress(OSError), os.scandir(_PROC / str(pid) / "fd") as entries:
        for entry in entries:
            with suppress(OSError):
                found.append(os.readlink(entry).removeprefix("socket:[").removesuffix("]"))
    return found


def _fullness(used: tuple[int, int]) -> float:
    return used[0] / used[1] if used[1] else 0.0


def state(pid: int) -> str:
    """Return the state of a process as ps(1) has it: R, S, T …; "" without the process."""
    with suppress(OSError, IndexError):
        return text_file.read_leniently(_PROC / str(pid) / "stat").rpartition(")")[2].split()[0]
    return ""


def descriptors(pid: int) -> tuple[int, int]:
    """Return how many descriptors a process has open, and its limit; zeros if it is not seen."""
    with suppress(OSError, ValueError, StopIteration):
        used = len(os.listdir(_PROC / str(pid) / "fd"))
        lines = text_file.read_leniently(_PROC / str(pid) / "limits").splitlines()
        row = next(line for line in lines if line.startswith("Max open files"))
        return used, int(row.split()[3])
    return 0, 0


def listens(port: int) -> bool:
    """Return whether a TCP socket listens on *port* of any IPv6 address."""
    rows = _rows("tcp6")
    return any(row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port for row in rows)


def source_ports(source: str, server: str, port: int) -> tuple[int, int]:
    """Return how many ports of *source* are taken towards *port* of *server*, and how many there
    are, by ip_local_port_range.

    All are texts of IPv4; ports in TIME_WAIT count unless they can be used again.
    """
    reused = sysctl("net.ipv4.tcp_tw_reuse") == "1"
    local, remote = _hex(source), f"{_hex(server)}:{port:04X}"
    taken = {
        row[1]
        for row in _rows("tcp")
        if row[1].startswith(local) and row[2] == remote and not (reused and row[3] == _TIME_WAIT)
    }
    first, last = map(int, (sysctl("net.ipv4.ip_local_port_range") or "32768 60999").split())
    return len(taken), last - first + 1


def sysctl(name: str) -> str:
    """Return the value of a sysctl of this network namespace, "" if it cannot be read."""
    try:
        return text_file.read_proc(_PROC / "sys" / name.replace(".", "/")).strip()
    except SetupError:
        return ""


def rp_filter(name: str) -> int:
    """Return the mode in force on the interface *name*: the greater of its own and that of all
    (ip-sysctl.rst); 1 is strict."""
    values = (sysctl(f"net.ipv4.conf.{one}.rp_filter") for one in ("all", name))
    return max(int(value or 0) for value in values)


def reverse_path_drops() -> int:
    """Return how many packets reverse path filtering has dropped in this network namespace."""
    with suppress(SetupError, ValueError):
        lines = text_file.read_proc(_PROC / "thread-self/net/netstat").splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=False):
            found = dict(zip(names.split(), values.split(), strict=False))
            if "IPReversePathFilter" in found:
                return int(found["IPReversePathFilter"])
    return 0


def _hex(address: str) -> str:
    octets = bytes(map(int, address.split(".")))
    return f"{int.from_bytes(octets, 'little'):08X}"


def _rows(table: str) -> list[list[str]]:
    with suppress(SetupError):
        lines = text_file.read_proc(_PROC / "thread-self/net" / table).splitlines()[1:]
        return [line.split() for line in lines]
    return []
