"""The ``faith`` command on a gateway of the lab: what it does to the kernel, and what it tells."""

from __future__ import annotations

import json
import os
import platform
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import to_builtins

from faith.cli import prefixes, status, status_lines
from faith.errors import SetupError
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.lab import ThreeHosts, wait_until
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.netns

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
FAITH = [sys.executable, "-m", "faith.cli.faith"]
FAITHD = [sys.executable, "-m", "faith.cli.faithd"]
PREFIX = "2001:db8:ffff::/96"
ROUTE = "local 2001:db8:ffff::/96 dev lo table 255 proto 70 metric 3142"
OTHER = "2001:db8:64::/64"
OTHER_ROUTE = "local 2001:db8:64::/64 dev lo table 255 proto 70 metric 6052"

# Runs its arguments where the kernel knows no nftables: socket(AF_NETLINK, …, NETLINK_NETFILTER)
# fails with EPROTONOSUPPORT.
WITHOUT_NFTABLES = """
import ctypes, os, struct, sys
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 93
rules = [(LOAD, 0, 0, 0), (EQUAL, 0, 5, int(sys.argv[1])), (LOAD, 0, 0, 16), (EQUAL, 0, 3, 16),
    (LOAD, 0, 0, 32), (EQUAL, 0, 1, 12), (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *rule) for rule in rules))
program = struct.pack("@HP", len(rules), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())  # PR_SET_SECCOMP
os.execvp(sys.argv[2], sys.argv[2:])
"""
SOCKET = {"x86_64": 41, "aarch64": 198}  # the number of socket(2)


class Gateway:
    """The gateway of the lab, and the ``faith`` command on it."""

    def __init__(self, lab: ThreeHosts) -> None:
        self.host = lab.gateway

    def tries(self, *words: str, by: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run ``faith`` with *words*, by way of the command *by*."""
        done = self.host.run([*by, *FAITH, *words], check=False, env=ENVIRONMENT)
        assert "Traceback" not in done.stderr
        return done

    def does(self, *words: str) -> str:
        """Return the output of ``faith``, which must succeed without a warning."""
        done = self.tries(*words)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def refuses(self, *words: str, by: tuple[str, ...] = ()) -> str:
        """Why ``faith`` refuses, which must leave everything as it was."""
        before = self.state()
        done = self.tries(*words, by=by)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("faith: ")
        assert done.stderr.count("\n") == 1
        assert self.state() == before
        return done.stderr

    def status(self) -> dict[str, Any]:
        """Return the object of ``faith status --json``, without the time that it takes to start."""
        return self.host.call(lambda: to_builtins(status.read()))

    def warnings(self) -> str:
        """The warnings of it."""
        return "\n".join(status_lines.told(one) for one in self.host.call(status.read).findings)

    def state(self) -> tuple[list[str], guard.GuardState]:
        """All that ``faith`` could change: routes, and the guard."""
        return self.host.links.routes(), self.host.call(guard.inspect)

    def nft(self, command: str) -> str:
        """Return the output of nft(8) for *command*."""
        return self.host.run(["nft", *command.split()]).stdout


@pytest.fixture
def gateway(lab: ThreeHosts) -> Gateway:
    return Gateway(lab)


@pytest.fixture
def listen(gateway: Gateway) -> Iterator[Callable[[int], None]]:
    """Have an ordinary server listen on ``[::]`` of the gateway."""
    servers = []

    def start(port: int) -> None:
        servers.append(
            gateway.host.call(lambda: socket.create_server(("::", port), family=socket.AF_INET6))
        )

    yield start
    for server in servers:
        server.close()


def connect(lab: ThreeHosts, port: int) -> None:
    lab.client.call(lambda: socket.create_connection((lab.mapped(), port), timeout=5).close())


class TestReserving:
    def test_a_prefix_comes_and_goes_without_a_trace(
        self, gateway: Gateway, need: Callable[[str], str]
    ) -> None:
        need("nft")
        before, rules = gateway.state(), gateway.nft("list ruleset")
        assert gateway.does("-e", "-p", "2001:db8:ffff::") == (
            "reserved 2001:db8:ffff::/96 (layout low32)\n"
        )
        assert set(gateway.host.links.routes()) - set(before[0]) == {ROUTE}
        assert "2001:db8:ffff::/96" in gateway.nft("list table ip6 faith")
        assert gateway.does("-d", "-p", "2001:db8:ffff::") == "released 2001:db8:ffff::/96\n"
        assert gateway.state() == before
        assert gateway.nft("list ruleset") == rules

    def test_several_with_another_layout(self, gateway: Gateway) -> None:
        before = gateway.state()
        gateway.does("-e", "-p", PREFIX)
        gateway.does("-e", "-p", OTHER, "-p", "64:ff9b::/96", "--layout", "rfc6052")
        added = set(gateway.host.links.routes()) - set(before[0])
        assert added == {
            ROUTE,
            OTHER_ROUTE,
            "local 64:ff9b::/96 dev lo table 255 proto 70 metric 6052",
        }
        gateway.does("-d", "-p", OTHER)
        assert [(entry["prefix"], entry["guarded"]) for entry in gateway.status()["prefixes"]] == [
            ("64:ff9b::/96", True),
            (PREFIX, True),
        ]
        assert gateway.does("-d") == "released 64:ff9b::/96\nreleased 2001:db8:ffff::/96\n"
        assert gateway.state() == before

    def test_again_is_nothing(self, gateway: Gateway) -> None:
        gateway.does("-e", "-p", PREFIX, "--open", "8080")
        before = gateway.state()
        for words in (["-e", "-p", PREFIX], ["-e"]):
            gateway.does(*words)
            assert gateway.state() == before
        gateway.does("-d")
        assert gateway.does("-d") == "no prefix was reserved\n"
        assert gateway.does("-d", "-p", PREFIX) == "2001:db8:ffff::/96 was not reserved\n"
        wide = "2001:db8:65::/64"  # of whatever layout
        assert gateway.does("-d", "-p", wide) == f"{wide} was not reserved\n"

    def test_many_at_once_are_all_guarded(self, gateway: Gateway) -> None:
        wanted = {f"2001:db8:ffff:{number}::/96" for number in range(1, 5)}
        running = [
            gateway.host.popen([*FAITH, "-e", "-p", prefix], env=ENVIRONMENT) for prefix in wanted
        ]
        assert [command.wait(20) for command in running] == [0] * len(wanted)
        entries = gateway.status()["prefixes"]
        assert {entry["prefix"] for entry in entries if entry["guarded"]} == wanted

    def test_the_commands_it_prints_do_the_same(
        self, gateway: Gateway, need: Callable[[str], str]
    ) -> None:
        need("nft")
        need("ip")
        before = gateway.state()
        words = ["-p", PREFIX, "-p", "64:ff9b::/96", "--open", "23,8000-8100"]
        script = gateway.does("-e", *words, "--print")
        assert gateway.state() == before
        gateway.host.run(["sh", "-e"], stdin=script)
        by_script = gateway.state()
        gateway.host.run(["sh", "-e"], stdin=gateway.does("-d", "--print"))
        assert gateway.state() == before
        gateway.does("-e", *words)
        assert gateway.state() == by_script


class TestGuarding:
    def test_ordinary_servers_do_not_answer_but_on_open_ports(
        self, lab: ThreeHosts, gateway: Gateway, listen: Callable[[int], None]
    ) -> None:
        listen(2323)
        listen(8080)
        gateway.does("-e", "-p", PREFIX, "--open", "8080")
        connect(lab, 8080)
        with pytest.raises(ConnectionRefusedError):
            connect(lab, 2323)
        assert f"8080 {Path('/proc/self/comm').read_text().strip()}" in gateway.tries().stdout

    def test_open_ports_stay_until_others_are_named(self, gateway: Gateway) -> None:
        for words, ports in (
            (["-p", PREFIX, "--open", "8080"], "8080"),
            (["-p", OTHER, "--layout", "rfc6052"], "8080"),
            ([], "8080"),
            (["--open", "25,80"], "25,80"),
            (["--open", "none"], ""),
        ):
            gateway.does("-e", *words)
            assert gateway.status()["guard"]["open_ports"] == ports


class TestRefusing:
    @pytest.mark.parametrize(
        ("wanted", "reason"),
        [
            ("2001:db8:6::/96", "it holds 2001:db8:6::1, an address of to-client"),
            ("2001:db8:6:0:ffff::/96", "it lies in 2001:db8:6::/64, the subnet of to-client"),
            ("2001:db8::/31", "it holds 2001:db8:6::1, an address of to-client"),
            ("::/96", "the unspecified and the loopback address"),
            ("::ffff:0:0/96", "the IPv4-mapped addresses"),
            ("fe80::/65", "the link-local addresses"),
        ],
    )
    def test_a_prefix_that_is_not_free(self, gateway: Gateway, wanted: str, reason: str) -> None:
        message = gateway.refuses("-e", "-p", wanted)
        assert message.startswith(f"faith: reserve {Prefix.parse(wanted)}: ")
        assert reason in message

    def test_a_route_of_somebody_else(self, gateway: Gateway) -> None:
        gateway.host.links.add_route("2001:db8:ffff::/49", "2001:db8:6::2")
        assert "it has a route already" in gateway.refuses("-e", "-p", "2001:db8:ffff::/49")

    def test_an_overlap(self, gateway: Gateway) -> None:
        gateway.does("-e", "-p", PREFIX)
        assert "overlaps 2001:db8:ffff::/96" in gateway.refuses("-e", "-p", "2001:db8:ffff::/65")

    def test_another_layout_until_it_is_released(self, gateway: Gateway) -> None:
        gateway.does("-e", "-p", PREFIX)
        changed = ["-e", "-p", PREFIX, "--layout", "rfc6052"]
        assert "release it first: faith -d -p 2001:db8:ffff::/96" in gateway.refuses(*changed)
        gateway.does("-d", "-p", PREFIX)
        gateway.does(*changed)

    def test_none_of_several_when_one_cannot_be(self, gateway: Gateway) -> None:
        gateway.refuses("-e", "-p", PREFIX, "-p", "2001:db8:6::/96")

    def test_a_guard_for_nothing(self, gateway: Gateway) -> None:
        assert gateway.refuses("-e") == (
            "faith: put the guard back: no prefix is reserved (faith -e -p PREFIX)\n"
        )

    def test_a_failure_half_way_undoes_the_first_half(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gateway.does("-e", "-p", PREFIX, "--open", "8080")
        before = gateway.state()
        reserve = routes.reserve

        def fail_at_last(*prefixes: Prefix) -> None:
            reserve(*prefixes)
            if str(prefixes[-1]) == OTHER:
                raise SetupError("reserve", "no more of these")

        wanted = [Prefix.parse("64:ff9b::"), Prefix.parse(OTHER, "rfc6052")]
        change = gateway.host.call(prefixes.enabling, wanted)
        monkeypatch.setattr(routes, "reserve", fail_at_last)
        with pytest.raises(SetupError, match="no more of these"):
            gateway.host.call(prefixes.apply, change)
        assert gateway.state() == before

    def test_without_a_loopback_interface_nothing_stays(
        self, gateway: Gateway, need: Callable[[str], str]
    ) -> None:
        gateway.host.run([need("ip"), "link", "set", "lo", "down"])
        assert "bring the loopback interface up" in gateway.refuses("-e", "-p", PREFIX)


class TestUnprivileged:
    @pytest.fixture
    def by(self, need: Callable[[str], str]) -> tuple[str, ...]:
        """Without the capability that counts."""
        return (need("setpriv"), "--bounding-set=-net_admin", "--inh-caps=-net_admin")

    @pytest.mark.parametrize("words", [["-e", "-p", PREFIX], ["-d"], ["-d", "-p", PREFIX]])
    def test_the_capability_that_lacks_is_named(
        self, gateway: Gateway, by: tuple[str, ...], words: list[str]
    ) -> None:
        gateway.does("-e", "-p", OTHER, "--layout", "rfc6052")
        assert gateway.refuses(*words, by=by) == (
            "faith: change what is reserved: needs CAP_NET_ADMIN (run it as root)\n"
        )

    def test_the_status_says_what_it_could_not_see(
        self, gateway: Gateway, by: tuple[str, ...]
    ) -> None:
        gateway.does("-e", "-p", PREFIX)
        done = gateway.tries("status", by=by)
        assert done.returncode == 1  # nobody serves
        assert done.stdout.splitlines()[0] == "prefix   2001:db8:ffff::/96, layout low32"
        assert "unseen   guard: needs CAP_NET_ADMIN (run it as root)" in done.stdout

    def test_what_would_be_done_is_for_all_to_see(
        self, gateway: Gateway, by: tuple[str, ...]
    ) -> None:
        done = gateway.tries("-e", "-p", PREFIX, "--print", by=by)
        assert done.returncode == 0
        assert done.stdout.endswith("proto 70 metric 3142\n")


class TestRepairing:
    @pytest.fixture(autouse=True)
    def reserved(self, gateway: Gateway, need: Callable[[str], str]) -> None:
        need("nft")
        gateway.does("-e", "-p", PREFIX)

    def test_after_the_rules_were_flushed(
        self, lab: ThreeHosts, gateway: Gateway, listen: Callable[[int], None]
    ) -> None:
        listen(2323)
        gateway.nft("flush ruleset")
        connect(lab, 2323)
        assert "the guard is off: servers on [::] answer under the prefix too: 2323 " in (
            gateway.warnings()
        )
        assert gateway.does("-e").startswith("the guard was missing: put back")
        with pytest.raises(ConnectionRefusedError):
            connect(lab, 2323)
        assert "the guard" not in gateway.warnings()

    def test_after_the_guard_was_altered(self, gateway: Gateway) -> None:
        before = gateway.state()
        gateway.nft("flush chain ip6 faith reserved")
        assert "the guard has been altered" in gateway.warnings()
        assert gateway.does("-e").startswith("the guard had been altered")
        assert gateway.state() == before

    def test_after_the_prefix_was_taken_out_of_the_guard(self, gateway: Gateway) -> None:
        gateway.nft("flush set ip6 faith prefixes")
        assert "2001:db8:ffff::/96 is not in the guard" in gateway.warnings()
        gateway.does("-e")
        assert "guard" not in gateway.warnings()

    def test_after_the_route_was_deleted(
        self, gateway: Gateway, need: Callable[[str], str]
    ) -> None:
        before = gateway.state()
        gateway.host.run([need("ip"), "-6", "route", "flush", "table", "local", "proto", "70"])
        assert "2001:db8:ffff::/96 is guarded but not reserved" in gateway.warnings()
        gateway.does("-e", "-p", PREFIX)
        assert gateway.state() == before

    def test_when_an_interface_came_into_the_prefix(self, gateway: Gateway) -> None:
        gateway.host.links.add_address("to-client", "2001:db8:ffff::5/128")
        assert "it holds 2001:db8:ffff::5, an address of to-client" in gateway.warnings()


class TestWithoutNftables:
    @pytest.fixture
    def by(self) -> tuple[str, ...]:
        number = SOCKET.get(platform.machine())
        if number is None:
            pytest.skip(f"the number of socket(2) on {platform.machine()} is not known here")
        return (sys.executable, "-c", WITHOUT_NFTABLES, str(number))

    def test_it_works_with_a_warning(
        self, gateway: Gateway, by: tuple[str, ...], listen: Callable[[int], None]
    ) -> None:
        before = gateway.state()
        listen(2323)
        done = gateway.tries("-e", "-p", PREFIX, by=by)
        assert (done.returncode, done.stdout) == (0, "reserved 2001:db8:ffff::/96 (layout low32)\n")
        assert done.stderr.startswith(
            "faith: warning: no guard, because this kernel has no nftables: servers on"
        )
        assert "2323 " in done.stderr
        assert set(gateway.host.links.routes()) - set(before[0]) == {ROUTE}
        assert (
            "no guard, because this kernel has no nftables" in gateway.tries("status", by=by).stdout
        )
        done = gateway.tries("-d", by=by)
        assert (done.returncode, done.stderr) == (0, "")
        assert gateway.state() == before


class TestStatus:
    def test_a_faithd_is_seen_while_it_runs(self, lab: ThreeHosts, gateway: Gateway) -> None:
        gateway.does("-e", "-p", PREFIX)
        assert "no faithd is running" in gateway.warnings()
        options = ["-F", "--via", "route", "--workers", "1", "2323,2324"]
        faithd = lab.gateway.popen([*FAITHD, *options], env=ENVIRONMENT)
        lab.gateway.wait_listening(2324, program=faithd)
        serving = rf"ports 2323-2324, by route, 1 worker, pid {faithd.pid}, for \d+ s, 0 sessions"
        assert re.search(rf"^faithd   {serving}$", gateway.tries().stdout, re.MULTILINE)
        (running,) = json.loads(gateway.tries("status", "--json").stdout)["daemons"]
        assert (running["pid"], running["prefixes"]) == (faithd.pid, [PREFIX])
        assert "faithd" not in gateway.warnings()
        faithd.terminate()
        faithd.wait(10)
        assert "no faithd is running" in gateway.warnings()

    def test_a_running_faithd_relays_from_a_prefix_that_comes_later(
        self, lab: ThreeHosts, gateway: Gateway
    ) -> None:
        faithd = lab.gateway.popen([*FAITHD, "-F", "--workers", "1", "2323"], env=ENVIRONMENT)
        lab.gateway.wait_listening(2323, program=faithd)
        assert f"faithd 2323 (pid {faithd.pid}) has no prefix to relay from" in gateway.warnings()
        gateway.does("-e", "-p", PREFIX)
        wait_until(lambda: "faithd" not in gateway.warnings(), 5, "a faithd without warnings")

    def test_a_way_to_the_world_is_missed(self, lab: ThreeHosts, gateway: Gateway) -> None:
        gateway.does("-e", "-p", PREFIX)
        assert "no IPv4 route to the world" in gateway.warnings()
        lab.gateway.links.add_route("default", "192.0.2.80")
        assert "no IPv4 route" not in gateway.warnings()


def test_addresses_are_those_of_the_reserved_prefixes(gateway: Gateway) -> None:
    gateway.does("-e", "-p", PREFIX)
    gateway.does("-e", "-p", OTHER, "--layout", "rfc6052")
    assert gateway.does("addr", "192.0.2.80") == (
        "2001:db8:64:0:c0:2:5000:0\n2001:db8:ffff::192.0.2.80\n"
    )
    assert gateway.does("addr", "2001:db8:64:0:c0:2:5000:0") == "192.0.2.80\n"
