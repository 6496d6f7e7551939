"""Rules as nft(8) writes them, evaluated for a packet without sending it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.cli.explain.filtered_packet import (
    ESTABLISHED,
    LOCAL,
    TCP,
    UDP,
    UNICAST,
    Interface,
    Packet,
)
from faith.cli.explain.packet_filter import fate
from faith.kernel.nft import rule_dump

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import Host, Network

pytestmark = pytest.mark.netns

SYN = Packet("2001:db8:6::2", "2001:db8:ffff::c000:250", TCP, 80, arrives=Interface(2, "eth0"))
DATAGRAM = Packet("2001:db8:6::2", SYN.destination, UDP, 53, arrives=SYN.arrives)
SENT = Packet(
    "192.0.2.1",
    "192.0.2.80",
    TCP,
    80,
    leaves=Interface(3, "eth1"),
    source_type=LOCAL,
    destination_type=UNICAST,
    user=65534,
)
ANSWER = Packet(SYN.destination, SYN.source, TCP, 80, answer=True, state=ESTABLISHED)
YES, NO, MAYBE = "yes", "no", "maybe"


@pytest.fixture
def host(network: Network, need: Callable[[str], str]) -> Host:
    need("nft")
    return network.host("host")


def drops(host: Host, rule: str, packet: Packet, hook: str = "input", priority: str = "0") -> str:
    """Whether *rule*, which ends in drop, drops *packet*."""
    host.run(
        ["nft", "-f", "-"],
        stdin="flush ruleset\ntable inet t {\n"
        "set bad { type ipv6_addr; flags interval; elements = { 2001:db8:6::/64 } }\n"
        "set twins { type ipv6_addr . inet_service; elements = { 2001:db8:6::2 . 80 } }\n"
        "chain drops { drop\n }\n"
        f"chain c {{ type filter hook {hook} priority {priority};\n{rule}\n}}\n}}\n",
    )
    found = fate(host.call(rule_dump.read), hook, packet)
    if found.passes:
        return NO
    return YES if found.certain else MAYBE


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("drop", YES),
        ("tcp dport 80 drop", YES),
        ("tcp dport != 80 drop", NO),
        ("tcp dport { 22, 80-90 } drop", YES),
        ("tcp dport 1024-65535 drop", NO),
        ("tcp dport < 1024 drop", YES),
        ("tcp dport > 1024 drop", NO),
        ("tcp sport 1024-65535 drop", MAYBE),
        ("tcp sport 1024-65535 tcp dport 22 drop", NO),
        ("udp dport 80 drop", NO),
        ("meta l4proto tcp drop", YES),
        ("meta l4proto { tcp, udp } drop", YES),
        ("ip6 nexthdr tcp drop", YES),
        ("ip saddr 192.0.2.1 drop", NO),
        ("ip6 saddr 2001:db8:6::/64 drop", YES),
        ("ip6 saddr != 2001:db8:6::/64 drop", NO),
        ("ip6 saddr @bad drop", YES),
        ("ip6 daddr @bad drop", NO),
        ("ip6 saddr . tcp dport @twins drop", YES),
        ("ip6 saddr . tcp sport @twins drop", MAYBE),
        ('iifname "eth0" drop', YES),
        ('iifname "eth*" drop', YES),
        ('iifname != "eth0" drop', NO),
        ('iifname { "lo", "eth0" } drop', YES),
        ("meta nfproto ipv6 drop", YES),
        ("meta mark 1 drop", NO),
        ("meta mark set 1 meta mark 1 drop", YES),
        ("ct state new drop", YES),
        ("ct state established,related drop", NO),
        ("ct state invalid drop", NO),
        ("ct state vmap { new : drop, established : accept }", YES),
        ("ct mark 0 drop", YES),
        ("tcp flags & (syn | ack) == syn drop", YES),
        ("tcp flags syn / syn,rst,ack drop", YES),
        ("tcp flags ack drop", NO),
        ("tcp dport vmap { 80 : jump drops }", YES),
        ("tcp dport 80 jump drops", YES),
        ("fib daddr type local drop", YES),
        ("fib saddr type local drop", NO),
        ("limit rate 1/second drop", MAYBE),
        ("tcp dport 80 reject with tcp reset", YES),
        ('tcp dport 80 counter log prefix "x" drop', YES),
        ("meta skuid 0 drop", MAYBE),
        ("ip6 hoplimit 64 drop", MAYBE),
        ('meta day "Monday" drop', MAYBE),
    ],
)
def test_a_rule_for_the_first_packet(host: Host, rule: str, expected: str) -> None:
    assert drops(host, rule, SYN) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ip daddr 192.0.2.80 tcp dport 80 drop", YES),
        ("ip daddr 192.0.2.0/24 drop", YES),
        ("ip daddr != 192.0.2.0/24 drop", NO),
        ("ip protocol tcp drop", YES),
        ("meta skuid 65534 drop", YES),
        ("meta skuid != 65534 drop", NO),
        ("meta skuid >= 1000 drop", YES),
        ('oifname "eth1" drop', YES),
        ("ct state new tcp dport != { 22, 443 } drop", YES),
        ("ip6 daddr ::/0 drop", NO),
    ],
)
def test_a_rule_for_what_leaves(host: Host, rule: str, expected: str) -> None:
    assert drops(host, rule, SENT, "output") == expected


def test_a_rule_for_datagrams_and_answers(host: Host) -> None:
    assert drops(host, "udp dport 53 drop", DATAGRAM) == YES
    assert drops(host, "udp sport 53 drop", DATAGRAM) == MAYBE
    assert drops(host, "tcp sport 80 drop", ANSWER, "output") == YES
    assert drops(host, "ct state new drop", ANSWER, "output") == NO
    assert drops(host, "ct state established drop", ANSWER, "output") == YES


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ct state invalid drop", YES),
        ("ct state new drop", NO),
        ("ct direction original drop", NO),
        ("notrack ct state untracked drop", YES),
        ("notrack ct mark set 1 ct mark 1 drop", NO),
    ],
)
def test_connection_tracking_has_not_seen_what_comes_before_it(
    host: Host, rule: str, expected: str
) -> None:
    assert drops(host, rule, SYN, "prerouting", "raw") == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("meta mark set 7\nmeta mark 7 drop", YES),
        ("meta mark set 7\nmeta mark 0 drop", NO),
        ("tcp dport 81 meta mark set 7\nmeta mark 7 drop", NO),
        ("tcp sport 81 meta mark set 7\nmeta mark 7 drop", MAYBE),
        ("tcp sport 81 meta mark set 0\nmeta mark 0 drop", YES),
        ("meta mark set numgen inc mod 2\nmeta mark 1 drop", MAYBE),
        ("ct mark set 7\nct mark 7 drop", YES),
        ("tcp sport 81 accept\nmeta mark set 7\nmeta mark 0 drop", MAYBE),
    ],
)
def test_marks_go_from_rule_to_rule(host: Host, rules: str, expected: str) -> None:
    assert drops(host, rules, SYN) == expected


def test_reverse_path_filtering_by_a_rule(host: Host) -> None:
    rule = "fib saddr . iif oif missing drop"
    assert drops(host, rule, SYN, "prerouting") == NO
