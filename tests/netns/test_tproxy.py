"""Steering by tproxy, from another host and from the gateway, with the guard in place."""

from __future__ import annotations

import os
import select
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from faith.kernel.descriptor import close_others
from faith.kernel.nft.nftables import Nftables
from faith.kernel.steering import tproxy
from faith.lab.topology import GATEWAY_V6
from faith.translation.ports import Ports
from tests.netns.steered import ALL, ALSO_MAPPED, HTTP, MAPPED, OTHER, PREFIX, accept, everyone

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import ThreeHosts
    from tests.netns.conftest import Arrive, Fork

pytestmark = pytest.mark.netns


@pytest.mark.usefixtures("on_gateway")
class TestArrival:
    @pytest.mark.parametrize("port", [1, 80, 6464, 65535])
    def test_with_the_original_destination(
        self, port: int, from_client: Arrive, arrive: Arrive
    ) -> None:
        with tproxy.create(ALL, [PREFIX], 1) as steering:
            for connect in (from_client, arrive):
                _, accepted = connect(everyone(steering), MAPPED, port)
                with accepted:
                    assert accepted.getsockname()[:2] == (MAPPED, port)

    def test_without_a_rule_for_marked_packets(self, lab: ThreeHosts, from_client: Arrive) -> None:
        with tproxy.create(HTTP, [PREFIX], 1) as steering:
            from_client(everyone(steering), MAPPED, 80)[1].close()
            rules = lab.gateway.run(["ip", "-6", "rule"]).stdout.split("\n")
            assert [line.split(":")[0] for line in rules if line] == ["0", "32766"]

    def test_at_every_worker(self, from_client: Arrive) -> None:
        with tproxy.create(HTTP, [PREFIX], 2) as steering:
            reached = set()
            for _ in range(40):
                worker, accepted = from_client(everyone(steering), MAPPED, 80)
                accepted.close()
                reached.add(worker)
            assert reached == {0, 1}

    def test_of_data_in_both_directions(self, lab: ThreeHosts) -> None:
        with tproxy.create(HTTP, [PREFIX], 1) as steering:
            ((listener,),) = steering.listeners
            with lab.client.inside():
                near = socket.create_connection((MAPPED, 80), timeout=2)
            with near, accept(listener) as far:
                far.settimeout(2)
                near.sendall(b"to the server")
                assert far.recv(100) == b"to the server"
                far.sendall(b"to the client")
                assert near.recv(100) == b"to the client"


@pytest.mark.usefixtures("on_gateway")
class TestOthers:
    def test_another_daemon_keeps_its_own_traffic(self, from_client: Arrive) -> None:
        with socket.create_server(("::", 80), family=socket.AF_INET6) as other:
            with tproxy.create(HTTP, [PREFIX], 1) as steering:
                for who, address in enumerate((GATEWAY_V6, MAPPED)):
                    reached, accepted = from_client([other, *everyone(steering)], address, 80)
                    accepted.close()
                    assert reached == who
            with pytest.raises(ConnectionRefusedError):
                from_client([other], MAPPED, 80)

    @pytest.mark.parametrize("address", [GATEWAY_V6, MAPPED])
    def test_the_listeners_own_port_is_no_way_in(self, address: str, from_client: Arrive) -> None:
        with tproxy.create(HTTP, [PREFIX], 1) as steering:
            port = everyone(steering)[0].getsockname()[1]
            with pytest.raises(ConnectionRefusedError):
                from_client(everyone(steering), address, port)

    def test_other_ports_are_refused(self, from_client: Arrive) -> None:
        with (
            socket.create_server(("::", 8080), family=socket.AF_INET6) as other,
            tproxy.create(HTTP, [PREFIX], 1) as steering,
            pytest.raises(ConnectionRefusedError),
        ):
            from_client([other, *everyone(steering)], MAPPED, 8080)

    def test_two_processes_for_two_services(
        self, lab: ThreeHosts, fork: Fork, from_client: Arrive
    ) -> None:
        def serve(report: Callable[[object], None]) -> None:
            with tproxy.create(Ports([(443, 443)]), [PREFIX], 1) as steering:
                ((listener,),) = steering.listeners
                report("up")
                select.select([listener], [], [], 5)
                with accept(listener) as accepted:
                    report(accepted.getsockname()[:2])
                signal.pause()

        child = fork(serve)
        assert child.report() == "up"
        with tproxy.create(HTTP, [PREFIX], 1) as steering:
            from_client(everyone(steering), MAPPED, 80)[1].close()
            with lab.client.inside(), socket.create_connection((MAPPED, 443), timeout=2):
                assert child.report() == (MAPPED, 443)


@pytest.mark.usefixtures("on_gateway")
class TestEnd:
    def test_a_killed_process_leaves_refusal_behind(self, fork: Fork, from_client: Arrive) -> None:
        def serve(report: Callable[[object], None]) -> None:
            with tproxy.create(HTTP, [PREFIX], 1):
                report(os.getpid())
                signal.pause()

        with socket.create_server(("::", 80), family=socket.AF_INET6) as other:
            child = fork(serve)
            pid = child.report()
            child.kill()
            with Nftables() as nft:
                assert not nft.exists(f"faith-{pid}")
            with pytest.raises(ConnectionRefusedError):
                from_client([other], MAPPED, 80)

    def test_workers_do_not_keep_the_table_of_a_killed_parent(self, fork: Fork) -> None:
        def serve(report: Callable[[object], None]) -> None:
            with tproxy.create(HTTP, [PREFIX], 1) as steering:
                ended, end = os.pipe()
                worker = os.fork()
                if not worker:
                    close_others(steering.listeners[0])
                    signal.pause()
                os.close(end)
                assert os.read(ended, 1) == b"", "the worker has closed its copy"
                report((os.getpid(), worker))
                signal.pause()

        child = fork(serve)
        parent, worker = child.report()
        try:
            child.kill()
            with Nftables() as nft:
                assert not nft.exists(f"faith-{parent}")
        finally:
            os.kill(worker, signal.SIGKILL)

    def test_nothing_stays(self) -> None:
        before = os.listdir("/proc/self/fd")
        with tproxy.create(HTTP, [PREFIX], 2):
            pass
        assert os.listdir("/proc/self/fd") == before
        with Nftables() as nft:
            assert not nft.exists(f"faith-{os.getpid()}")


@pytest.mark.usefixtures("on_gateway")
def test_prefixes_come_and_go(from_client: Arrive) -> None:
    with tproxy.create(HTTP, [PREFIX], 1) as steering:
        for prefixes, reached in (
            ([PREFIX], {MAPPED}),
            ([OTHER], {ALSO_MAPPED}),
            ([PREFIX, OTHER], {MAPPED, ALSO_MAPPED}),
            ([], set()),
        ):
            steering.set_prefixes(prefixes)
            for address in (MAPPED, ALSO_MAPPED):
                if address in reached:
                    from_client(everyone(steering), address, 80)[1].close()
                else:
                    with pytest.raises(ConnectionRefusedError):
                        from_client(everyone(steering), address, 80)


@pytest.mark.usefixtures("on_gateway")
def test_the_text_is_what_nft_lists(lab: ThreeHosts, need: Callable[[str], str]) -> None:
    with tproxy.create(HTTP, [PREFIX], 1) as steering:
        port = everyone(steering)[0].getsockname()[1]
        table = f"faith-{os.getpid()}"
        listed = lab.gateway.run([need("nft"), "list", "table", "ip6", table]).stdout
    assert tproxy._rule(port).text in listed
    assert "flags owner" in listed
