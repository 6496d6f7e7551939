"""``faith top`` in a real terminal, with a whole daemon and real sessions."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, PREFIX, SERVER
from tests.faithd import ENVIRONMENT
from tests.netns.flow_lab import OTHER_CLIENT, add_other_client, connect_as
from tests.netns.gateway import Gateway
from tests.netns.service import PORT, Echo, answers
from tests.netns.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

    Open = Callable[..., Terminal]

pytestmark = pytest.mark.netns

TOP = [sys.executable, "-m", "faith.cli.faith", "top", "--interval", "0.5"]


@pytest.fixture
def gateway(lab: ThreeHosts, tmp_path: Path, path: str) -> Iterator[Gateway]:
    add_other_client(lab)
    service = f'[[service]]\nports = "{PORT}"\npath = "{path}"\n'
    with contextlib.closing(Echo(lab.server, PORT)):
        prefix = f'[[prefix]]\naddress = "{PREFIX}"\n'
        yield Gateway(lab, tmp_path, f"workers = 2\n{prefix}{service}[timeouts]\ndrain = 0.1\n")


@pytest.fixture
def open_top(lab: ThreeHosts, tmp_path: Path, need: Callable[[str], str]) -> Iterator[Open]:
    need("tmux")
    with contextlib.ExitStack() as terminals:

        def start(*words: str, **how: Any) -> Terminal:
            command = how.pop("command", TOP)
            terminal = Terminal(lab.gateway, tmp_path, [*command, *words], **how)
            terminals.callback(terminal.close)
            return terminal

        yield start


@pytest.fixture
def connections(lab: ThreeHosts, gateway: Gateway) -> Iterator[list[Any]]:
    """Two of one client, then one of another."""
    made = [connect_as(lab, CLIENT), connect_as(lab, CLIENT), connect_as(lab, OTHER_CLIENT)]
    assert all(answers(one) for one in made)
    yield made
    for one in made:
        one.close()


def endpoint(connection: Any) -> str:
    return "[{}]:{}".format(*connection.getsockname()[:2])


def rows(screen: str) -> list[str]:
    """The clients of the rows, from top to bottom."""
    lines = screen.splitlines()
    (heading,) = (place for place, line in enumerate(lines) if line.startswith("CLIENT"))
    return [line.split()[0] for line in lines[heading + 1 :] if line[:1] in tuple("[2")]


def is_reset(connection: Any) -> bool:
    try:
        return not answers(connection)
    except ConnectionError:
        return True


def command_output(lab: ThreeHosts, *words: str) -> str:
    found: str = lab.gateway.run([*TOP, *words], env=ENVIRONMENT).stdout
    return found


def test_sessions_are_sorted_grouped_filtered_and_killed(
    lab: ThreeHosts, connections: list[Any], open_top: Open
) -> None:
    top = open_top("--sort", "client")
    top.wait_shown("3 open", SERVER, endpoint(connections[0]), endpoint(connections[2]))
    assert rows(top.screen) == sorted(map(endpoint, connections))
    top.press("r")
    top.wait_shown("CLIENT↓")
    assert rows(top.screen) == sorted(map(endpoint, connections), reverse=True)
    top.press("g")
    top.wait_shown("SESSIONS", "2001:db8:6::/64", "2001:db8:7::/64")
    top.press("Down", "Enter")  # the sessions of the second group
    top.wait_shown("2 of client=2001:db8:6::/64", endpoint(connections[0]))
    assert endpoint(connections[2]) not in top.screen
    top.press("Escape")  # by itself: before a letter it would be Alt
    top.wait_shown(endpoint(connections[2]))
    top.press("f")
    top.wait_shown("Show only")
    top.type(OTHER_CLIENT)
    top.press("Enter")
    top.wait_shown(f"1 of client={OTHER_CLIENT}")
    assert rows(top.screen) == [endpoint(connections[2])]

    top.press("k")
    top.wait_shown("Reset session", "[y] yes")
    top.press("n")
    assert answers(connections[2])
    top.press("k")
    top.wait_shown("Reset session")
    top.press("y")
    top.wait_shown("1 session has been reset", f"0 of client={OTHER_CLIENT}", "no session")
    assert is_reset(connections[2])
    top.press("Escape")
    top.wait_shown(endpoint(connections[0]), endpoint(connections[1]))

    top.press("r", "g", "k")
    top.wait_shown("Reset 2 sessions: 2001:db8:6::/64")
    assert all(answers(one) for one in connections[:2])
    top.press("y")
    top.wait_shown("2 sessions have been reset", "0 open")
    assert all(is_reset(one) for one in connections[:2])
    top.press("q")
    top.wait_shown("status 0")


def test_the_panes_have_the_numbers_of_the_daemon(
    connections: list[Any], gateway: Gateway, open_top: Open, path: str
) -> None:
    top = open_top()
    top.wait_shown("3 open", "new/s")
    top.press("2")
    shown = top.wait_shown("worker 1", "worker 2", "serving")
    processes = [line.split() for line in shown.splitlines() if " serving " in line]
    assert {int(line[-6]) for line in processes} <= {*gateway.workers}
    assert sum(int(line[-4]) for line in processes) == len(connections)
    top.press("3")
    top.wait_shown("answers no names")
    top.press("4")
    shown = top.wait_shown("descriptors", "PATH", "REFUSED")
    (line,) = (line for line in shown.splitlines() if line.split()[:1] == [path])
    assert line.split()[1:3] == ["3", "3"]
    top.press("5")
    top.wait_shown("nothing is amiss")
    top.press("1")
    top.wait_shown(*map(endpoint, connections))


def test_rates_are_shown(lab: ThreeHosts, connections: list[Any], open_top: Open) -> None:
    """The sums of what was sent each way grow by as much as was sent, and so do the rates."""
    top = open_top("--sort", "rate")
    top.wait_shown("sent 0/s")
    for one in connections[1:]:
        one.settimeout(10)
    deadline = time.monotonic() + 20
    while "k/s, received" not in top.screen:
        assert time.monotonic() < deadline, top.screen
        assert answers(connections[1], bytes(1000))
    assert rows(top.screen)[0] == endpoint(connections[1])


def test_it_goes_on_while_the_daemon_is_replaced(
    lab: ThreeHosts, gateway: Gateway, connections: list[Any], open_top: Open, tmp_path: Path
) -> None:
    top = open_top()
    top.wait_shown("3 open", f"pid {gateway.process.pid}")
    victim = gateway.workers[-1]
    os.kill(victim, signal.SIGKILL)
    gateway.wait_said("another takes its place")
    top.wait_shown("was replaced: it is pid")
    with connect_as(lab, CLIENT) as session:
        assert answers(session)
        top.wait_shown(endpoint(session))
    assert gateway.stop(20) == 0
    top.wait_shown("no faithd with a control socket is running", "no answer", "no session")
    again = Gateway(lab, tmp_path, gateway.file.read_text())
    top.wait_shown(f"is now pid {again.process.pid}", "0 open")
    with connect_as(lab, OTHER_CLIENT) as session:
        assert answers(session)
        top.wait_shown(endpoint(session), "1 open")
    top.press("q")
    top.wait_shown("status 0")


@pytest.mark.parametrize("path", ["relay"], indirect=False)
def test_a_worker_that_hangs_hides_only_its_own(
    lab: ThreeHosts, gateway: Gateway, connections: list[Any], open_top: Open, path: str
) -> None:
    connections += [connect_as(lab, CLIENT) for _ in range(8)]  # each worker has some
    assert all(answers(one) for one in connections)
    first = gateway.workers[0]
    top = open_top()
    top.wait_shown("11 open", *map(endpoint, connections))
    os.kill(first, signal.SIGSTOP)
    try:
        shown = top.wait_shown("lacks the sessions of worker")
        assert 0 < len(rows(shown)) < len(connections)
    finally:
        os.kill(first, signal.SIGCONT)
    top.wait_shown(*map(endpoint, connections))
    assert "lacks" not in top.screen


@pytest.mark.parametrize("path", ["relay"], indirect=False)
@pytest.mark.usefixtures("connections")
def test_a_daemon_that_hangs_is_silent_and_not_gone(
    lab: ThreeHosts, gateway: Gateway, open_top: Open, path: str
) -> None:
    top = open_top()
    top.wait_shown("3 open")
    gateway.signal(signal.SIGSTOP)
    try:
        top.wait_shown("no answer for")
        pid = gateway.process.pid
        with pytest.raises(subprocess.CalledProcessError) as failed:
            command_output(lab, "--once")
        assert f"the faithd with pid {pid} does not answer" in failed.value.stderr
        with pytest.raises(subprocess.CalledProcessError) as failed:
            lab.gateway.run([*TOP[:3], "status", "--json"], env=ENVIRONMENT)
        found = json.loads(failed.value.stdout)["findings"]
        ids = {one["id"] for one in found}
        assert "daemon-hung" in ids
        assert not ids & {"no-daemon", "prefix-abandoned"}
    finally:
        gateway.signal(signal.SIGCONT)
    wait_until(lambda: "no answer" not in top.screen, 15, "its answer")
    top.wait_shown("3 open")


@pytest.mark.parametrize("path", ["relay"], indirect=False)
def test_an_upgrade_is_said_and_sessions_go_on(
    lab: ThreeHosts, gateway: Gateway, connections: list[Any], open_top: Open, path: str
) -> None:
    top = open_top()
    top.wait_shown("3 open")
    gateway.signal(signal.SIGUSR2)
    top.wait_shown("faithd was upgraded to program 2", "3 open", seconds=40)
    assert all(answers(one) for one in connections)
    top.wait_shown(*map(endpoint, connections))


@pytest.mark.parametrize("path", ["relay"], indirect=False)
@pytest.mark.usefixtures("path")
def test_narrow_terminals_and_no_colour(connections: list[Any], open_top: Open) -> None:
    top = open_top(width=44, height=12, NO_COLOR="1")
    top.wait_shown("CLIENT", "SERVER", "3 open")
    assert "SOURCE" not in top.screen
    assert not top.has_colours
    top.press("Down")
    top.resize(150, 12)
    top.wait_shown("SOURCE", *map(endpoint, connections))
    top.resize(30, 6)
    top.wait_shown("CLIENT")


@pytest.mark.parametrize("path", ["relay"], indirect=False)
@pytest.mark.usefixtures("path")
def test_without_textual_there_is_a_live_table(
    lab: ThreeHosts, connections: list[Any], open_top: Open
) -> None:
    hidden = "import sys; sys.modules['textual'] = None; from faith.cli import faith; "
    script = f'"{hidden}sys.exit(faith.main())"'
    top = open_top("--sort", "client", command=[sys.executable, "-c", script, "top"])
    top.wait_shown("3 open", *map(endpoint, connections))
    with connect_as(lab, CLIENT) as another:
        assert answers(another)
        top.wait_shown("4 open", endpoint(another))
    top.press("C-c")
    top.wait_shown("status 0")


@pytest.mark.parametrize("path", ["relay"], indirect=False)
@pytest.mark.usefixtures("path")
def test_without_a_terminal_one_table_is_printed(lab: ThreeHosts, connections: list[Any]) -> None:
    for words, says in (((), "no terminal: this was one table"), (("--once",), "")):
        done = lab.gateway.popen(
            [*TOP, *words], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        told, errors = done.communicate(timeout=20)
        assert done.returncode == 0
        assert sorted(rows(told)) == sorted(map(endpoint, connections))
        assert says in errors
        assert bool(says) == bool(errors)
    groups = json.loads(command_output(lab, "--json", "--group", "client"))
    assert {one["client"]: one["sessions"] for one in groups} == {
        "2001:db8:6::/64": 2,
        "2001:db8:7::/64": 1,
    }
    assert [one["sent_rate"] for one in groups] == [0, 0]
    assert OTHER_CLIENT in command_output(lab, "--once", "--client", OTHER_CLIENT)


def test_without_a_daemon_it_says_so_and_ends(lab: ThreeHosts, open_top: Open) -> None:
    top = open_top()
    top.wait_shown("faith: no faithd with a control socket is running", "status 1")
