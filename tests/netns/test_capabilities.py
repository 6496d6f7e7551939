from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from faith.errors import PermissionNeeded
from faith.kernel.process import capabilities

if TYPE_CHECKING:
    from tests.netns.conftest import Fork, Report

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("real_root")]


def become_daemon(*names: str) -> None:
    """Become the user daemon with these capabilities, as a service of systemd's that has them."""
    libc, kept = ctypes.CDLL(None), capabilities._mask(names)
    capabilities._prctl(8, 1)  # PR_SET_KEEPCAPS
    os.setgroups([])
    daemon = pwd.getpwnam("daemon")
    os.setresgid(*[daemon.pw_gid] * 3)
    os.setresuid(*[daemon.pw_uid] * 3)
    capabilities._set_capabilities(kept, kept)
    for name in names:
        assert libc.prctl(47, 2, capabilities._NAMES.index(name), 0, 0) == 0  # ambient
    capabilities._prctl(4, 1)  # PR_SET_DUMPABLE, as execve(2) leaves it


def status() -> dict[str, int]:
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")
    return {name: int(fields[name], 16) for name in names}


def test_after_the_drop_nothing_is_left_and_nothing_comes_back(fork: Fork) -> None:
    def body(report: Report) -> Any:
        report(capabilities.drop("nobody"))
        report(status())
        report((os.getresuid(), os.getresgid(), os.getgroups()))
        try:
            os.setuid(0)
        except PermissionError:
            return "refused"

    child = fork(body)
    entry = pwd.getpwnam("nobody")
    assert child.report() == (entry.pw_uid, entry.pw_gid, frozenset())
    kept = child.report()
    assert kept.pop("NoNewPrivs") == 1
    assert set(kept.values()) == {0}
    assert child.report() == ((entry.pw_uid,) * 3, (entry.pw_gid,) * 3, [])
    assert child.report() == "refused"


def test_what_is_kept_works_and_is_all_there_is(fork: Fork) -> None:
    def body(report: Report) -> object:
        report(capabilities.drop("nobody", keep=["CAP_NET_RAW"]).kept)
        report(capabilities.effective())
        return status()

    child = fork(body)
    assert child.report() == child.report() == {"CAP_NET_RAW"}
    kept = child.report()
    assert kept["CapPrm"] == kept["CapEff"] == 1 << 13
    assert kept["CapBnd"] == kept["CapInh"] == kept["CapAmb"] == 0


def test_what_was_dropped_cannot_be_kept(fork: Fork) -> None:
    def body(report: Report) -> None:
        capabilities.drop("nobody", keep=["CAP_NET_RAW"])
        capabilities.drop("nobody", keep=["CAP_NET_RAW", "CAP_NET_ADMIN"])

    with pytest.raises(Exception, match=r"PermissionNeeded: .*needs CAP_NET_ADMIN"):
        fork(body).report()


def test_who_cannot_become_the_user_refuses_and_may_stay_who_it_is(fork: Fork) -> None:
    def body(report: Report) -> object:
        capabilities.drop("nobody", keep=["CAP_NET_RAW"])
        with pytest.raises(PermissionNeeded, match="become daemon: needs CAP_SETGID and CAP_SET"):
            capabilities.drop("daemon")
        report(capabilities.default_user())
        report(capabilities.drop("nobody", keep=["CAP_NET_RAW"]).uid)
        report(capabilities.drop(str(os.getuid())).uid)
        return status()["CapPrm"]

    child = fork(body)
    number = pwd.getpwnam("nobody").pw_uid
    assert [child.report() for _ in range(4)] == ["nobody", number, number, 0]


def test_who_is_not_root_becomes_the_user_with_the_capabilities_for_it(fork: Fork) -> None:
    def body(report: Report) -> object:
        become_daemon("CAP_SETUID", "CAP_SETGID", "CAP_NET_RAW")
        return capabilities.drop("nobody", keep=["CAP_NET_RAW"]), status()["CapPrm"]

    dropped, left = fork(body).report()
    assert dropped.uid == pwd.getpwnam("nobody").pw_uid
    assert left == 1 << 13


def test_a_process_cannot_be_read_by_another_of_its_user(fork: Fork) -> None:
    """A worker that keeps the user of its supervisor, by a program of that user."""

    def worker(report: Report) -> None:
        become_daemon("CAP_NET_ADMIN")
        capabilities.drop("daemon")
        report("ready")
        signal.pause()

    def curious(report: Report) -> object:
        become_daemon()
        try:
            return Path(f"/proc/{target.pid}/maps").read_text()
        except PermissionError:
            return "refused"

    target = fork(worker)
    target.report()
    assert fork(curious).report() == "refused"


def test_what_is_given_up_comes_back_to_programs_of_root_only(fork: Fork) -> None:
    def body(report: Report) -> object:
        capabilities.reduce(["CAP_NET_RAW", "CAP_SETUID"])
        report(capabilities.effective())
        report(status()["CapPrm"])
        grep = ["grep", "-c", "^CapEff.*ff$", "/proc/self/status"]
        return subprocess.run(grep, capture_output=True, text=True, check=True).stdout

    child = fork(body)
    assert child.report() == {"CAP_NET_RAW", "CAP_SETUID"}
    assert child.report() == 1 << 13 | 1 << 7
    assert child.report() == "1\n"


def test_what_is_kept_stays_ambient(fork: Fork) -> None:
    """As a supervisor that systemd has given its capabilities needs it for an upgrade."""

    def body(report: Report) -> object:
        become_daemon("CAP_NET_RAW", "CAP_NET_ADMIN")
        capabilities.reduce(["CAP_NET_RAW", "CAP_SYS_ADMIN"])
        grep = ["grep", "CapEff", "/proc/self/status"]
        return subprocess.run(grep, capture_output=True, text=True, check=True).stdout

    assert fork(body).report().split() == ["CapEff:", f"{1 << 13:016x}"]


def test_root_that_cannot_change_users_is_an_error_naming_what_it_needs(fork: Fork) -> None:
    def body(report: Report) -> None:
        capabilities.drop("root", keep=["CAP_SETGID"])
        capabilities.drop("nobody")

    with pytest.raises(Exception, match=r"PermissionNeeded: .*become nobody: needs CAP_SETUID "):
        fork(body).report()


def test_privileges_that_remain_are_noticed(fork: Fork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "_set_capabilities", lambda mask: None)

    def body(report: Report) -> None:
        capabilities.drop("root")

    with pytest.raises(Exception, match=r"SetupError: .*the CapEff set is off by CAP_AUDIT"):
        fork(body).report()


def test_a_way_back_to_root_is_noticed(fork: Fork, monkeypatch: pytest.MonkeyPatch) -> None:
    def only_effective(uid: int, gid: int) -> None:
        os.setresuid(uid, uid, 0)

    monkeypatch.setattr(capabilities, "_become", only_effective)

    def body(report: Report) -> None:
        capabilities.drop("nobody")

    with pytest.raises(Exception, match=r"SetupError: .*could become root again"):
        fork(body).report()


def test_a_user_namespace_without_the_user_refuses_it_and_loses_its_capabilities() -> None:
    script = (
        "from faith.kernel.process import capabilities\n"
        "try: capabilities.drop('nobody')\n"
        "except Exception as error: print(error)\n"
        "user = capabilities.default_user()\n"
        "print(len(capabilities.effective()) > 30, user, *capabilities.drop(user))\n"
        "print(len(capabilities.effective()))"
    )
    run = subprocess.run(
        ["unshare", "-Ur", sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    refusal, *lines = run.stdout.split("\n")
    assert "become nobody: this user namespace does not have that user" in refusal
    assert lines[:2] == ["True root 0 0 frozenset()", "0"]


def test_executed_programs_gain_nothing(fork: Fork) -> None:
    def body(report: Report) -> object:
        capabilities.drop("root")
        grep = ["grep", "-E", "^Cap(Prm|Eff)", "/proc/self/status"]
        return subprocess.run(grep, capture_output=True, text=True, check=True).stdout

    assert fork(body).report().split() == ["CapPrm:", "0" * 16, "CapEff:", "0" * 16]
