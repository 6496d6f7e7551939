"""Real programs that speak UDP, with a gateway between them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, PREFIX, SERVER
from tests.netns.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Host, ThreeHosts

    Need = Callable[[str], str]

pytestmark = pytest.mark.netns

MAPPED = "192.0.2.102"
CONFIGURATION = f"""
workers = 1
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "1-65535"
[[map]]
v4 = "{MAPPED}"
v6 = "{CLIENT}"
[udp]
"""
TIME_SERVER = """
local stratum 1
allow all
port 123
cmdport 0
pidfile {directory}/pid
bindaddress {address}
"""


@pytest.fixture(autouse=True)
def gateway(lab: ThreeHosts, tmp_path: Path) -> Gateway:
    return Gateway(lab, tmp_path, CONFIGURATION)


@pytest.fixture(params=["to IPv4", "to IPv6"])
def ends(request: pytest.FixtureRequest, lab: ThreeHosts) -> Iterator[tuple[Host, Host, str, str]]:
    """Who asks, who answers and on which address, and the address to ask at."""
    if request.param == "to IPv4":
        yield lab.client, lab.server, SERVER, lab.mapped(SERVER)
    else:
        yield lab.server, lab.client, CLIENT, MAPPED


def test_dig(ends: tuple[Host, Host, str, str], need: Need, tmp_path: Path) -> None:
    client, server, address, at = ends
    server.popen(
        [
            *(need("dnsmasq"), "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"),
            *(f"--listen-address={address}", "--bind-interfaces", "--user=root", "--pid-file="),
            "--host-record=www.example.com,192.0.2.80",
            "--txt-record=long.example.com," + ",".join(["x" * 200] * 5),
        ],
        stderr=subprocess.DEVNULL,
    )
    server.wait_listening(53, protocol="udp")
    dig = [need("dig"), "+short", "+notcp", "+ignore", "+bufsize=4096", f"@{at}"]
    assert client.run([*dig, "www.example.com", "A"]).stdout == "192.0.2.80\n"
    assert client.run([*dig, "long.example.com", "TXT"]).stdout.count("x") == 1000


def test_chrony(ends: tuple[Host, Host, str, str], need: Need, tmp_path: Path) -> None:
    client, server, address, at = ends
    file = tmp_path / "chrony.conf"
    file.write_text(TIME_SERVER.format(directory=tmp_path, address=address))
    chronyd = need("chronyd")
    server.popen([chronyd, "-d", "-x", "-u", "root", "-f", str(file)], stderr=subprocess.DEVNULL)
    server.wait_listening(123, protocol="udp")
    once = [chronyd, "-Q", "-x", "-u", "root", "-f", "/dev/null", "-t", "20"]
    said = client.run([*once, f"server {at} iburst maxsamples 1", "cmdport 0"], check=False)
    assert "System clock wrong by" in said.stdout + said.stderr


def overflows(lab: ThreeHosts) -> int:
    """Datagrams that found a socket's buffer full, on all hosts: nobody had time to read it."""
    net = Path("/proc/thread-self/net")
    count = 0
    for host in lab.network.hosts.values():
        v4, v6 = host.call(lambda: ((net / "snmp").read_text(), (net / "snmp6").read_text()))
        names, values = (line.split() for line in v4.splitlines() if line.startswith("Udp:"))
        count += int(values[names.index("RcvbufErrors")])
        count += int(re.findall(r"^Udp6RcvbufErrors\s+(\d+)", v6, re.MULTILINE)[0])
    return count


def test_iperf3_loses_nothing(
    lab: ThreeHosts, ends: tuple[Host, Host, str, str], need: Need
) -> None:
    """At 20 Mbit/s, about 2,000 datagrams a second, both ways; but for what the kernel drops."""
    client, server, address, at = ends
    iperf3 = need("iperf3")
    for reverse in ([], ["--reverse"]):
        before = overflows(lab)
        daemon = server.popen([iperf3, "-s", "-1", "-B", address], stdout=subprocess.DEVNULL)
        server.wait_listening(5201, program=daemon)
        load = ["-u", "-b", "20M", "-l", "1200", "-t", "3", "--json", *reverse]
        report = json.loads(client.run([iperf3, "-c", at, *load]).stdout)
        total = report["end"]["sum"]
        assert total["packets"] > 5000
        assert total["lost_packets"] <= overflows(lab) - before
        daemon.wait(5)


def test_quic(ends: tuple[Host, Host, str, str], need: Need, tmp_path: Path) -> None:
    client, server, address, at = ends
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=quic"]
    files = ["-out", str(certificate), "-keyout", str(key)]
    server.run([need("openssl"), "req", "-x509", *made, *files])
    program = [sys.executable, str(Path(__file__).with_name("quic.py"))]
    with (tmp_path / "said").open("w+") as said:
        server.popen([*program, "serve", address, "4433", str(certificate), str(key)], stdout=said)
        wait_until(lambda: "serving" in (tmp_path / "said").read_text(), 20, "a QUIC server")
    asked = client.run([*program, "ask", at, "4433"], timeout=60)
    assert asked.stdout == f"{1 << 20} octets, the same\n"
