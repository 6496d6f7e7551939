"""A control group of this process and all that it starts: others on the machine do not count."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = "faith-bench-"
_SOFTIRQS = "ksoftirqd/"


@contextmanager
def own_group() -> Iterator[None]:
    """Be in a group of its own within the block, where that is allowed."""
    before = _group()
    group = before / f"{_NAME}{os.getpid()}" if before else None
    entered = False
    if group:
        with suppress(OSError):
            group.mkdir()
            _move(group)
            entered = True
    try:
        yield
    finally:
        if before and group and entered:
            with suppress(OSError):
                _move(before)
                group.rmdir()


def cpu() -> float | None:
    """Return the seconds of CPU used in this process's own group and by the kernel's ksoftirqd.

    The scheduler's, in microseconds.  A softirq counts to the process in which it runs, and to
    ksoftirqd when there is too much of it.  None outside of such a group.
    """
    group = _group()
    if not group or not group.name.startswith(_NAME):
        return None
    fields = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(fields["usage_usec"]) / 1e6 + sum(map(_seconds, _ksoftirqds()))


def _group() -> Path | None:
    """Return the directory of this process's group, None where there is no cgroup v2."""
    for mount in Path("/proc/self/mounts").read_text().splitlines():
        _, directory, kind, *_ = mount.split()
        if kind == "cgroup2":
            break
    else:
        return None
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return Path(directory, line.removeprefix("0::").strip("/"))
    return None


def _move(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))


@cache
def _ksoftirqds() -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().startswith(_SOFTIRQS):
                found.append(int(pid))
    return found


def _seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
