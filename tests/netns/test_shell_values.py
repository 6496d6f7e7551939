"""A shell completes the sessions, maps and daemons that are there."""

from __future__ import annotations

import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import PREFIX
from tests.faithd import ENVIRONMENT, Faithd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns

PORT = 2323
FILE = f"""\
workers = 1
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
[[map]]
v4 = "203.0.113.7"
v6 = "2001:db8:6::7"
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="faith-") as name:
        yield Path(name)


@pytest.mark.usefixtures("real_root")
def test_it_completes_what_is_there(
    lab: ThreeHosts, listener: socket.socket, tmp_path: Path, short: Path
) -> None:
    where = {"FAITH_RUNTIME_DIRECTORY": str(short)}
    file = tmp_path / "faith.toml"
    file.write_text(FILE)
    faithd = Faithd(lab.gateway, tmp_path / "log", "--config", str(file), **where)
    faithd.wait_said("serving")

    def values(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        environment = {**ENVIRONMENT, **where, **words, "_FAITH_COMPLETE": "complete_bash"}
        argv = [sys.executable, "-m", "faith.cli.faith"]
        return lab.gateway.run(argv, env=environment).stdout.split()

    assert values("faith kill ") == []
    client: socket.socket = lab.client.call(socket.create_connection, (lab.mapped(), PORT), 5)
    server, _ = listener.accept()
    with client, server:
        wait_until(lambda: len(values("faith kill ")) == 1, 10, "the session")
        (session,) = values("faith kill ")
        assert values(f"faith kill {session[:2]}") == [session]
        assert values("faith kill x") == []
        assert values("faith map del ") == ["203.0.113.7"]
        assert values("faith upgrade ") == [str(faithd.process.pid)]
        assert values("faith sessions --control ") == [str(short / "control.sock")]
        assert values("faith sessions --sort se") == ["server", "seconds", "sent"]
    assert faithd.stop() == 0
