"""Facts of a connection that works, for tests that change one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from faith.cli.explain.explanation import Explanation, Question
from faith.cli.explain.facts import DaemonFacts, Facts
from faith.cli.explain.proxied_facts import ProxiedFacts
from faith.cli.explain.walk import walk
from faith.daemon.config.decision import Decision, ServiceOfPort
from faith.daemon.config.proxied_decision import ProxiedExplained, ProxyForClient
from faith.daemon.observe.status_report import ServedProxy
from faith.daemon.services.explain_query import Explained
from faith.kernel.netlink.route_query import Answer, LinkState
from faith.kernel.netlink.routes import PROTOCOL
from faith.kernel.nft.guard import GuardState
from faith.kernel.nft.rule_dump import Ruleset
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix

CLIENT, SERVER, SOURCE = "2001:db8:6::2", "192.0.2.80", "192.0.2.1"
PREFIX = Prefix.parse("2001:db8:ffff::/96")
MAPPED = "2001:db8:ffff::c000:250"
LOCAL, UNICAST = 2, 1
LINKS = {
    1: LinkState(1, "lo", 65536, True, True, True),
    2: LinkState(2, "eth0", 1500, True, True, False),
    3: LinkState(3, "eth1", 1500, True, True, False),
}
DAEMON = DaemonFacts(100, "http", Ports([(80, 80)]), workers=2)
DECISION = Decision(
    MAPPED,
    80,
    "tcp",
    False,
    server=SERVER,
    served=True,
    service=ServiceOfPort("http", "80", "relay"),
    rules_file="/etc/faithd.conf",
    ports="80",
    user="65534",
)
GOOD = Facts(
    Question(CLIENT, SERVER, 80, "tcp"),
    mapped=MAPPED,
    server=SERVER,
    prefixes=(PREFIX,),
    route_in=Answer(0, LOCAL, 1, protocol=PROTOCOL, network="2001:db8:ffff::", length=96),
    route_back=Answer(0, UNICAST, 2),
    route_out=Answer(0, UNICAST, 3, source=SOURCE),
    arrives=2,
    links=LINKS,
    guard=GuardState(True, True, frozenset({(PREFIX.address, 96)})),
    ruleset=Ruleset(),
    daemons=(DAEMON,),
    explained=Explained(DECISION, workers=2),
    user=65534,
    listening=True,
    steered=True,
    mtu_probing="1",
)
FROM_V4 = replace(
    GOOD,
    question=Question(SERVER, "192.0.2.102", 80, "tcp"),
    mapped="192.0.2.102",
    server=CLIENT,
    route_in=Answer(0, LOCAL, 1, protocol=PROTOCOL),
    route_back=Answer(0, UNICAST, 3),
    route_out=Answer(0, UNICAST, 2),
    arrives=3,
    explained=Explained(
        Decision(
            "192.0.2.102",
            80,
            "tcp",
            True,
            server=CLIENT,
            server_port=80,
            source=MAPPED,
            source_from="client",
            served=True,
            map="192.0.2.102 2001:db8:6::2",
            user="65534",
        )
    ),
)


FRONT = replace(
    GOOD,
    question=Question(CLIENT, "2001:db8:6::1", 1080, "tcp", True),
    mapped="2001:db8:6::1",
    server="",
    route_in=Answer(0, LOCAL, 1),
    route_out=Answer(),
    guard=None,
    daemons=(replace(DAEMON, proxies=(ServedProxy("[::]:1080"),)),),
    explained=Explained(Decision("2001:db8:6::1", 1080, "tcp", False), workers=2),
    steered=None,
)
"""The way of a client to a proxy."""
BY_PROXY = replace(
    GOOD,
    question=Question(CLIENT, SERVER, 80, "tcp", True),
    mapped=SERVER,
    guard=None,
    steered=None,
)
"""The way from a proxy to a server."""
PROXY = ProxyForClient(
    "::", 1080, True, ["2001:db8:6::/64"], True, ["socks5", "socks4", "connect", "http"], "443"
)
PROXIED = ProxiedFacts(
    Question(CLIENT, SERVER, 80, "tcp", True),
    FRONT,
    ProxiedExplained([PROXY], [DECISION], workers=2, user="65534"),
    PROXY,
    targets=(BY_PROXY,),
)


def decided(facts: Facts, **changes: Any) -> Facts:
    """Return *facts* with another decision."""
    assert facts.explained
    decision = msgspec.structs.replace(facts.explained.decision, **changes)
    return replace(facts, explained=msgspec.structs.replace(facts.explained, decision=decision))


def told(facts: Facts, **changes: Any) -> Facts:
    """Return *facts* with another answer of the daemon."""
    assert facts.explained
    return replace(facts, explained=msgspec.structs.replace(facts.explained, **changes))


def asked(facts: Facts, **changes: Any) -> Facts:
    """Return *facts* about another question."""
    return replace(facts, question=msgspec.structs.replace(facts.question, **changes))


def verdict(facts: Facts) -> tuple[str | None, bool]:
    """Return the cause that *facts* lead to, and whether it is certain."""
    found = walk(facts).verdict
    return found.cause, found.certain


def states(found: Explanation, step: str) -> list[str]:
    """Return the states of the steps called *step*."""
    return [one.state for one in found.steps if one.step == step]
