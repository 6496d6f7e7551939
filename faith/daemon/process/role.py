"""The role of this process: shown in its title and in its log lines, as ``worker 2``."""

from __future__ import annotations

from faith.daemon.observe import log as log_output
from faith.kernel.title import set_title

SUPERVISOR = "supervisor"

_OF_POOLS = {
    "name server": "dns {}",
    "admin listener": "admin",
    "ping server": "ping",
    "UDP server": "udp",
    "kernel path": "flows",
}
_program = "faithd"


def supervise(program: str, words: list[str], role: str = SUPERVISOR) -> None:
    """Be the supervisor of *program*, which was started with *words*; children are of it, too."""
    global _program
    _program = program
    adopt(role, words)


def of_pool(what: str, number: int) -> str:
    """Return the role of process *number* (from 0) in a pool of *what*."""
    return _OF_POOLS.get(what, f"{what} {{}}").format(number + 1)


def adopt(role: str, words: list[str] | None = None) -> None:
    """Show *role*, and behind it *words*, in the title of this process, and *role* in its log."""
    set_title(" ".join([f"{_program}: {role}", *(words or ())]), _program)
    log_output.label(role=role)
