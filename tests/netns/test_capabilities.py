from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from faith.kernel.process import capabilities

if TYPE_CHECKING:
    from tests.netns.conftest import Fork, Report

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("real_root")]


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


def test_who_is_not_root_stays_who_it_is(fork: Fork) -> None:
    def body(report: Report) -> object:
        capabilities.drop("nobody", keep=["CAP_NET_RAW"])
        return capabilities.drop("daemon"), status()["CapPrm"]

    dropped, left = fork(body).report()
    assert dropped.uid == pwd.getpwnam("nobody").pw_uid
    assert left == 0


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
    def only_effective(user: str, uid: int, gid: int) -> None:
        os.setresuid(uid, uid, 0)

    monkeypatch.setattr(capabilities, "_become", only_effective)

    def body(report: Report) -> None:
        capabilities.drop("nobody")

    with pytest.raises(Exception, match=r"SetupError: .*could become root again"):
        fork(body).report()


def test_a_user_namespace_without_the_user_loses_its_capabilities_only() -> None:
    script = (
        "from faith.kernel.process import capabilities\n"
        "print(len(capabilities.effective()) > 30, *capabilities.drop('nobody'))\n"
        "print(len(capabilities.effective()))"
    )
    run = subprocess.run(
        ["unshare", "-Ur", sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert run.stdout.split("\n")[:2] == ["True 0 0 frozenset()", "0"]


def test_executed_programs_gain_nothing(fork: Fork) -> None:
    def body(report: Report) -> object:
        capabilities.drop("root")
        grep = ["grep", "-E", "^Cap(Prm|Eff)", "/proc/self/status"]
        return subprocess.run(grep, capture_output=True, text=True, check=True).stdout

    assert fork(body).report().split() == ["CapPrm:", "0" * 16, "CapEff:", "0" * 16]
