"""The role of this process: shown in its title and in its log lines, as ``worker 2``."""

from __future__ import annotations

from faith.daemon.observe import log as log_output
from faith.daemon.observe.roles import SUPERVISOR, role_of
from faith.kernel.title import set_title

_program = "faithd"


def supervise(program: str, words: list[str], role: str = SUPERVISOR) -> None:
    """Be the supervisor of *program*, which was started with *words*; children are of it, too."""
    global _program
    _program = program
    adopt(role, words)


def of_pool(what: str, number: int) -> str:
    """Return the role of process *number* (from 0) in a pool of *what*."""
    return role_of(what, number) or f"{what} {number + 1}"


def adopt(role: str, words: list[str] | None = None) -> None:
    """Show *role*, and behind it *words*, in the title of this process, and *role* in its log."""
    set_title(" ".join([f"{_program}: {role}", *(words or ())]), _program)
    log_output.label(role=role)
