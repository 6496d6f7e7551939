"""The first steps of a child, in a child."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.daemon.process.preamble import confine_child
from faith.errors import ConfigError
from faith.kernel.process import capabilities, oom_score

if TYPE_CHECKING:
    from collections.abc import Callable


def in_child(body: Callable[[], bool]) -> bool:
    """Return whether *body* returns true in a process of its own."""
    pid = os.fork()
    if not pid:
        good = False
        try:
            good = body()
        finally:
            os._exit(not good)
    return not os.waitpid(pid, 0)[1]


def test_a_child_has_descriptors_and_no_rights() -> None:
    def body() -> bool:
        score = Path("/proc/self/oom_score_adj")
        before = int(score.read_text())
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # less than there are
        confine_child("nobody")
        return (
            resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
            and capabilities.effective() == frozenset()
            and int(score.read_text()) == min(before + oom_score.CHILD, oom_score.MOST)
        )

    assert in_child(body)


def test_a_user_that_does_not_exist_is_an_error_with_its_name() -> None:
    def body() -> bool:
        with pytest.raises(ConfigError, match="no user 'nobody-of-that-name'"):
            confine_child("nobody-of-that-name")
        return True

    assert in_child(body)
