from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from faith.errors import PermissionNeeded, SetupError
from faith.kernel.bpf import bpf
from faith.kernel.descriptor import close_others
from faith.kernel.process import capabilities
from faith.kernel.steering import sk_lookup
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.kernel.steering.base import Steering
    from tests.netns.conftest import Arrive, Fork, Report

    Served = Callable[[Steering, str, int], bool]

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed", "gateway")]

PREFIX = Prefix.parse("2001:db8:ffff::/96")
MAPPED = "2001:db8:ffff::c633:6402"
OWN = "2001:db8:6::1"
ALL = Ports([(1, 65535)])


def only(number: int) -> Ports:
    return Ports([(number, number)])


@pytest.fixture
def gateway(private_network: None) -> None:
    """The prefix, and more around it, is local; the gateway has an address of its own."""
    subprocess.run(["ip", "route", "add", "local", "2001:db8::/32", "dev", "lo"], check=True)
    subprocess.run(["ip", "address", "add", f"{OWN}/64", "dev", "lo", "nodad"], check=True)


@pytest.fixture
def served(arrive: Arrive) -> Served:
    """``served(steering, address, port)``: it arrives, and with its destination."""

    def served(steering: Steering, address: str, port: int) -> bool:
        try:
            _, accepted = arrive([one for (one,) in steering.listeners], address, port)
        except ConnectionRefusedError:
            return False
        with accepted:
            assert accepted.getsockname()[:2] == (address, port)
        return True

    return served


def test_any_port_arrives_on_one_listener_with_its_destination(served: Served) -> None:
    with sk_lookup.create(ALL, [PREFIX], 1) as steering:
        numbers = [1, 7, 8, 21, 80, 255, 256, 1023, 1024, 8080, 32767, 32768, 65528, 65535]
        assert all(served(steering, MAPPED, number) for number in numbers)


def test_ports_beside_those_asked_for_are_not_steered(served: Served) -> None:
    ranges = [(7, 8), (255, 256), (32768, 40000), (65535, 65535)]
    with sk_lookup.create(Ports(ranges), [PREFIX], 1) as steering:
        for first, last in ranges:
            assert served(steering, MAPPED, first)
            assert served(steering, MAPPED, last)
            assert not served(steering, MAPPED, first - 1)
            assert last == 65535 or not served(steering, MAPPED, last + 1)


def test_prefixes_of_several_lengths_are_steered_and_nothing_beside_them(served: Served) -> None:
    texts = ["2001:db8:ffff::/96", "2001:db8:64::/64", "2001:db8:4000::/40", "2001:db8:8000::/33"]
    prefixes = [Prefix.parse(text, "low32") for text in texts]
    with sk_lookup.create(only(80), prefixes, 1) as steering:
        for address in (MAPPED, "2001:db8:64::1", "2001:db8:40ab::1", "2001:db8:9000::1"):
            assert served(steering, address, 80)
        for address in ("2001:db8:64:1::1", "2001:db8:4100::1", OWN):
            assert not served(steering, address, 80)


def test_ten_thousand_prefixes_fit_and_all_of_them_can_change_at_once(served: Served) -> None:
    def many(base: int) -> list[Prefix]:
        return [Prefix((0x2001_0DB8_0000_0000 | base | n) << 64, 64) for n in range(10_000)]

    with sk_lookup.create(only(80), many(0x1000_0000), 1) as steering:
        assert served(steering, "2001:db8:1000:270f::1", 80)
        steering.set_prefixes(many(0x2000_0000))
        assert served(steering, "2001:db8:2000:270f::1", 80)
        assert not served(steering, "2001:db8:1000:270f::1", 80)


def test_a_bystander_keeps_its_own_connections_and_gets_none_of_the_prefix(arrive: Arrive) -> None:
    with (
        socket.create_server(("::", 8080), family=socket.AF_INET6) as bystander,
        sk_lookup.create(only(8080), [PREFIX], 1) as steering,
    ):
        both = [bystander, *steering.listeners[0]]
        for address, number in ((OWN, 0), (MAPPED, 1), ("::1", 0)):
            who, accepted = arrive(both, address, 8080)
            accepted.close()
            assert who == number


def test_two_processes_serve_two_services_in_one_namespace(fork: Fork) -> None:
    def serving(number: int) -> Callable[[Report], object]:
        def body(report: Report) -> object:
            with sk_lookup.create(only(number), [PREFIX], 1) as steering:
                report("ready")
                (listener,) = steering.listeners[0]
                with socket.socket(fileno=listener.detach()) as server:
                    server.settimeout(5)
                    with server.accept()[0] as accepted:
                        return accepted.getsockname()[:2]

        return body

    children = {number: fork(serving(number)) for number in (23, 80)}
    assert [child.report() for child in children.values()] == ["ready", "ready"]
    for number, child in children.items():
        socket.create_connection((MAPPED, number), timeout=5).close()
        assert child.report() == (MAPPED, number)


def test_of_two_programs_for_one_port_the_first_has_it_until_it_goes(served: Served) -> None:
    with (
        sk_lookup.create(only(80), [PREFIX], 1) as first,
        sk_lookup.create(ALL, [PREFIX], 1) as later,
    ):
        assert served(first, MAPPED, 80)
        assert served(later, MAPPED, 81)
        first.close()
        assert served(later, MAPPED, 80)


def test_workers_share_the_connections(arrive: Arrive) -> None:
    with sk_lookup.create(ALL, [PREFIX], 2) as steering:
        listeners = [one for (one,) in steering.listeners]
        taken: Counter[int] = Counter()
        for number in range(2000, 2040):
            who, accepted = arrive(listeners, MAPPED, number)
            accepted.close()
            taken[who] += 1
    assert set(taken) == {0, 1}


def test_accepted_sockets_inherit_what_the_relay_relies_on(arrive: Arrive) -> None:
    with sk_lookup.create(only(80), [PREFIX], 1) as steering:
        _, accepted = arrive(steering.listeners[0], MAPPED, 80)
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)
            assert accepted.getsockopt(socket.IPPROTO_IPV6, 75)  # IPV6_TRANSPARENT: for the guard


def test_close_gives_everything_back(served: Served) -> None:
    before = os.listdir("/proc/self/fd")
    with sk_lookup.create(only(80), [PREFIX], 2) as steering:
        pass
    assert os.listdir("/proc/self/fd") == before
    assert not served(steering, MAPPED, 80)


def test_a_failure_on_the_way_gives_everything_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise OSError(22, "Invalid argument")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(bpf, "link", fails)
    with pytest.raises(SetupError, match="bring in the sk_lookup program: Invalid argument"):
        sk_lookup.create(only(80), [PREFIX], 2)
    assert os.listdir("/proc/self/fd") == before


def test_a_killed_process_leaves_nothing_steered(fork: Fork, served: Served) -> None:
    def body(report: Report) -> object:
        steering = sk_lookup.create(only(80), [PREFIX], 1)
        report("ready")
        signal.pause()
        return steering

    child = fork(body)
    child.report()
    socket.create_connection((MAPPED, 80), timeout=5).close()
    child.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((MAPPED, 80), timeout=5)


def test_a_worker_that_outlives_its_parent_steers_nothing(fork: Fork) -> None:
    def body(report: Report) -> None:
        steering = sk_lookup.create(only(80), [PREFIX], 2)
        ended, end = os.pipe()
        worker = os.fork()
        if worker == 0:
            close_others(steering.listeners[1])
            signal.pause()
        os.close(end)
        assert os.read(ended, 1) == b"", "the worker has closed its copy"
        report((worker, steering.listeners[1][0].getsockname()[1]))
        signal.pause()

    child = fork(body)
    worker, port = child.report()
    try:
        socket.create_connection((MAPPED, 80), timeout=5).close()
        child.kill()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((MAPPED, 80), timeout=5)
        socket.create_connection(("::1", port), timeout=5).close()
    finally:
        os.kill(worker, signal.SIGKILL)


def test_prefixes_change_live_and_without_privileges(fork: Fork, served: Served) -> None:
    def body(report: Report) -> object:
        with sk_lookup.create(only(80), [PREFIX], 1) as steering:
            capabilities.drop(capabilities.default_user())
            report((served(steering, MAPPED, 80), served(steering, "2001:db8:1::1", 80)))
            steering.set_prefixes([Prefix.parse("2001:db8:1::/96")])
            return served(steering, MAPPED, 80), served(steering, "2001:db8:1::1", 80)

    child = fork(body)
    assert child.report() == (True, False)
    assert child.report() == (False, True)


@pytest.mark.parametrize("missing", ["", *sk_lookup.CAPABILITIES])
def test_the_declared_capabilities_are_enough_and_each_is_needed(fork: Fork, missing: str) -> None:
    def body(report: Report) -> object:
        capabilities.drop(capabilities.default_user(), keep=set(sk_lookup.CAPABILITIES) - {missing})
        try:
            sk_lookup.create(only(80), [PREFIX], 2).close()
        except PermissionNeeded as error:
            return error.capabilities
        return ("",)

    assert fork(body).report() == (missing,)


def test_in_a_user_namespace_the_reason_is_told() -> None:
    script = (
        "from faith.kernel.steering import sk_lookup; from faith.translation.ports import Ports\n"
        "try: sk_lookup.create(Ports([(80, 80)]), [], 1)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    run = subprocess.run(
        ["unshare", "-Urn", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith("SetupError bring in the sk_lookup program: ")
    assert "with CAP_BPF and CAP_NET_ADMIN held (a user namespace" in run.stdout
