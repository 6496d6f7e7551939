"""The process that ends what runs in a host when its lab is gone, whatever way it went.

It runs in the host's namespace, as a script on its own: ``warden.py NAME``.  Its standard input is
a pipe from the lab: at the end of it, SIGKILL of the lab included, every other process of the
namespace gets SIGTERM and, after a grace, SIGKILL.  After the line ``keep`` it waits for SIGTERM
instead, named ``faith-NAME``.
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
    """The other processes whose main thread is in *namespace*: ``os.stat()`` of it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # gone, a zombie, or none of our business
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
    """Wait for the end of the lab, then make it so."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if sys.stdin.readline() == "keep\n":
        with open("/proc/self/comm", "w") as comm:
            comm.write(f"faith-{name}")
        os.close(1)  # tells the lab that the name is there to be found
        signal.sigwait({signal.SIGTERM})
    end(os.stat("/proc/self/ns/net"))


if __name__ == "__main__":
    main(sys.argv[1])
