"""``faith explain --proxy`` in a network of real hosts: whom it asks, and by which settings."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from faith.cli import control_client
from faith.errors import FaithError
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, PREFIX, SERVER
from faith.proxy.password_hash import hashed
from tests.faithd import ENVIRONMENT, Faithd
from tests.netns.gateway import Gateway
from tests.netns.service import PORT

if TYPE_CHECKING:
    from pathlib import Path

    from faith.lab import ThreeHosts
    from tests.netns.service import Echo

pytestmark = pytest.mark.netns

FAITH = [sys.executable, "-m", "faith.cli.faith", "explain", "--proxy"]
TEXT = '[[proxy]]\nlisten = ":1080"\n'


def explain(lab: ThreeHosts, *words: str) -> dict[str, Any]:
    """Return the answer of ``faith explain --proxy`` on the gateway."""
    done = lab.gateway.run([*FAITH, *words, "--json"], check=False, env=ENVIRONMENT)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def step(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in found["steps"] if one["step"] == name)


def test_both_directions(lab: ThreeHosts, tmp_path: Path, echo: Echo) -> None:
    Gateway(lab, tmp_path, TEXT)
    found = explain(lab, CLIENT, f"{SERVER}:{PORT}", "--dial")
    assert found["verdict"]["works"] is True, found
    assert found["question"]["proxied"] is True
    assert (step(found, "server")["state"], step(found, "server")["address"]) == ("ok", SERVER)
    assert f"{GATEWAY_V6} port 1080" in step(found, "route-here")["text"]
    for written in (f"[::ffff:{SERVER}]:{PORT}", f"{SERVER}:{PORT}"):
        assert explain(lab, CLIENT, written)["verdict"]["works"] is True
    found = explain(lab, SERVER, f"[{CLIENT}]:22", "--dial")
    assert (found["verdict"]["cause"], found["verdict"]["certain"]) == ("server-refuses", True)
    assert f"{GATEWAY_V4} port 1080" in step(found, "route-here")["text"]


def test_an_address_under_the_prefix_is_an_ipv4_server(
    lab: ThreeHosts, tmp_path: Path, echo: Echo
) -> None:
    Gateway(lab, tmp_path, f'[[prefix]]\naddress = "{PREFIX}"\n{TEXT}')
    found = explain(lab, CLIENT, f"[{lab.mapped()}]:{PORT}", "--dial")
    assert found["verdict"]["works"] is True, found
    assert f"{SERVER} port {PORT} answers" in step(found, "server")["text"]


def test_as_text(lab: ThreeHosts, tmp_path: Path, echo: Echo) -> None:
    Gateway(lab, tmp_path, f'{TEXT}[access]\nrules = ["::/0 deny 192.0.2.0/24"]\n')
    done = lab.gateway.run([*FAITH, CLIENT, f"{SERVER}:{PORT}"], check=False, env=ENVIRONMENT)
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[0] == f"tcp from {CLIENT} to {SERVER} port {PORT} by a proxy"
    assert f"{SERVER}:" in lines
    assert "access.rules:1" in done.stdout
    assert lines[-2].endswith("[denied-by-rule]")


def test_where_the_client_connects_to(lab: ThreeHosts, tmp_path: Path) -> None:
    Gateway(lab, tmp_path, TEXT + f'[[proxy]]\nlisten = "{GATEWAY_V4}:3128"\n')
    to_server = CLIENT, f"{SERVER}:{PORT}"
    assert explain(lab, *to_server, "--at", f"[{GATEWAY_V6}]:1080")["verdict"]["works"]
    wrong = explain(lab, *to_server, "--at", f"[{GATEWAY_V6}]:3128")
    assert wrong["verdict"]["cause"] == "proxy-elsewhere"
    absent = explain(lab, *to_server, "--at", "[2001:db8:6::99]:1080")
    assert absent["verdict"]["cause"] == "proxy-elsewhere"
    assert step(absent, "route-here")["state"] == "problem"
    from_v4 = explain(lab, "192.0.2.7", f"{SERVER}:{PORT}", "--at", f"{GATEWAY_V4}:3128")
    assert f"{GATEWAY_V4}:3128 listens" in step(from_v4, "proxy")["text"]


def test_users(lab: ThreeHosts, tmp_path: Path, echo: Echo) -> None:
    users = tmp_path / "users"
    users.write_text(f"ann:{hashed(b'secret')}\n")
    Gateway(
        lab, tmp_path, f'{TEXT}users = "{users}"\nmethods = ["connect"]\nconnect_ports = "22"\n'
    )
    found = explain(lab, CLIENT, f"{SERVER}:22")
    assert "with a user's name and password" in step(found, "proxy")["text"]
    assert "if the client has a right password" in found["verdict"]["text"]
    assert explain(lab, CLIENT, f"{SERVER}:{PORT}")["verdict"]["cause"] == "proxy-port-closed"


def test_a_daemon_without_a_control_socket(lab: ThreeHosts, tmp_path: Path, echo: Echo) -> None:
    rules = tmp_path / "faithd.conf"
    rules.write_text("")
    with_options = Faithd(lab.gateway, tmp_path / "log", "-f", str(rules), "--proxy", ":1080")
    with_options.wait_said("serving")
    found = explain(lab, CLIENT, f"{SERVER}:{PORT}", "--dial")
    assert found["verdict"]["works"] is True, found
    lab.gateway.links.add_route("2001:db8:7::/64", CLIENT)
    stranger = explain(lab, "2001:db8:7::2", f"{SERVER}:{PORT}")["verdict"]
    assert (stranger["cause"], stranger["certain"]) == ("proxy-not-client", False)
    assert with_options.stop() == 0


def test_a_file_in_place_of_a_daemon(lab: ThreeHosts, tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text(TEXT + 'clients = ["2001:db8:7::/48"]\n')
    found = explain(lab, CLIENT, f"{SERVER}:{PORT}", "--config", str(file))
    problems = [one["cause"] for one in found["steps"] if one["state"] == "problem"]
    assert problems == ["no-daemon", "proxy-not-client"]


def test_a_live_trace(lab: ThreeHosts, tmp_path: Path, echo: Echo) -> None:
    Gateway(lab, tmp_path, TEXT)
    command = [*FAITH, CLIENT, f"{SERVER}:{PORT}", "--live", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    program = lab.gateway.popen(command, env=ENVIRONMENT, **pipes)
    assert program.stderr
    assert f"from {CLIENT} to {GATEWAY_V6}" in program.stderr.readline()
    with lab.client.call(socket.create_connection, (GATEWAY_V6, 1080), 5):
        output, _ = program.communicate(timeout=30)
    found = json.loads(output)
    assert found["verdict"]["works"] is True, found
    assert "a packet of the client arrived" in step(found, "way-in")["text"]


def test_wrong_words(lab: ThreeHosts) -> None:
    for words in (["--udp"], ["--ping"], ["--dns", "::1"], ["--at", "gw"]):
        done = lab.gateway.run([*FAITH, CLIENT, SERVER, *words], check=False, env=ENVIRONMENT)
        assert done.returncode == 2, done.stderr
    for name, says in (("föö.example", "A-labels"), ("x-.example", "RFC 1123")):
        done = lab.gateway.run([*FAITH, CLIENT, name], check=False, env=ENVIRONMENT)
        assert done.returncode == 2, done.stdout
        assert f"{name}: a proxy does not take it: " in done.stderr
        assert says in done.stderr


def test_a_proxy_for_this_host_alone(lab: ThreeHosts, tmp_path: Path, echo: Echo) -> None:
    Gateway(lab, tmp_path, TEXT.replace(":1080", "127.0.0.1:1080"))
    own = explain(lab, "127.0.0.1", f"{SERVER}:{PORT}", "--dial")
    assert own["verdict"]["works"] is True, own
    found = explain(lab, SERVER, f"{SERVER}:{PORT}")["verdict"]
    assert (found["cause"], found["certain"]) == ("proxy-elsewhere", True)
    assert "an IPv4 address that 192.0.2.80 reaches: 127.0.0.1:1080" in found["text"]


def test_what_the_control_socket_refuses(lab: ThreeHosts, tmp_path: Path) -> None:
    gateway = Gateway(lab, tmp_path, TEXT)

    def ask(**words: Any) -> dict[str, Any]:
        usual = {"client": CLIENT, "addresses": [SERVER], "port": PORT}
        return control_client.ask(gateway.control, "explain-proxy", **{**usual, **words})

    assert ask()["decisions"][0]["server"] == SERVER
    for words, says in (
        ({"client": "x"}, "are to be addresses"),
        ({"addresses": ["x"]}, "are to be addresses"),
        ({"addresses": SERVER}, "a list of at most"),
        ({"addresses": [SERVER] * 65}, "a list of at most"),
        ({"port": 0}, "port is to be a number"),
    ):
        with pytest.raises(FaithError, match=says):
            ask(**words)
    assert gateway.stop() == 0
