"""The process that ends a host's programs when its lab is gone, however that ended.

It runs in the host's namespace, as a script: ``warden.py NAME``.  Its standard input is a pipe from
the lab: at its end, SIGKILL of the lab included, every other process of the namespace gets SIGTERM
and, after a grace time, SIGKILL.  After the line ``keep`` it waits for SIGTERM instead, named
``faith-NAME``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""


def inhabitants(namespace: os.stat_result) -> list[int]:
    """Return the other processes whose main thread is in *namespace*, given by its
    ``os.stat()``."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # ended, a zombie, or not accessible
            if os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), namespace):
                found.append(int(pid))
    return [pid for pid in found if pid not in (os.getpid(), os.getppid())]


def end(namespace: os.stat_result) -> None:
    """Stop every other process of *namespace*."""
    deadline = time.monotonic() + GRACE
    warned: set[int] = set()
    while pids := inhabitants(namespace):
        late = time.monotonic() > deadline
        for pid in pids:
            if late or pid not in warned:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        warned.update(pids)
        time.sleep(0.01)


def main(name: str) -> None:
    """Wait for the end of the lab, then end the host's programs."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if sys.stdin.readline() == "keep\n":
        with open("/proc/self/comm", "w") as comm:
            comm.write(f"faith-{name}")
        os.close(1)  # tells the lab that the name is set
        signal.sigwait({signal.SIGTERM})
    end(os.stat("/proc/self/ns/net"))


if __name__ == "__main__":
    main(sys.argv[1])
