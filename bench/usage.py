"""What processes, and the machine, have used: CPU time and memory."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench import cgroup

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LOOK, _LOOKS = 0.2, 50
"""Seconds from one look at whether a program is at rest to the next, and how many there are."""
_AT_REST = 0.01
"""The part of a CPU that a program at rest may use."""
_SETTLE = 0.05
"""Seconds that work already begun, closing sockets for instance, may still take."""


def family(pids: Iterable[int]) -> list[int]:
    """*pids* and all their living descendants."""
    children: dict[int, list[int]] = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(OSError):
            children.setdefault(int(_stat(pid)[1]), []).append(pid)
    found = list(pids)
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu(pids: Iterable[int]) -> float:
    """Seconds of CPU used by *pids*, their ended threads and their reaped children included.

    User and system time; on kernels without CONFIG_IRQ_TIME_ACCOUNTING, as distributions build
    them, also that of softirqs handled while one of the processes was running.
    """
    seconds = 0.0
    for pid in pids:
        with suppress(OSError):
            # clock_getcpuclockid(3), which Python has not: finer than the ticks of /proc.
            seconds += time.clock_gettime_ns(~pid << 3 | 2) / 1e9
            seconds += sum(map(int, _stat(pid)[13:15])) * _TICK
    return seconds


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: the second may have blanks in it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def machine_cpu() -> float:
    """Seconds of CPU used by the contender, both ends and the kernel for them, softirqs included.

    By a control group, if this process has one of its own; else by everything on the machine.
    """
    seconds = cgroup.cpu()
    return _stat_of_machine() if seconds is None else seconds


def _stat_of_machine() -> float:
    user, nice, system, _, _, irq, softirq, *_ = _first_line("/proc/stat")
    return sum(map(int, (user, nice, system, irq, softirq))) * _TICK


def _first_line(path: str) -> list[str]:
    return Path(path).read_text().splitlines()[0].split()[1:]


def settle(pids: Iterable[int]) -> None:
    """Wait, some seconds at most, until *pids* and what descends from them have come to rest.

    A program may serve before all of its start is done.
    """
    spent = cpu(family(pids))
    for _ in range(_LOOKS):
        time.sleep(_LOOK)
        before, spent = spent, cpu(family(pids))
        if spent - before < _LOOK * _AT_REST:
            return


class Spent:
    """CPU seconds of a contender's processes, and of the machine, within a block."""

    contender = 0.0
    machine = 0.0


@contextmanager
def spending(pids: Iterable[int]) -> Iterator[Spent]:
    """Measure what *pids*, and what descends from them, spend within the block."""
    spent = Spent()
    pids = list(pids)
    contender, machine = cpu(family(pids)), machine_cpu()
    yield spent
    time.sleep(_SETTLE)
    spent.contender, spent.machine = cpu(family(pids)) - contender, machine_cpu() - machine


def memory(pids: Iterable[int]) -> int:
    """Bytes resident in *pids*, with what processes share counted once (Pss)."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def kernel_memory() -> int:
    """Bytes the kernel holds for sockets and their like, on the whole machine.

    Objects in use of all slab caches and TCP's buffers; whole slabs where /proc/slabinfo may not
    be read.
    """
    return _slabs() + _tcp_buffers()


def _slabs() -> int:
    try:
        lines = Path("/proc/slabinfo").read_text().splitlines()[2:]
    except OSError:
        meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(meminfo["Slab"].split()[0]) * 1024
    objects = (line.split() for line in lines)
    return sum(int(active) * int(size) for _, active, _, size, *_ in objects)


def _tcp_buffers() -> int:
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        words = line.split()
        if words[0] == "TCP:":
            return int(words[words.index("mem") + 1]) * _PAGE
    return 0


def slabs_are_readable() -> bool:
    """Whether :func:`kernel_memory` counts objects, not whole slabs."""
    return os.access("/proc/slabinfo", os.R_OK)
