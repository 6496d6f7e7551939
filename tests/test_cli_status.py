from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from faith.cli import open_listeners, status, status_lines
from faith.daemon.host import discovery
from faith.daemon.observe.findings import finding
from faith.daemon.observe.status_report import (
    Daemon,
    FlowTable,
    Guard,
    Probe,
    Process,
    Proxied,
    Report,
    ServedPath,
    ServedProxy,
)
from faith.errors import PermissionNeeded, SetupError
from faith.kernel.netlink import routes, uplink
from faith.kernel.netlink.uplink import Trouble
from faith.kernel.nft import dropping_chains, guard
from faith.kernel.nft.dropping_chains import DroppingChain
from faith.kernel.nft.guard import GuardState, NoNftables
from faith.kernel.nft.translators import Translator
from faith.kernel.sockets import tcp_sysctls, transparent_listeners
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix

PREFIX = Prefix.parse("2001:db8:ffff::/96")
OTHER = Prefix.parse("64:ff9b::/96")
GUARDED = GuardState(True, True, frozenset({(PREFIX.address, 96)}))


def process(number: int, **different: Any) -> Process:
    usual = {"role": f"worker {number}", "pid": 42 + number, "state": "serving"}
    return Process(**{**usual, **different})


def lines() -> list[str]:
    return list(status_lines.lines(status.read()))


def of(severity: str) -> list[str]:
    """The lines of findings of that severity."""
    found = (one for one in status.read().findings if one.severity == severity)
    return [status_lines.told(one).removeprefix(severity).strip() for one in found]


def faithd(**different: Any) -> Daemon:
    usual = {
        "pid": 42,
        "service": "telnet",
        "ports": "23",
        "via": "route",
        "processes": [process(number) for number in (1, 2)],
        "started": time.time() - 200,
        "prefixes": [str(PREFIX)],
        "sets_up": [],
    }
    return Daemon(**{**usual, **different})


class Host:
    """The answers of the kernel and the faithds of a host."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.prefixes = [PREFIX]
        self.guard: GuardState | SetupError = GUARDED
        self.faithds = [faithd()]
        self.hidden = 0
        self.unannounced: list[int] = []
        self.conflict: str | None = None
        self.owner = routes.PROTOCOL
        self.advice: list[str] = []
        self.trouble: Trouble | None = None
        self.dropping: list[DroppingChain] | OSError = []
        self.transparent: list[int] = []
        monkeypatch.setattr(routes, "owners", lambda: dict.fromkeys(self.prefixes, self.owner))
        monkeypatch.setattr(routes, "conflicts_of", self._conflicts_of)
        monkeypatch.setattr(routes, "unreachable", lambda: "no way")
        monkeypatch.setattr(uplink, "trouble", lambda: self.trouble)
        monkeypatch.setattr(dropping_chains, "found", self._dropping)
        monkeypatch.setattr(transparent_listeners, "ports", lambda: self.transparent)
        monkeypatch.setattr(guard, "inspect", self._inspect)
        monkeypatch.setattr(tcp_sysctls, "advice", lambda: self.advice)
        monkeypatch.setattr(discovery, "running", lambda: self.faithds)
        monkeypatch.setattr(discovery, "hidden", lambda: self.hidden)
        monkeypatch.setattr(discovery, "unannounced", lambda: self.unannounced)
        monkeypatch.setattr(open_listeners, "on_any_address", lambda: [22])
        monkeypatch.setattr(open_listeners, "holder", lambda _: "sshd (pid 7)")

    def _conflicts_of(self, prefixes: tuple[Prefix, ...]) -> list[tuple[Prefix, str]]:
        return [(prefix, self.conflict) for prefix in prefixes if self.conflict]

    def _inspect(self) -> GuardState:
        if isinstance(self.guard, SetupError):
            raise self.guard
        return self.guard

    def _dropping(self) -> list[DroppingChain]:
        if isinstance(self.dropping, OSError):
            raise self.dropping
        return self.dropping

    def warnings(self) -> list[str]:
        """The warnings and failures, except those about addresses and routes of the host."""
        failures = of("failure")
        first, *others = of("warning")
        assert first == "no way"
        return failures + others


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def test_all_is_well(host: Host) -> None:
    assert host.warnings() == []
    assert lines() == [
        "prefix   2001:db8:ffff::/96, layout low32, guarded",
        "faithd   telnet, port 23, by route, 2 workers, pid 42, for 3 min, 0 sessions",
        "warning  no way",
    ]


def test_nothing_is_there_and_nothing_amiss(host: Host) -> None:
    host.prefixes, host.guard, host.faithds = [], GuardState(), []
    found = status.read()
    assert found.good
    assert list(status_lines.lines(found)) == [
        "prefix   none is reserved (faith -e -p PREFIX reserves one)"
    ]


def test_the_report_has_it_all(host: Host) -> None:
    host.prefixes.append(OTHER)
    found = msgspec.json.decode(msgspec.json.encode(status.read()), type=Report)
    assert [(one.prefix, one.layout, one.guarded) for one in found.prefixes] == [
        ("2001:db8:ffff::/96", "low32", True),
        ("64:ff9b::/96", "low32", False),
    ]
    assert found.guard == Guard(present=True, intact=True)
    assert found.daemons[0].service == "telnet"
    assert not found.good
    assert found.schema == 1


def test_advice_is_shown_where_something_is_reserved(host: Host) -> None:
    host.advice = ["sysctl -w net.ipv4.tcp_tw_reuse=1: at 2, as it is"]
    assert "advice   sysctl -w net.ipv4.tcp_tw_reuse=1: at 2, as it is" in lines()
    host.prefixes.clear()
    assert of("advice") == []


def test_open_ports_are_shown_with_who_listens(host: Host) -> None:
    host.guard = GuardState(True, True, GUARDED.networks, Ports([(22, 23)]))
    assert "open     ports 22-23, to ordinary listeners: 22 sshd (pid 7)" in lines()


def test_who_may_not_see_the_guard_hears_so_and_gets_the_rest(host: Host) -> None:
    host.guard = PermissionNeeded("guard", "CAP_NET_ADMIN")
    found = status.read()
    assert of("unseen") == ["guard: needs CAP_NET_ADMIN (run it as root)"]
    assert lines()[0] == "prefix   2001:db8:ffff::/96, layout low32"
    assert found.guard is None
    assert found.prefixes[0].guarded is None


def test_who_may_not_ask_the_faithds_hears_so(host: Host) -> None:
    host.faithds, host.hidden = [], 2
    assert host.warnings() == []  # nor that none is running
    assert of("unseen") == ["faithds: 2, which only root and their own users may ask"]


def test_without_nftables_the_exposed_servers_are_named(host: Host) -> None:
    host.guard = NoNftables("guard", "Protocol not supported")
    first, _ = of("warning")
    assert "no guard, because this kernel has no nftables: servers on [::]" in first
    assert "22 sshd (pid 7)" in first


def test_a_guard_that_is_gone(host: Host) -> None:
    host.guard = GuardState()
    (warning,) = host.warnings()
    assert warning.startswith("the guard is off: servers on [::] answer")
    assert "not guarded" in lines()[0]


def test_a_guard_that_was_altered(host: Host) -> None:
    host.guard = GuardState(True, False, GUARDED.networks)
    assert host.warnings() == ["the guard has been altered; faith -e puts it back as it should be"]


def test_a_prefix_that_is_not_guarded(host: Host) -> None:
    host.guard = GuardState(True, True)
    assert host.warnings() == ["2001:db8:ffff::/96 is not in the guard; faith -e puts it there"]


def test_a_prefix_whose_route_is_gone(host: Host) -> None:
    both = GUARDED.networks | {(OTHER.address, 96)}
    host.guard = GuardState(True, True, both)
    (warning,) = host.warnings()
    assert warning.startswith("64:ff9b::/96 is guarded but not reserved: its route is gone")


def test_neighbouring_prefixes_that_the_kernel_joins_are_not_missing(host: Host) -> None:
    host.prefixes = [Prefix.parse("2001:db8::/33"), Prefix.parse("2001:db8:8000::/33")]
    host.guard = GuardState(True, True, frozenset({(0x20010DB8 << 96, 32)}))
    host.faithds = [faithd(prefixes=[str(prefix) for prefix in host.prefixes])]
    assert host.warnings() == []


def test_an_interface_that_came_into_the_prefix(host: Host) -> None:
    host.conflict = "it holds 2001:db8:ffff::5, an address of eth0"
    assert host.warnings() == ["2001:db8:ffff::/96: it holds 2001:db8:ffff::5, an address of eth0"]


NOBODY = "no faithd is running: connections to the reserved prefixes are refused; faithd SERVICE"


def test_nobody_serves(host: Host) -> None:
    host.faithds = []
    assert host.warnings() == [NOBODY]


def test_a_daemon_whose_socket_is_elsewhere_is_no_missing_one(host: Host) -> None:
    host.faithds, host.unannounced = [], [4711]
    assert host.warnings() == []
    assert any(line.startswith("the faithd with pid 4711 cannot be asked") for line in of("unseen"))


def test_a_unit_that_listens_serves(host: Host) -> None:
    host.faithds, host.transparent = [], [23]
    assert host.warnings() == []
    assert "listens  port 23, without a daemon: sshd (pid 7)" in lines()
    host.faithds = [faithd()]
    assert status.read().listeners == []  # it is the daemon's


def test_open_ports_serve_only_if_somebody_listens_there(host: Host) -> None:
    host.faithds = []
    host.guard = GuardState(True, True, GUARDED.networks, Ports([(22, 23)]))
    assert host.warnings() == []
    host.guard = GuardState(True, True, GUARDED.networks, Ports([(23, 23)]))
    assert host.warnings() == [NOBODY]


@pytest.mark.parametrize(
    ("trouble", "severity"),
    [
        (Trouble("missing", "no route"), "failure"),
        (Trouble("down", "eth1, which is down"), "failure"),
        (Trouble("no default", "no route to the world"), "warning"),
    ],
)
def test_the_uplink_is_looked_at_unless_probes_do(
    host: Host, trouble: Trouble, severity: str
) -> None:
    host.trouble = trouble
    assert any(line.startswith(trouble.text) for line in of(severity))
    host.faithds = [faithd(probes=[Probe("dns 192.0.2.53:53", good=True)])]
    assert any(line.startswith(trouble.text) for line in of(severity))
    host.faithds = [faithd(probes=[Probe("route 10.0.0.0/8", good=True)])]
    assert not any(line.startswith(trouble.text) for line in of(severity))


def test_a_firewall_that_drops_all_is_named(host: Host) -> None:
    host.dropping = [DroppingChain("inet", "filter", "input", "input")]
    (warning,) = host.warnings()
    assert warning.startswith("chain inet filter input (hook input) drops every TCP connection")
    host.dropping = OSError(2, "No such file or directory")
    assert host.warnings() == []
    assert of("unseen") == ["the host's firewall: No such file or directory"]
    host.dropping = PermissionError(1, "Operation not permitted")
    assert of("unseen") == []


DROPPED = " 7,000 SYNs beyond the rates were dropped"


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (
            FlowTable(["eth0", "lo"], 3, 65536, 0, False),
            "flows    3 of 65,536, on eth0, lo; they end with the daemon",
        ),
        (
            FlowTable(["lo"], 1, 9, 7000, True),
            "flows    1 of 9, on lo; they go on when it is killed;" + DROPPED,
        ),
    ],
)
def test_the_flows_of_a_faithd(host: Host, report: FlowTable, line: str) -> None:
    host.faithds = [faithd(flows=report)]
    assert line in lines()


def test_the_paths_of_a_faithds_services(host: Host) -> None:
    host.faithds = [
        faithd(paths=[ServedPath("80,443", "kernel"), ServedPath("21", "relay", "FTP")]),
        faithd(service="ssh", ports="22"),
    ]
    _, first, web, ftp, second, *_ = lines()
    assert first.startswith("faithd   telnet")
    assert (web, ftp) == ("path     80,443: kernel path", "path     21: relay path: FTP")
    assert second.startswith("faithd   ssh")


def test_the_proxies_of_a_faithd(host: Host) -> None:
    proxies = [
        ServedProxy("[::]:1080", ["socks5", "http"]),
        ServedProxy("192.0.2.1:3128", ["connect"], ["10.0.0.0/8", "2001:db8::/32"], 2, tls=True),
    ]
    host.faithds = [faithd(proxies=proxies)]
    assert [line for line in lines() if line.startswith("proxy")] == [
        "proxy    [::]:1080: socks5, http, clients on the links",
        "proxy    192.0.2.1:3128 by TLS: connect, clients 10.0.0.0/8, 2001:db8::/32, 2 users",
    ]
    done = Proxied(1, 2, {"socks5": 1200, "http": 3}, {"bad request": 4})
    host.faithds = [faithd(proxies=proxies, proxied=done)]
    assert (
        "proxied  1 session, 2 with datagrams; asked: socks5 1,200, http 3; refused: bad request 4"
        in lines()
    )
    host.faithds = [faithd(proxies=proxies, proxied=Proxied())]
    assert "proxied  0 sessions; asked: none" in lines()
    host.prefixes, host.guard = [], GuardState()
    assert of("failure"), "it has services as well"
    host.faithds = [faithd(service="proxy", ports="", prefixes=[], proxies=proxies)]
    assert of("failure") == []
    (line,) = [line for line in lines() if line.startswith("faithd ")]
    assert line.startswith("faithd   proxy, 2 workers, pid "), "nothing is steered to it"


def test_a_faithd_that_serves_less_than_is_reserved(host: Host) -> None:
    host.faithds = [faithd(prefixes=[])]
    assert host.warnings() == ["faithd telnet (pid 42) does not relay from 2001:db8:ffff::/96"]


def test_the_findings_of_a_faithd_name_it(host: Host) -> None:
    hung = finding("process-hung", "worker 2 (pid 77) does not answer", "wait")
    host.faithds = [faithd(findings=[hung])]
    assert host.warnings() == ["faithd telnet (pid 42): worker 2 (pid 77) does not answer; wait"]


def test_a_faithd_without_any_prefix(host: Host) -> None:
    host.prefixes, host.guard = [], GuardState()
    assert of("failure") == [
        "faithd telnet (pid 42) has no prefix to relay from; faith -e -p PREFIX"
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59, "59 s"), (60, "1 min"), (3601, "1 h"), (200000, "2 d")],
)
def test_how_long_a_faithd_runs(seconds: float, text: str) -> None:
    one = [process(1)]
    running = faithd(started=1e9 - seconds, service="80,443", ports="80,443", processes=one)
    report = Report(1e9, "", True, daemons=[running])
    (line,) = (line for line in status_lines.lines(report) if line.startswith("faithd"))
    assert line == f"faithd   ports 80,443, by route, 1 worker, pid 42, for {text}, 0 sessions"


def test_chains_that_translate_before_the_guard_are_named(host: Host) -> None:
    docker = Translator("ip6", "docker", "pre", -100)
    early = docker._replace(chain="early", priority=-199)
    host.guard = replace(GUARDED, translators=(docker, early))
    first, second = host.warnings()
    assert first.startswith("chain ip6 docker pre, priority -100, translates addresses before")
    assert first.endswith(
        "faith -e puts the guard before it, and a running faithd does so by itself"
    )
    assert second.endswith("give it a priority above -198")
    host.guard = replace(GUARDED, translators=(docker, early), keeps_untranslated=True)
    assert host.warnings() == [second]


def test_what_a_killed_daemon_has_left_is_told(host: Host) -> None:
    host.owner = routes.OF_DAEMONS
    (warning,) = host.warnings()
    assert warning.startswith(f"{PREFIX} was reserved by a faithd that was killed")
    host.faithds = [faithd(sets_up=[str(PREFIX)])]
    assert host.warnings() == []
