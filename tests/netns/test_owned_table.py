"""The table of one faithd: nobody else's to change, and gone with the process."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.errors import PermissionNeeded, SetupError
from faith.kernel.nft.expressions import accept, daddr_in, dport_in
from faith.kernel.nft.nftables import Nftables
from faith.kernel.nft.ruleset import Chain, Hook, Rule
from faith.kernel.steering.owned import SteeringTable, steering_table
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix
from tests.netns.rights import without_capabilities

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.netns.conftest import Fork

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

PREFIX = Prefix.parse("2001:db8:ffff::/96")
OTHER = Prefix.parse("2001:db8:fffe::/96")
PORTS = Ports([(80, 80)])
RULE = Rule("", daddr_in("prefixes") + dport_in("ports") + accept())
CHAINS = (Chain("steer", (RULE,), Hook("filter", "prerouting", -150)),)


def make() -> SteeringTable:
    return steering_table("tproxy", PORTS, [PREFIX], CHAINS)


def exists(pid: int) -> bool:
    with Nftables() as nft:
        return nft.exists(f"faith-{pid}")


def test_it_is_there_until_it_is_closed() -> None:
    table = make()
    assert exists(os.getpid())
    table.close()
    assert not exists(os.getpid())


def test_it_is_gone_when_the_process_is_killed(fork: Fork) -> None:
    def live(report: Callable[[object], None]) -> None:
        table = make()
        report(os.getpid())
        signal.pause()
        table.close()

    child = fork(live)
    pid = child.report()
    assert exists(pid)
    child.kill()
    assert not exists(pid)


def test_a_program_that_is_started_does_not_keep_it() -> None:
    table = make()
    with subprocess.Popen(["sleep", "60"], close_fds=False) as program:
        table.close()
        assert not exists(os.getpid())
        program.kill()


def test_a_forked_process_keeps_it_unless_it_closes_its_copy(fork: Fork) -> None:
    table = make()

    def live(report: Callable[[object], None]) -> None:
        report("up")
        signal.sigwait([signal.SIGUSR1])
        table.close()
        report("closed")
        signal.pause()

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        child = fork(live)
        assert child.report() == "up"
        table.close()
        assert exists(os.getpid())
        os.kill(child.pid, signal.SIGUSR1)
        assert child.report() == "closed"
        assert not exists(os.getpid())
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])


def test_two_processes_have_one_each(fork: Fork) -> None:
    def live(report: Callable[[object], None]) -> None:
        table = make()
        report(os.getpid())
        signal.pause()
        table.close()

    pids = [fork(live).report() for _ in range(2)]
    assert [exists(pid) for pid in pids] == [True, True]


def test_a_second_one_in_a_process_is_refused() -> None:
    table = make()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(SetupError, match=f"the table ip6 faith-{os.getpid()} belongs to another"):
        make()
    assert os.listdir("/proc/self/fd") == before
    table.close()


def test_the_missing_right_is_named() -> None:
    with pytest.raises(PermissionNeeded, match="CAP_NET_ADMIN"):
        without_capabilities(make)
    table = make()
    with pytest.raises(PermissionNeeded, match="CAP_NET_ADMIN"):
        without_capabilities(lambda: table.set_prefixes([OTHER]))
    table.close()
