"""The next program takes over from the one that serves: nobody who is connected notices."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import faith
from faith.cli.faith import main
from faith.daemon.upgrade.inherited_state import VERSION
from faith.kernel.netlink import routes
from faith.lab import wait_until
from faith.lab.topology import PREFIX
from tests.faithd import WITHOUT_BPF, Faithd
from tests.netns.ftp_server import FtpServer

if TYPE_CHECKING:
    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns

PORT = 2323
OTHER = "2001:db8:fffe::/96"


@pytest.fixture(params=["route", "sk_lookup", "tproxy", "redirect"])
def via(request: pytest.FixtureRequest) -> str:
    """Each way of steering that is possible here."""
    if request.param == "sk_lookup":
        request.getfixturevalue("bpf_allowed")
    return str(request.param)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the program, to be changed while it runs; it waits for less at a trial."""
    assert faith.__file__
    root = tmp_path / "installed"
    shutil.copytree(Path(faith.__file__).parent, root / "faith")
    edit(root, "daemon/upgrade/trial.py", "PATIENCE = 30.0", "PATIENCE = 6.0")
    return root


def run_from(root: Path) -> dict[str, str]:
    """The environment in which the program is the one in *root*, wherever it is started."""
    return {"PYTHONPATH": str(root), "PYTHONSAFEPATH": "1"}


def edit(root: Path, name: str, old: str, new: str) -> None:
    """Change a file, which keeps its time, as if whoever installs the program set it."""
    path = root / "faith" / name
    text = path.read_text()
    assert old in text
    time = path.stat().st_mtime_ns
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(time, time))


class Session:
    """A connection through the gateway, by both its ends."""

    def __init__(self, lab: ThreeHosts, listener: socket.socket) -> None:
        self.client: socket.socket = lab.client.call(
            socket.create_connection, (lab.mapped(), PORT), 5
        )
        self.server, _ = listener.accept()
        self.server.settimeout(5)

    def check(self) -> None:
        """Something comes through, and something comes back."""
        for one, other in ((self.client, self.server), (self.server, self.client)):
            one.sendall(b"still there?")
            assert other.recv(100) == b"still there?"

    def end(self) -> None:
        self.client.close()
        assert self.server.recv(1) == b""
        self.server.close()


def test_a_session_outlives_its_program_twice(
    lab: ThreeHosts, listener: socket.socket, via: str, tmp_path: Path
) -> None:
    faithd = Faithd(lab.gateway, tmp_path / "log", f"--via={via}", "-P", PREFIX, str(PORT))
    faithd.wait_said("serving")
    session = Session(lab, listener)
    for number in (2, 3):
        before = faithd.workers
        faithd.signal(signal.SIGUSR2)
        faithd.wait_said(f"upgraded to program {number}", seconds=30)
        assert not {*before} & {*faithd.workers}
        session.check()
        another = Session(lab, listener)
        another.check()
        another.end()
    session.end()
    faithd.wait_said("end=closed", 3)
    assert faithd.stop() == 0
    with lab.gateway.inside():
        assert routes.reserved() == []


BREAKS = {
    "not even Python": ("daemon/services/worker.py", "import uvloop\n", "import uvloop\n?\n"),
    "an error at its start": ("daemon/supervisor.py", "def _set_up(", "def _set_up_no("),
    "workers that fail": (
        "daemon/process/preamble.py",
        "        _, most =",
        "        1 / 0\n        _, most =",
    ),
    "one that knows no such legacy": (
        "daemon/upgrade/inherited_state.py",
        f"VERSION = {VERSION}",
        f"VERSION = {VERSION + 1}",
    ),
    "one that hangs": (
        "daemon/supervisor.py",
        '        """Do every step that can fail',
        '        time.sleep(60)\n        """Do every step that can fail',
    ),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_the_old_program_outlives_a_new_one_that_does_not_come_up(
    lab: ThreeHosts, listener: socket.socket, installed: Path, tmp_path: Path, broken: str
) -> None:
    log = tmp_path / "log"
    faithd = Faithd(lab.gateway, log, "-P", PREFIX, str(PORT), **run_from(installed))
    faithd.wait_said("serving")
    before = faithd.workers
    session = Session(lab, listener)
    name, old, new = BREAKS[broken]
    edit(installed, name, old, new)
    faithd.signal(signal.SIGUSR2)
    faithd.wait_said("not upgraded: the new program", seconds=30)
    assert faithd.workers == before
    session.check()
    edit(installed, name, new, old)
    faithd.signal(signal.SIGUSR2)
    faithd.wait_said("upgraded to program 2", seconds=30)
    session.check()
    another = Session(lab, listener)
    another.end()
    session.end()
    assert faithd.stop() == 0


def test_rules_that_are_wrong_stop_an_upgrade_and_good_ones_hold_after_it(
    lab: ThreeHosts, listener: socket.socket, tmp_path: Path
) -> None:
    rules = tmp_path / "rules"
    rules.write_text("")
    faithd = Faithd(
        lab.gateway, tmp_path / "log", "-f", str(rules), "-P", PREFIX, "-P", OTHER, str(PORT)
    )
    faithd.wait_said("serving")
    session = Session(lab, listener)
    rules.write_text("nonsense\n")
    faithd.signal(signal.SIGUSR2)
    faithd.wait_said("not upgraded: the new program", seconds=30)
    assert f"{rules}:1" in faithd.said
    rules.write_text("::/0 deny 0.0.0.0/0\n")
    faithd.signal(signal.SIGUSR2)
    faithd.wait_said("upgraded to program 2", seconds=30)
    session.check()
    with (
        pytest.raises(ConnectionResetError),
        lab.client.call(socket.create_connection, (lab.mapped(), PORT), 5) as refused,
    ):
        refused.recv(1)
    session.end()
    assert faithd.stop() == 0
    with lab.gateway.inside():
        assert routes.reserved() == []


def test_the_command_tells_what_came_of_it(
    lab: ThreeHosts, installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    faithd = Faithd(lab.gateway, log, "-P", PREFIX, str(PORT), **run_from(installed))
    faithd.wait_said("serving")
    with lab.gateway.inside():
        assert main(["upgrade"]) == 0
        assert re.match(rf"upgraded faithd {PORT} \(pid \d+\)\n", capsys.readouterr().out)
        edit(installed, *BREAKS["one that knows no such legacy"])
        assert main(["upgrade"]) == 1
        assert "was not upgraded" in capsys.readouterr().err
        assert main(["upgrade", "1"]) == 1
        assert "process 1 is not a faithd" in capsys.readouterr().err
        assert faithd.stop() == 0
        assert main(["upgrade"]) == 1
        assert "no faithd is running here" in capsys.readouterr().err


def test_it_can_be_stopped_while_a_program_is_on_trial(
    lab: ThreeHosts, installed: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    faithd = Faithd(lab.gateway, log, "-P", PREFIX, str(PORT), **run_from(installed))
    faithd.wait_said("serving")
    faithd.signal(signal.SIGUSR2)
    faithd.wait_said("trying the new program")
    assert faithd.stop() == 0
    with lab.gateway.inside():
        assert routes.reserved() == []
    wait_until(lambda: "upgraded to" not in faithd.said, 1, "no upgrade")


@pytest.mark.parametrize("by", [(), WITHOUT_BPF], ids=["BPF", "nftables"])
def test_encrypted_ftp_has_its_data_connections_afterwards(
    lab: ThreeHosts, tmp_path: Path, by: tuple[str, ...]
) -> None:
    server = FtpServer(lab.server)
    faithd = Faithd(lab.gateway, tmp_path / "log", "-P", PREFIX, "21", by=by)
    faithd.wait_said("serving")
    control: socket.socket = lab.client.call(socket.create_connection, (lab.mapped(), 21), 5)
    data: socket.socket = lab.server.call(socket.create_server, ("", 40000))
    data.settimeout(5)
    with control, data, control.makefile("rb") as replies:
        assert [replies.readline()[:4] for _ in range(2)] == [b"220-", b"220 "]
        control.sendall(b"AUTH TLS\r\n")
        assert replies.readline() == b"234 Go ahead\r\n"
        for number in (2, 3):
            faithd.signal(signal.SIGUSR2)
            faithd.wait_said(f"upgraded to program {number}", seconds=30)
            with lab.client.call(socket.create_connection, (lab.mapped(), 40000), 5) as client:
                peer, _ = data.accept()
                with peer:
                    peer.sendall(b"a list")
                    assert client.recv(100) == b"a list"
    server.close()
    assert faithd.stop() == 0
