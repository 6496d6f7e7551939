"""TCP connections as a host of the lab has them: events that no program tells of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faith.lab import Host

ESTABLISHED, SYN_SENT = "01", "02"
"""States, as /proc/net/tcp has them."""


def count(host: Host, state: str, *, port: int) -> int:
    """How many connections with *port* at either end are in that *state*."""
    ending, found = f":{port:04X}", 0
    for table in ("tcp", "tcp6"):
        for line in host.call(Path(f"/proc/thread-self/net/{table}").read_text).splitlines()[1:]:
            _, local, remote, now = line.split(maxsplit=4)[:4]
            found += now == state and (local.endswith(ending) or remote.endswith(ending))
    return found


def is_asleep(pid: int) -> bool:
    """Return whether the process waits, having done all that there was to do."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("S")
