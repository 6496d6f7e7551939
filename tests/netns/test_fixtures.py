"""What the tests do where they cannot run: skip with a reason, or fail where all must run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.netns

PYTEST_WITHOUT_RIGHTS = """
import ctypes, pytest, sys
ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)())
sys.exit(pytest.main(["-qp", "no:cacheprovider", *sys.argv[1:]]))
"""


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_netns_tests_without_rights(ci: str, outcome: str) -> None:
    test = f"{Path(__file__).with_name('test_lab.py')}::TestCalls::test_returns_the_result"
    result = subprocess.run(
        [sys.executable, "-c", PYTEST_WITHOUT_RIGHTS, test],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CI": ci},
        timeout=30,
    )
    assert outcome in result.stdout, result.stdout + result.stderr
    assert "entering a user namespace: Operation not permitted" in result.stdout


def test_need_finds_a_program(need: Callable[[str], str]) -> None:
    assert os.access(need("sh"), os.X_OK)


def test_need_skips(need: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such is not installed"):
        need("no-such")


def test_need_fails_in_ci(need: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such is not installed"):
        need("no-such")
