"""The memory of flows: the BPF maps, and the processes without them."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAP = "anon_inode:bpf-map"
_FIELD = re.compile(r"^(map_id|memlock):\s+(\d+)$", re.MULTILINE)
_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ ")


def of_maps(pids: Iterable[int]) -> int:
    """Return the bytes of all BPF maps that *pids* have, as the kernel accounts for them.

    Linux 6.4 counts whole, older kernels leave some of it out.
    """
    found: dict[str, int] = {}
    for pid in pids:
        for file in _map_descriptors(pid):
            with suppress(OSError):
                fields = dict(_FIELD.findall(Path(f"/proc/{pid}/fdinfo/{file}").read_text()))
                found[fields["map_id"]] = int(fields["memlock"])
    return sum(found.values())


def _map_descriptors(pid: int) -> Iterator[str]:
    directory = f"/proc/{pid}/fd"
    for file in os.listdir(directory):
        with suppress(OSError):
            if os.readlink(f"{directory}/{file}") == _MAP:
                yield file


def of_processes(pids: Iterable[int]) -> int:
    """Return the bytes resident in *pids*, shared ones once (Pss), without mappings of maps."""
    return sum(map(_own, pids))


def _own(pid: int) -> int:
    total, counts = 0, True
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if _MAPPING.match(line):
            counts = _MAP not in line
        elif counts and line.startswith("Pss:"):
            total += int(line.split()[1]) * 1024
    return total
