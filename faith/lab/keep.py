"""Keeping a lab's network after its process has ended, and removing it later."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from faith.errors import SetupError
from faith.lab import namespace, warden
from faith.lab.waiting import wait_until

if TYPE_CHECKING:
    from faith.lab.network import Network

_NAMES = Path("/run/netns")  # where ip-netns(8) keeps its names


def keep(network: Network) -> dict[str, str]:
    """Let the hosts of *network*, and the programs started in them, outlive this process.

    Returns for each host what to write before a command to run it there: ``ip netns exec
    faith-NAME``, or a line of nsenter(1) where nobody else could see that name because this process
    is in a user namespace of its own.  A program that was given no output of its own goes on
    writing to the output of this process.  Raises SetupError, also when a network is kept already.
    """
    if kept := sorted(_holders()):
        raise SetupError("keeping the network", f"{', '.join(kept)} are there already")
    try:
        return {name: _keep(f"faith-{name}", host.keep()) for name, host in network.hosts.items()}
    except SetupError:
        remove_kept()
        raise


def remove_kept() -> list[str]:
    """End everything that this user has kept, programs included; return the names, ``faith-…``."""
    kept = _holders()
    for holder in kept.values():
        os.kill(holder, signal.SIGTERM)
    wait_until(lambda: not _holders(), warden.GRACE + 5, f"the end of {', '.join(kept)}")
    for name in kept:
        with suppress(FileNotFoundError):
            namespace.unmount(_NAMES / name)
            (_NAMES / name).unlink()
    return sorted(kept)


def _keep(name: str, holder: int) -> str:
    if namespace.has_private_mounts():
        return f"nsenter --target {holder} --user --mount --net --preserve-credentials"
    path = _NAMES / name
    try:
        _NAMES.mkdir(exist_ok=True)
        namespace.share(_NAMES)
        path.touch(exist_ok=False)
        namespace.bind(Path(f"/proc/{holder}/ns/net"), path)
    except OSError as error:
        raise SetupError(f"keeping {path}", str(error.strerror)) from error
    return f"ip netns exec {name}"


def _holders() -> dict[str, int]:
    """Return this user's processes that hold a kept host, by the name of the host."""
    held = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended in the meantime
            argv = process.joinpath("cmdline").read_bytes().split(b"\0")
            kept = process.joinpath("comm").read_bytes().startswith(b"faith-")
            if kept and argv[1:2] == [b"-IS"] and process.stat().st_uid == os.getuid():
                held[f"faith-{argv[3].decode()}"] = int(process.name)
    return held
