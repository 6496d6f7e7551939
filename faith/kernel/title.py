"""The title of this process: what ps(1) shows of it, and the name that pgrep(1) finds it by.

The title takes the place of the command line, in the memory that the kernel has set aside for that
(proc(5), arg_start), and is cut off at its end.  The environment behind it stays as it is.  It goes
without a library, because inetd mode has no time to import one, and because those that there are
move the environment and change the name too.
"""

from __future__ import annotations

_START, _END = 45, 46
"""The places of arg_start and arg_end in stat of proc(5), after the name in parentheses."""


def set_title(title: str, name: str = "faithd") -> None:
    """Have ps(1) show *title*, and pgrep(1) find *name* (15 octets at most).

    Where proc(5) is missing or forbidden, the process keeps what it has.  Call it before privileges
    are dropped: afterwards the files are root's.
    """
    try:
        with open("/proc/self/comm", "wb", buffering=0) as file:
            file.write(name.encode())
        with open("/proc/self/stat", "rb", buffering=0) as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[_START]), int(fields[_END])
        with open("/proc/self/mem", "r+b", buffering=0) as file:
            file.seek(start)
            file.write(_padded(title.encode(errors="replace"), end - start))
    except (OSError, ValueError, IndexError):
        pass  # a process without its title serves as well


def _padded(title: bytes, size: int) -> bytes:
    """Return *title* in *size* octets; the last is NUL, or the kernel reads on behind it."""
    return title[: max(size - 1, 0)].decode(errors="ignore").encode().ljust(size, b"\0")
