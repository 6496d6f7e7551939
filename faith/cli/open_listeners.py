"""The servers of this host that listen on every address, and so under a prefix without a guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.host import discovery
from faith.daemon.observe.status_report import Listener
from faith.kernel import text_file
from faith.kernel.sockets import transparent_listeners
from faith.kernel.sockets.holder import holder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.translation.ports import Ports

_ANY = "0" * 32
_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp6


def on_any_address() -> list[int]:
    """Return the TCP ports with a listener on ``[::]``, ascending, except those of faithds."""
    lines = text_file.read_proc("/proc/thread-self/net/tcp6").splitlines()[1:]
    rows = (line.split() for line in lines)
    local = {tuple(row[1].split(":")) for row in rows if row[3] == _LISTEN}
    served = [faithd.served for faithd in discovery.running()]
    ports = {int(port, 16) for address, port in local if address == _ANY}
    return sorted(port for port in ports if not any(port in ours for ours in served))


def serving(open_ports: Ports) -> list[Listener]:
    """Return the sockets of no daemon that the guard lets have connections to the prefixes.

    They are transparent, as units of systemd have them, or on one of *open_ports*, as inetd's.
    """
    try:
        transparent = transparent_listeners.ports()
    except OSError:  # of another kernel than Linux 5.10 and later
        transparent = []
    served = [daemon.served for daemon in discovery.running()]
    others = {port for port in transparent if not any(port in ours for ours in served)}
    others |= {port for port in on_any_address() if port in open_ports}
    return [Listener(port, holder(port)) for port in sorted(others)]


def named(ports: Iterable[int]) -> str:
    """Return *ports* with their processes, where they can be seen: ``22 sshd (pid 7), 80``."""
    return ", ".join(f"{port} {holder(port)}".strip() for port in ports)


def exposed() -> str:
    """Return as a sentence what is exposed on this host without a guard."""
    ports = on_any_address()
    if not ports:
        return "no server listens on [::] now, but whatever does later answers under the prefix too"
    return f"servers on [::] answer under the prefix too: {named(ports)}"
