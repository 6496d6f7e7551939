"""The first steps of every child process: limits and OOM score, privileges, confinement."""

from __future__ import annotations

import logging
import resource
from typing import TYPE_CHECKING

from faith.errors import SetupError
from faith.kernel.process import capabilities, oom_score, sandbox

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger("faith.process")


def confine_child(
    user: str, keep: Iterable[str] = (), *, connects: bool = True, uses_maps: bool = False
) -> None:
    """Make this process an unprivileged one of *user*, for good.

    It may have as many descriptors as the hard limit says, has the capabilities in *keep* and no
    others, and is confined by Landlock and seccomp: without *connects* it can make no TCP
    connection either, and without *uses_maps* it has no use of BPF maps.

    Raises FaithError; the process must then end.  `WorkerPool` reports the error to the supervisor.
    """
    try:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        oom_score.raise_own()
        dropped = capabilities.drop(user, keep)
        version = sandbox.confine(connects=connects, uses_maps=uses_maps)
    except OSError as error:
        raise SetupError(f"confine a process of {user}", error.strerror or str(error)) from error
    log.debug("%r, Landlock %d, up to %d descriptors", dropped, version, most)
