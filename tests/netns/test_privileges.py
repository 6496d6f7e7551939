"""The users and capabilities of a daemon and of its processes, started by root and by others."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.daemon.supervisor import KEPT
from faith.kernel.process import capabilities
from faith.lab import wait_until
from faith.lab.topology import PREFIX
from tests.conftest import do_without
from tests.faithd import ENVIRONMENT, FAITHD, Faithd
from tests.netns.service import PORT, relays

if TYPE_CHECKING:
    from faith.lab import ThreeHosts
    from tests.netns.conftest import Start

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("real_root", "reserved", "echo")]

WITHOUT_KILL = ("setpriv", "--bounding-set=-kill")
NET = ("net_admin", "net_bind_service")
BECOMING = ("setuid", "setgid", "setpcap", "kill")


@pytest.fixture
def reachable() -> None:
    """Skip the test where other users cannot read this program."""
    words = [*as_daemon(), *FAITHD, "--help"]
    if subprocess.run(words, env=ENVIRONMENT, capture_output=True, check=False).returncode:
        do_without("other users cannot read this program")


def as_daemon(*names: str) -> tuple[str, ...]:
    """Return a command prefix that makes a program the user daemon's, with capabilities."""
    sets = ",".join(["-all", *(f"+{name}" for name in names)])
    user = pwd.getpwnam("daemon")
    return (
        *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
        *(f"--inh-caps={sets}", f"--ambient-caps={sets}"),
    )


def effective(pid: int) -> frozenset[str]:
    status = Path(f"/proc/{pid}/status").read_text()
    return capabilities._names(int(status.partition("CapEff:")[2].split()[0], 16))


def owner(pid: int) -> str:
    uid = int(Path(f"/proc/{pid}/status").read_text().partition("Uid:")[2].split()[0])
    return pwd.getpwuid(uid).pw_name


def test_a_supervisor_keeps_what_it_uses_after_an_upgrade_too(
    lab: ThreeHosts, start: Start
) -> None:
    faithd = start("-P", "2001:db8:eeee::/96", str(PORT))
    for programs in 1, 2:
        wait_until(lambda: effective(faithd.process.pid) == {*KEPT}, 20, "the rest given up")
        assert relays(lab)
        if programs == 1:
            faithd.signal(signal.SIGUSR2)
            faithd.wait_said("serving", 2, seconds=20)
    faithd.signal(signal.SIGHUP)
    faithd.wait_said("read again")
    os.kill(faithd.workers[0], signal.SIGKILL)
    faithd.wait_said("was killed by SIGKILL")
    assert relays(lab)
    assert faithd.stop() == 0
    assert "Traceback" not in faithd.said


def test_without_cap_kill_it_warns_and_stops_with_a_message(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    words = ["--drain-timeout=0.1", str(PORT)]
    faithd = Faithd(lab.gateway, tmp_path / "log", *words, by=WITHOUT_KILL)
    faithd.wait_said("serving")
    assert "CAP_KILL is missing: processes of " in faithd.said
    hanging, _ = faithd.workers
    os.kill(hanging, signal.SIGSTOP)
    assert faithd.stop(20) == 0
    assert "cannot be ended: that needs CAP_KILL" in faithd.said
    assert "Traceback" not in faithd.said
    os.kill(hanging, signal.SIGCONT)
    wait_until(lambda: not is_there(hanging), 10, "its own end, as it has no session")


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.usefixtures("reachable")
def test_a_user_that_it_cannot_become_is_refused(lab: ThreeHosts, tmp_path: Path) -> None:
    words = ["--via=tproxy", "--user=nobody", str(PORT)]
    faithd = Faithd(lab.gateway, tmp_path / "log", *words, by=as_daemon(*NET))
    assert faithd.process.wait(30) == 1
    assert "become nobody: needs CAP_SETGID and CAP_SETUID" in faithd.said


@pytest.mark.usefixtures("reachable")
def test_without_a_user_its_processes_are_its_own_users(lab: ThreeHosts, tmp_path: Path) -> None:
    words = ["--via=tproxy", str(PORT)]
    faithd = Faithd(lab.gateway, tmp_path / "log", *words, by=as_daemon(*NET))
    faithd.wait_said("serving")
    assert "cannot find this one" in faithd.said  # /run/faith is root's
    assert {owner(pid) for pid in faithd.workers} == {"daemon"}
    assert not any(map(effective, faithd.workers))
    assert relays(lab)
    assert faithd.stop() == 0


@pytest.mark.usefixtures("reachable")
def test_a_daemon_that_is_not_root_has_its_processes_be_who_they_should(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    words = ["--via=tproxy", "--user=nobody", str(PORT)]
    faithd = Faithd(lab.gateway, tmp_path / "log", *words, by=as_daemon(*NET, *BECOMING))
    faithd.wait_said("serving")
    assert {owner(pid) for pid in faithd.workers} == {"nobody"}
    assert not any(map(effective, faithd.workers))
    assert relays(lab)
    assert faithd.stop() == 0


def test_the_prefix_of_a_daemon_is_released_with_what_it_keeps(
    lab: ThreeHosts, start: Start
) -> None:
    faithd = start("-P", "2001:db8:eeee::/96", str(PORT))
    assert faithd.stop() == 0
    shown = lab.gateway.run(["ip", "-6", "route", "show", "table", "local"]).stdout
    assert "2001:db8:eeee::/96" not in shown
    assert PREFIX in shown
