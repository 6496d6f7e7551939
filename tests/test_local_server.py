"""The local server, before it is started; tests/netns/test_faithd.py starts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.daemon.config.local_server import LocalServer
from faith.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path


def test_it_must_be_there_and_executable(tmp_path: Path) -> None:
    program = tmp_path / "telnetd"
    server = LocalServer(str(program), ("telnetd",))
    with pytest.raises(SetupError, match="no such file"):
        server.check()
    program.write_text("#!/bin/sh\n")
    with pytest.raises(SetupError, match="not executable"):
        server.check()
    program.chmod(0o755)
    server.check()


def test_a_directory_is_no_program(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no such file"):
        LocalServer(str(tmp_path), ("telnetd",)).check()
