"""The steps inside the daemon: each state and each decision has its cause."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_question

from faith.cli.explain.facts import Facts
from faith.cli.explain.walk import walk
from faith.daemon.config.decision import ServiceOfPort
from faith.daemon.observe.status_report import ServedProxy
from faith.translation.ports import Ports
from tests.explained import DAEMON, FROM_V4, GOOD, asked, decided, states, told, verdict


def test_nobody_is_there() -> None:
    assert verdict(replace(GOOD, daemons=())) == ("no-daemon", True)
    assert verdict(replace(GOOD, daemons=(), silent=(7,))) == ("daemon-hung", True)
    assert walk(replace(GOOD, daemons=(), hidden=1)).verdict.works is None


def test_one_of_several_daemons_hangs() -> None:
    other = replace(DAEMON, ports=Ports([(22, 22)]))
    found = walk(replace(told(GOOD), daemons=(other,), silent=(7,)))
    assert (found.verdict.cause, found.verdict.certain) == ("daemon-hung", False)
    assert verdict(replace(GOOD, silent=(7,)))[0] is None


def test_inetd_serves_open_ports_without_a_daemon() -> None:
    assert GOOD.guard
    opened = replace(GOOD.guard, open_ports=Ports([(80, 80)]))
    found = walk(replace(GOOD, daemons=(), guard=opened))
    assert (found.verdict.works, states(found, "daemon")) == (True, ["note"])


@pytest.mark.parametrize(
    ("changes", "cause", "certain"),
    [
        ({"draining": True}, "draining", True),
        ({"stuck": ("worker 1", "worker 2")}, "workers-hung", True),
        ({"stuck": ("worker 1",)}, "workers-hung", False),
        ({"stuck": ("dns 1", "ping")}, None, False),
        ({"full": 2}, "out-of-descriptors", True),
        ({"full": 1}, "out-of-descriptors", False),
        ({"descriptors": (1024, 1024)}, "out-of-descriptors", True),
        ({"descriptors": (20, 1024)}, None, False),
    ],
)
def test_a_daemon_that_cannot_serve(
    changes: dict[str, object], cause: str | None, certain: bool
) -> None:
    daemon = replace(DAEMON, **changes)  # type: ignore[arg-type]
    assert verdict(replace(GOOD, daemons=(daemon,))) == (cause, certain)


def test_steering_that_is_gone() -> None:
    assert verdict(replace(GOOD, steered=False)) == ("steering-gone", True)


def test_clients_of_a_proxy_go_another_way() -> None:
    proxy = replace(
        DAEMON, pid=101, proxies=(ServedProxy("[::]:1080"), ServedProxy("192.0.2.1:3128"))
    )
    facts = replace(GOOD, daemons=(DAEMON, proxy))
    assert verdict(facts) == verdict(GOOD)
    (step,) = [step for step in walk(facts).steps if step.step == "proxy"]
    assert step.state == "note"
    assert "clients of the proxy at [::]:1080, 192.0.2.1:3128: --proxy" in step.text
    for other in (GOOD, replace(facts, question=replace_question(facts.question, protocol="udp"))):
        assert "proxy" not in [step.step for step in walk(other).steps]


def test_a_port_without_a_service() -> None:
    facts = asked(decided(GOOD, served=False, service=None), port=23)
    assert verdict(facts) == ("no-service", True)
    assert verdict(replace(facts, explained=None)) == ("no-service", True)


def test_the_process_that_the_protocol_needs() -> None:
    stuck = replace(DAEMON, stuck=("ping", "flows"))
    pinged = asked(decided(GOOD, protocol="icmp"), protocol="icmp", port=0)
    assert verdict(replace(pinged, daemons=(stuck,))) == ("workers-hung", True)
    by_kernel = replace(told(GOOD, path="kernel"), daemons=(stuck,))
    assert verdict(by_kernel) == ("workers-hung", True)


@pytest.mark.parametrize(("protocol", "cause"), [("udp", "udp-off"), ("icmp", "ping-off")])
def test_datagrams_that_are_turned_off(protocol: str, cause: str) -> None:
    facts = asked(decided(GOOD, served=False, service=None, protocol=protocol), protocol=protocol)
    assert verdict(facts) == (cause, True)
    assert verdict(decided(facts, served=True))[0] is None


def test_the_reason_for_the_relay_is_told() -> None:
    found = walk(told(GOOD, path_reason="no BPF"))
    assert states(found, "service") == ["ok", "note"]


def test_a_service_that_must_go_by_the_kernel_path() -> None:
    must = told(decided(GOOD, service=ServiceOfPort("http", "80", "kernel")), path_reason="no BPF")
    assert verdict(must) == ("kernel-path-unavailable", True)


def test_a_daemon_that_says_no_more() -> None:
    facts = replace(GOOD, explained=None, explain_error="no answer")
    assert walk(facts).verdict.works is None


def test_the_other_direction_needs_no_service() -> None:
    assert isinstance(FROM_V4, Facts)
    assert states(walk(FROM_V4), "service") == []
