"""The dashboard and the alerts by a real Prometheus, of a faithd with traffic of every kind."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import GATEWAY_V4, GATEWAY_V6, PREFIX, SERVER
from tests.dashboard import QUERIES, filled
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.netns.datagrams import Echo as UdpEcho
from tests.netns.datagrams import udp
from tests.netns.gateway import Gateway
from tests.netns.prometheus import Prometheus
from tests.netns.service import PORT, Echo, answers, connect, connect_from
from tests.netns.test_proxy_datagrams import Associated
from tests.promql import selectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

KERNEL_PORT, ASKED = 2424, 5555
ZONE = f"""{EXAMPLE}www 60 IN A {SERVER}
"""
FAITH_TOML = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
[[service]]
ports = "{KERNEL_PORT}"
path = "kernel"
[limits]
sessions = 20
[udp]
[ping]
[dns]
listen = ["[{GATEWAY_V6}]:53"]
forward = ["{SERVER}"]
[[proxy]]
listen = "[::]:1080"
[metrics]
listen = "[::1]:9064"
"""
EMPTY: dict[str, str] = {}
"""Panels that have nothing to show here, and why."""
PATIENCE = 45


@pytest.fixture
def site(lab: ThreeHosts, tmp_path: Path) -> Iterator[Gateway]:
    """A faithd with every service, and servers of all kinds."""
    names = lab.server.call(lambda: NameServer(Zones(ZONE), SERVER, 53))
    with names, contextlib.ExitStack() as stack:
        for port in (PORT, KERNEL_PORT):
            stack.enter_context(contextlib.closing(Echo(lab.server, port)))
        stack.enter_context(contextlib.closing(UdpEcho(lab.server, SERVER, ASKED)))
        yield Gateway(lab, tmp_path, FAITH_TOML)


@pytest.fixture
def prometheus(
    lab: ThreeHosts, site: Gateway, tmp_path: Path, need: Callable[[str], str]
) -> Iterator[Prometheus]:
    made = Prometheus(lab.gateway, tmp_path, need)
    yield made
    made.stop()


def use(lab: ThreeHosts, number: int) -> None:
    """Have a session, a flow, a refusal, a datagram, a ping and a query of each kind."""
    own = lab.mapped(GATEWAY_V4)
    for port in (PORT, KERNEL_PORT):
        with connect(lab, port=port) as session:
            assert answers(session)
        with contextlib.suppress(OSError), connect_from(lab.client, own, port) as refused:
            refused.recv(1)
    with udp(lab.client, "::") as sock:
        sock.sendto(b"question", (lab.mapped(), ASKED))
        assert sock.recv(100) == b"question"
        sock.sendto(b"question", (own, ASKED))
    with Associated((lab.client, GATEWAY_V6)) as proxied:
        proxied.sendto(b"question", (GATEWAY_V4, ASKED))
    for host in (lab.mapped(), own):
        lab.client.run(["ping", "-c", "1", "-W", "1", host], check=False)
    for name in ("www", f"none{number}"):
        ask = ["dig", "+short", "+time=2", f"@{GATEWAY_V6}", "AAAA", f"{name}.example"]
        lab.client.run(ask, check=False)


def has_data(prometheus: Prometheus, query: str) -> bool:
    """Return whether there is a number, and not only NaN."""
    result = prometheus.query(filled(query))
    return any(one["value"][1] != "NaN" for one in result)


def test_every_panel_has_data(lab: ThreeHosts, prometheus: Prometheus) -> None:
    waiting = {(title, name): query for title, name, query in QUERIES}
    rounds = iter(range(1000))

    def all_have() -> bool:
        use(lab, next(rounds))
        for key, query in list(waiting.items()):
            if has_data(prometheus, query):
                del waiting[key]
        return {title for title, _ in waiting} <= EMPTY.keys()

    with contextlib.suppress(TimeoutError):
        wait_until(all_have, PATIENCE, "data")
    assert {title for title, _ in waiting} == EMPTY.keys()
    assert not has_data(prometheus, "faith_nonsense")


def test_a_scrape_is_whole_and_rules_can_be_evaluated(
    lab: ThreeHosts, prometheus: Prometheus
) -> None:
    target = prometheus.target
    assert (target["health"], target["lastError"]) == ("up", "")
    use(lab, 0)
    wait_until(lambda: all(rule["health"] == "ok" for rule in prometheus.rules()), 10, "the alerts")
    firing = [rule["name"] for rule in prometheus.rules() if rule["state"] == "firing"]
    assert firing == []


def test_the_exposition_of_a_daemon_is_as_prometheus_wants_it(
    lab: ThreeHosts, site: Gateway, need: Callable[[str], str]
) -> None:
    use(lab, 0)
    curl = [need("curl"), "--silent", "--globoff", "http://[::1]:9064/metrics"]

    def scrape(*how: str) -> str:
        return lab.gateway.run([*curl, *how]).stdout

    wait_until(lambda: "faith_dns_server_up{" in scrape(), 5, "the servers of names")
    text = scrape()
    subprocess.run([need("promtool"), "check", "metrics"], check=True, input=text, text=True)
    openmetrics = scrape("--header", "Accept: application/openmetrics-text; version=1.0.0")
    assert openmetrics.endswith("# EOF\n")
    assert {one.name for _, _, query in QUERIES for one in selectors(query)} <= {
        line.partition("{")[0].partition(" ")[0] for line in openmetrics.splitlines()
    }


def test_no_client_is_named(lab: ThreeHosts, site: Gateway, need: Callable[[str], str]) -> None:
    use(lab, 0)
    curl = [need("curl"), "--silent", "--globoff", "http://[::1]:9064/metrics"]
    text = lab.gateway.run(curl).stdout
    with connect(lab) as session:
        client = session.getsockname()[0]
    assert client not in text
