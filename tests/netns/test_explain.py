"""``faith explain`` in a network of real hosts: it names why a connection works, or does not."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from faith.lab.topology import CLIENT, PREFIX, SERVER
from tests.faithd import ENVIRONMENT
from tests.netns.gateway import Gateway
from tests.netns.service import PORT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import ThreeHosts
    from tests.netns.conftest import Start
    from tests.netns.service import Echo

pytestmark = pytest.mark.netns

BASE = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
"""
FAITH = [sys.executable, "-m", "faith.cli.faith", "explain"]
MAPPED = "192.0.2.102"
MAP = f"""
[[map]]
v4 = "{MAPPED}"
v6 = "{CLIENT}"
"""


@pytest.fixture
def begin(lab: ThreeHosts, tmp_path: Path) -> Callable[..., Gateway]:
    """Start a faithd by the text of a file, and wait until it serves."""
    return lambda text=BASE: Gateway(lab, tmp_path, text)


def explain(lab: ThreeHosts, *words: str) -> dict[str, Any]:
    """Return the answer of ``faith explain`` on the gateway, with its exit status as "status"."""
    command = [*FAITH, *words, "--json"]
    done = lab.gateway.run(command, check=False, env=ENVIRONMENT)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "status": done.returncode}


def cause(found: dict[str, Any]) -> tuple[str | None, bool]:
    verdict = found["verdict"]
    return verdict["cause"], verdict["certain"]


def rules(lab: ThreeHosts, text: str) -> None:
    lab.gateway.run(["nft", "-f", "-"], stdin=text)


TO_SERVER = (CLIENT, f"{SERVER}:{PORT}")


def test_a_connection_that_works(
    lab: ThreeHosts, begin: Callable[..., Gateway], echo: Echo
) -> None:
    begin()
    found = explain(lab, *TO_SERVER, "--dial")
    assert (found["status"], found["verdict"]["works"]) == (0, True), found
    assert {"address", "route-here", "access", "server"} <= {one["step"] for one in found["steps"]}
    assert all(one["state"] != "problem" for one in found["steps"])


def test_a_rule_that_denies(lab: ThreeHosts, begin: Callable[..., Gateway]) -> None:
    begin(f'{BASE}[access]\nrules = ["::/0 deny 192.0.2.0/24", "::/0 permit {SERVER}"]\n')
    found = explain(lab, *TO_SERVER)
    assert (found["status"], cause(found)) == (1, ("shadowed-rule", True))
    (step,) = [one for one in found["steps"] if one["step"] == "access"]
    assert step["where"] == "access.rules:1", step


def test_no_route_to_the_server(lab: ThreeHosts, begin: Callable[..., Gateway]) -> None:
    begin()
    assert cause(explain(lab, CLIENT, f"198.51.100.1:{PORT}")) == ("no-route-out", True)


def test_a_firewall(
    lab: ThreeHosts, begin: Callable[..., Gateway], need: Callable[[str], str]
) -> None:
    need("nft")
    begin()
    rules(
        lab,
        "table inet filter {\n chain in {\n type filter hook input priority 0; policy accept;\n"
        f" ct state established,related accept\n tcp dport {PORT} drop\n }}\n}}\n",
    )
    found = explain(lab, *TO_SERVER)
    assert cause(found) == ("firewall-drops-client", True)
    assert f"tcp dport {PORT} drop" in found["verdict"]["text"]


def test_a_server_that_refuses(lab: ThreeHosts, begin: Callable[..., Gateway]) -> None:
    begin()
    assert cause(explain(lab, *TO_SERVER, "--dial")) == ("server-refuses", True)


def test_no_daemon_and_one_that_hangs(lab: ThreeHosts, begin: Callable[..., Gateway]) -> None:
    assert cause(explain(lab, *TO_SERVER)) == ("no-prefix", True)
    gateway = begin()
    gateway.signal(signal.SIGSTOP)
    assert cause(explain(lab, *TO_SERVER)) == ("daemon-hung", True)
    gateway.signal(signal.SIGCONT)
    assert gateway.stop() == 0


def test_a_map(lab: ThreeHosts, begin: Callable[..., Gateway]) -> None:
    begin(BASE + MAP)
    found = explain(lab, SERVER, f"{MAPPED}:{PORT}")
    assert found["verdict"]["works"] is True, found
    assert CLIENT in next(one["text"] for one in found["steps"] if one["step"] == "map")
    assert cause(explain(lab, SERVER, f"192.0.2.103:{PORT}")) == ("map-missing", True)


def test_translations_that_the_guards_keep_away(
    lab: ThreeHosts, begin: Callable[..., Gateway], need: Callable[[str], str]
) -> None:
    need("nft")
    rules(
        lab,
        "".join(
            f"table {family} nat {{\nchain c {{\ntype nat hook prerouting priority -100;\n"
            f"fib daddr type local tcp dport {PORT} dnat to {to}\n}}\n}}\n"
            for family, to in (("ip", "192.0.2.9"), ("ip6", "2001:db8::9"))
        ),
    )
    begin(BASE + MAP)
    assert explain(lab, *TO_SERVER)["verdict"]["works"] is True
    assert explain(lab, SERVER, f"{MAPPED}:{PORT}")["verdict"]["works"] is True
    rules(
        lab,
        "table ip6 early {\nchain c {\ntype nat hook prerouting priority -199;\n"
        f"tcp dport {PORT} dnat to 2001:db8::9\n}}\n}}\n",
    )
    assert cause(explain(lab, *TO_SERVER)) == ("foreign-dnat", True)


def test_a_live_trace(
    lab: ThreeHosts, begin: Callable[..., Gateway], echo: Echo, need: Callable[[str], str]
) -> None:
    begin()
    assert traced(lab)["verdict"]["works"] is True
    rules(
        lab,
        "table ip6 other {\n chain in {\n type filter hook prerouting priority 0;\n"
        f" limit rate 100/second tcp dport {PORT} drop\n }}\n}}\n",
    )
    assert cause(explain(lab, *TO_SERVER)) == ("firewall-drops-client", False)
    found = traced(lab)
    assert cause(found) == ("firewall-drops-client", True), found
    assert "faith-explain" not in lab.gateway.run(["nft", "list", "tables"]).stdout


def traced(lab: ThreeHosts) -> dict[str, Any]:
    """The explanation with a trace, while the client connects."""
    command = [*FAITH, *TO_SERVER, "--live", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    program = lab.gateway.popen(command, env=ENVIRONMENT, **pipes)
    assert program.stderr
    assert "tracing" in program.stderr.readline()
    with lab.client.inside(), socket.socket(socket.AF_INET6) as sock:
        sock.settimeout(0.5)
        with suppress(TimeoutError):
            sock.connect((lab.mapped(), PORT))
    output, _ = program.communicate(timeout=20)
    found: dict[str, Any] = json.loads(output)
    return found


def test_a_file_instead_of_a_daemon(lab: ThreeHosts, tmp_path: Path, reserved: str) -> None:
    file = tmp_path / "other.toml"
    file.write_text(BASE + f'[access]\nrules = ["::/0 deny {SERVER}"]\n')
    found = explain(lab, *TO_SERVER, "--config", str(file))
    assert cause(found) == ("no-daemon", True)
    (step,) = [one for one in found["steps"] if one["step"] == "access"]
    assert (step["state"], step["cause"]) == ("problem", "denied-by-rule")
    command = [*FAITH, *TO_SERVER, "--config", str(tmp_path / "missing.toml")]
    assert lab.gateway.run(command, check=False, env=ENVIRONMENT).returncode == 2


def test_a_daemon_without_a_control_socket(lab: ThreeHosts, start: Start, reserved: str) -> None:
    start(str(PORT))
    found = explain(lab, *TO_SERVER)
    assert found["verdict"]["works"] is True
    assert cause(explain(lab, CLIENT, f"{SERVER}:23")) == ("no-service", True)


def test_the_doctor_runs(lab: ThreeHosts) -> None:
    done = lab.gateway.run(FAITH, check=False, env=ENVIRONMENT)
    assert done.returncode == 1
    assert "faith -e -p PREFIX" in done.stdout
