"""Which processes are believed to be faithds, in a network namespace without any other."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import pytest

from faith.daemon.host.discovery import Announcement, Running, running

if TYPE_CHECKING:
    from tests.netns.conftest import Fork, Report

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]


def serve(report: Report, user: int) -> None:
    os.setresuid(user, user, user)
    announcement = Announcement.create(lambda: Running(1, "telnet", "23", "route", 1, 0.0, [], []))
    report("ready")
    while True:
        select.select([announcement], [], [])
        announcement.answer()


def test_one_of_root_is_believed(fork: Fork) -> None:
    child = fork(lambda report: serve(report, 0))
    child.report()
    assert [found.pid for found in running()] == [child.pid]
    child.kill()
    assert running() == []


@pytest.mark.usefixtures("real_root")
def test_one_of_any_other_user_is_not(fork: Fork) -> None:
    child = fork(lambda report: serve(report, 65534))
    child.report()
    assert running() == []
