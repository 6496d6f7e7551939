"""The lab itself: what it builds is what it says, and nothing of it stays."""

from __future__ import annotations

import asyncio
import errno
import glob
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.errors import SetupError
from faith.lab import Network, ThreeHosts, remove_kept, three_hosts, wait_until, waiting
from faith.lab.topology import CLIENT, GATEWAY_V6, SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Host

pytestmark = pytest.mark.netns


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", script, *arguments]


def connect(host: Host, address: str, port: int = 80) -> socket.socket:
    return host.call(lambda: socket.create_connection((address, port), timeout=5))


def serve(host: Host, address: str, port: int = 80) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return host.call(lambda: socket.create_server((address, port), family=family))


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def is_in_use(namespace: int) -> bool:
    """Return whether a thread of any process is in the namespace with that inode, or it
    is mounted."""
    mounted = f"net:[{namespace}]" in Path("/proc/self/mountinfo").read_text()
    return mounted or namespace in thread_namespaces("[0-9]*")


def thread_namespaces(processes: str) -> set[int]:
    found = set()
    # Unlike pathlib's, of Python 3.11, it passes over processes that end meanwhile.
    for path in glob.glob(f"/proc/{processes}/task/*/ns/net"):
        try:
            found.add(os.stat(path).st_ino)
        except OSError:  # gone meanwhile
            continue
    return found


def wait_gone(namespaces: list[int]) -> None:
    """The kernel's part of a thread ends a moment after Python's."""
    wait_until(lambda: not any(map(is_in_use, namespaces)), 5, "the end of the namespaces")


class TestThreeHosts:
    def versions(self, host: Host) -> set[int]:
        """The IP versions of the addresses that lead out of the host."""
        addresses = map(ip_interface, host.links.addresses())
        return {address.version for address in addresses if not address.is_loopback}

    def test_client_has_ipv6_only(self, lab: ThreeHosts) -> None:
        assert self.versions(lab.client) == {6}
        assert f"{CLIENT}/64" in lab.client.links.addresses()
        with pytest.raises(OSError, match="unreachable") as unreachable:
            connect(lab.client, SERVER)
        assert unreachable.value.errno == errno.ENETUNREACH

    def test_server_has_ipv4_only(self, lab: ThreeHosts) -> None:
        assert self.versions(lab.server) == {4}
        assert lab.server.links.addresses() == ["127.0.0.1/8", f"{SERVER}/24"]
        assert lab.server.sysctl("net.ipv6.conf.all.disable_ipv6") == "1"

    def test_server_has_no_route_beyond_its_link(self, lab: ThreeHosts) -> None:
        outward = [route for route in lab.server.links.routes() if route.startswith("unicast")]
        assert outward == ["unicast 192.0.2.0/24 dev to-gateway table 254 proto 2"]

    def test_gateway_reaches_both_and_forwards_nothing(self, lab: ThreeHosts) -> None:
        with serve(lab.server, SERVER), connect(lab.gateway, SERVER):
            pass
        with serve(lab.client, CLIENT), connect(lab.gateway, CLIENT):
            pass
        assert lab.gateway.sysctl("net.ipv4.ip_forward") == "0"
        assert lab.gateway.sysctl("net.ipv6.conf.all.forwarding") == "0"

    def test_prefix_is_routed_to_the_gateway(self, lab: ThreeHosts) -> None:
        assert lab.mapped() == "2001:db8:ffff::c000:250"
        default = f"unicast default via {GATEWAY_V6} dev to-gateway "
        assert any(route.startswith(default) for route in lab.client.links.routes())

    def test_first_packet_passes_at_once(self, lab: ThreeHosts) -> None:
        with serve(lab.server, SERVER), serve(lab.gateway, GATEWAY_V6):
            start = time.monotonic()
            with connect(lab.gateway, SERVER), connect(lab.client, GATEWAY_V6):
                pass
            assert time.monotonic() - start < 0.9  # a lost SYN is repeated after one second

    def test_routes_do_not_change_later(self, lab: ThreeHosts) -> None:
        before = lab.gateway.links.routes()
        time.sleep(1.5)  # time: duplicate address detection would take one second
        assert lab.gateway.links.routes() == before

    def test_further_server_addresses_and_mtu(self, network: Network) -> None:
        lab = three_hosts(network, server_addresses=["192.0.2.81", "192.0.2.82"], mtu=1400)
        with serve(lab.server, "192.0.2.82"), connect(lab.gateway, "192.0.2.82") as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) < 1400


class TestCalls:
    def test_returns_the_result(self, network: Network) -> None:
        assert network.host("one").call(divmod, 7, 2) == (3, 1)

    def test_raises_what_the_function_raises(self, network: Network) -> None:
        with pytest.raises(ZeroDivisionError):
            network.host("one").call(divmod, 7, 0)

    def test_may_call_again_from_within(self, network: Network) -> None:
        host = network.host("one")
        assert host.call(lambda: host.call(os.getpid)) == os.getpid()

    def test_is_in_the_namespace_of_the_host(self, network: Network) -> None:
        host = network.host("one")
        inode = host.call(lambda: os.stat("/proc/thread-self/ns/net").st_ino)
        assert inode == os.fstat(host.namespace).st_ino
        assert inode != os.stat("/proc/self/ns/net").st_ino

    def test_gives_up_in_time_and_the_network_still_ends(self) -> None:
        start, release = time.monotonic(), threading.Event()
        with Network() as network:
            host = network.host("one")
            with pytest.raises(
                TimeoutError, match=r"one: Event\.wait did not return within 0\.1 s"
            ):
                host.call(release.wait, timeout=0.1)
        release.set()
        assert time.monotonic() - start < 5

    def test_an_asyncio_loop_may_have_run_there(self, network: Network) -> None:
        host = network.host("one")
        before = host.links.addresses()
        host.call(lambda: asyncio.run(asyncio.sleep(0)))
        assert host.links.addresses() == before

    def test_inside_moves_the_calling_thread_there_and_back(self, network: Network) -> None:
        host, outside = network.host("one"), os.stat("/proc/thread-self/ns/net").st_ino
        with host.inside():
            assert os.stat("/proc/thread-self/ns/net").st_ino == os.fstat(host.namespace).st_ino
        assert os.stat("/proc/thread-self/ns/net").st_ino == outside


class TestPrograms:
    def test_run_gives_input_and_returns_output(self, network: Network) -> None:
        result = network.host("one").run(python("print(input()[::-1])"), stdin="olleh\n")
        assert (result.returncode, result.stdout, result.stderr) == (0, "hello\n", "")

    def test_run_is_in_the_namespace(self, network: Network) -> None:
        host = network.host("one")
        result = host.run(python("import os; print(os.stat('/proc/self/ns/net').st_ino)"))
        assert int(result.stdout) == os.fstat(host.namespace).st_ino

    def test_run_tells_why_a_program_failed(self, network: Network) -> None:
        with pytest.raises(subprocess.CalledProcessError) as failure:
            network.host("one").run(python("import sys; sys.exit('no such luck')"))
        assert failure.value.__notes__ == ["on one it wrote: no such luck\n"]

    def test_run_may_fail_when_asked_not_to_check(self, network: Network) -> None:
        assert network.host("one").run(python("exit(3)"), check=False).returncode == 3

    def test_run_ends_in_time_with_its_children(self, network: Network) -> None:
        host = network.host("one")
        script = "import os, signal; print('far', flush=True); os.fork(); signal.pause()"
        with pytest.raises(subprocess.TimeoutExpired) as late:
            host.run(python(script), timeout=1)
        assert late.value.__notes__ == ["far\n"]
        wait_until(lambda: not host.processes(), 1, "the end of the children")

    def test_all_end_with_the_network(self) -> None:
        with Network() as network:
            host = network.host("one")
            stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN); "
            scripts = ["", stubborn, "import os; os.fork() and exit(0); os.setsid(); "]
            for setup in scripts:
                ready = host.popen(
                    python(f"import signal; {setup}print('.', flush=True); signal.pause()"),
                    stdout=subprocess.PIPE,
                )
                assert ready.stdout
                assert ready.stdout.readline()
            wait_until(lambda: len(host.processes()) == len(scripts), 5, "one process of each")
            pids = host.processes()
        assert not any(map(is_running, pids))

    def test_a_program_may_end_itself(self, network: Network) -> None:
        host = network.host("one")
        program = host.popen(python("import signal; signal.pause()"))
        program.terminate()
        assert program.wait(5) == -signal.SIGTERM

    def test_unknown_program(self, network: Network) -> None:
        with pytest.raises(FileNotFoundError):
            network.host("one").popen(["/nonexistent"])

    def test_several_threads_start_the_first(self, network: Network) -> None:
        host = network.host("one")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(host.run, [["true"]] * 8))
        assert host.processes() == [], "one process ends the programs, and is not counted"


class TestListening:
    def test_sees_the_sockets_of_its_host_only(self, lab: ThreeHosts) -> None:
        with serve(lab.server, SERVER):
            assert lab.server.is_listening(80)
            assert lab.server.is_listening(80, socket.AF_INET)
            assert not lab.server.is_listening(80, socket.AF_INET6)
            assert not lab.server.is_listening(8080)
            assert not lab.gateway.is_listening(80)

    def test_sees_udp(self, network: Network) -> None:
        host = network.host("one")
        with host.call(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM) as waiting:
            waiting.bind(("::1", 53))
            host.wait_listening(53, socket.AF_INET6, "udp")
            assert not host.is_listening(53)

    def test_waits_for_a_program(self, network: Network) -> None:
        host = network.host("one")
        program = host.popen(
            python(
                "import socket, time; time.sleep(0.1); s = socket.create_server(('', 79));"
                "time.sleep(60)"
            )
        )
        host.wait_listening(79, program=program)

    def test_says_what_it_waited_for(
        self, network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(waiting, "PATIENCE", 1)
        with pytest.raises(TimeoutError, match=r"one listening on tcp port 79: not within 0\.1 s"):
            network.host("one").wait_listening(79, seconds=0.1)

    def test_does_not_wait_for_the_dead(self, network: Network) -> None:
        host = network.host("one")
        with pytest.raises(ChildProcessError, match="on one ended with 3 before it listened"):
            host.wait_listening(79, program=host.popen(python("exit(3)")))


class TestErrors:
    """A refusal of the kernel is a SetupError that names the step and the host."""

    @pytest.mark.parametrize(
        ("refused", "message"),
        [
            (lambda host: host.links.up("eth7"), "eth7 on one: "),
            (lambda host: host.links.add_route("default", "192.0.2.1"), "Network is unreachable"),
            (lambda host: host.links.add_address("lo", "::1/128"), "File exists"),
            (lambda host: host.sysctl("net.ipv4.no_such"), "sysctl net.ipv4.no_such on one: No"),
            (lambda host: host.sysctl("net.ipv4.ip_forward", "x"), "on one: Invalid argument"),
        ],
    )
    def test_refused(
        self, network: Network, refused: Callable[[Host], object], message: str
    ) -> None:
        with pytest.raises(SetupError, match=message):
            refused(network.host("one"))


# User 0 with CAP_SETFCAP alone may do no more than others (to map user 0 takes it), and reads this
# tree wherever it is.
GIVE_UP_CAPABILITIES = """
import ctypes
ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)(1 << 31, 1 << 31))
"""
BUILD = """
import os, subprocess, sys
from faith.lab import *
gain_rights()
network = Network().__enter__()
lab, hosts = three_hosts(network), network.hosts.values()
for host in hosts:
    argv = [sys.executable, "-c", "import signal; signal.pause()"]
    host.popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(*(os.fstat(host.namespace).st_ino for host in hosts))
print(*(pid for host in hosts for pid in host.processes()), flush=True)
"""


@contextmanager
def process_of_its_own(script: str) -> Iterator[subprocess.Popen[str]]:
    """A child that runs *script*, killed after the block."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        python(script),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def numbers(process: subprocess.Popen[str]) -> list[int]:
    """The next line that *process* writes."""
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        pytest.fail(process.communicate()[1])
    return [int(number) for number in line.split()]


class TestNothingStays:
    def test_after_the_block(self) -> None:
        descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        with Network() as network:
            lab = three_hosts(network)
            lab.server.run(python("pass"))
            inodes = [os.fstat(host.namespace).st_ino for host in network.hosts.values()]
            assert all(map(is_in_use, inodes))
        wait_gone(inodes)
        assert len(os.listdir("/proc/self/fd")) == descriptors
        assert threading.active_count() == threads

    def test_after_sigkill(self) -> None:
        with process_of_its_own(BUILD + "input()") as builder:
            inodes, pids = numbers(builder), numbers(builder)
            assert len(pids) == 3
            assert all(map(is_running, pids))
        wait_until(lambda: not any(map(is_running, pids)), 5, "the end of the programs")
        wait_gone(inodes)

    def test_without_rights(self) -> None:
        script = GIVE_UP_CAPABILITIES + BUILD + "network.__exit__(); print('done')"
        with process_of_its_own(script) as builder:
            inodes, pids = numbers(builder), numbers(builder)
            assert len(pids) == 3
            assert builder.communicate(timeout=20) == ("done\n", "")
        assert not any(map(is_running, pids))
        wait_gone(inodes)


class TestUserNamespace:
    def test_is_refused_to_a_process_with_threads(self) -> None:
        script = """
import threading
from faith.lab import enter_user_namespace
threading.Thread(target=threading.Event().wait, daemon=True).start()
enter_user_namespace()
"""
        with process_of_its_own(script) as threaded:
            assert "SetupError: entering a user namespace: this" in threaded.communicate()[1]

    def test_has_a_run_directory_of_its_own(self) -> None:
        script = "from faith.lab import *; enter_user_namespace(); import os; os.mkdir('/run/mine')"
        with process_of_its_own(GIVE_UP_CAPABILITIES + script) as inside:
            assert inside.communicate() == ("", "")
        assert not Path("/run/mine").exists()


KEEP = (
    BUILD
    + """
try:
    commands = keep(network)
except SetupError as error:
    print(error); exit()
network.__exit__()
print(*commands.values(), sep="\\n")
"""
)


KEEP = (
    BUILD
    + """
from faith.errors import SetupError
try:
    commands = keep(network)
except SetupError as error:
    print(error)
else:
    print(*commands.values(), sep="\\n")
network.__exit__()
"""
)


class TestKeep:
    @pytest.mark.parametrize(
        ("rights", "tool"), [("", "ip"), (GIVE_UP_CAPABILITIES, "nsenter")], ids=["ip", "nsenter"]
    )
    def test_stays_until_removed(self, need: Callable[[str], str], rights: str, tool: str) -> None:
        need(tool)
        with process_of_its_own(rights + KEEP) as builder:
            inodes, pids = numbers(builder), numbers(builder)
            lines, errors = builder.communicate(timeout=20)
        if "are there already" in lines:
            pytest.skip(lines)
        try:
            commands = lines.splitlines()
            assert [command.split()[0] for command in commands] == [tool] * 3, errors
            for command, inode in zip(commands, inodes, strict=True):
                assert self.namespace_behind(command) == inode
            assert all(map(is_running, pids))
        finally:
            assert remove_kept() == ["faith-client", "faith-gateway", "faith-server"]
        assert not any(map(is_running, pids))
        wait_gone(inodes)
        assert not list(Path("/run/netns").glob("faith-*"))
        assert remove_kept() == []

    def namespace_behind(self, command: str) -> int:
        script = "import os; print(os.stat('/proc/self/ns/net').st_ino)"
        argv = [*command.split(), *python(script)]
        return int(subprocess.run(argv, capture_output=True, check=True, timeout=10).stdout)
