"""The rules of the legacy iptables, as iptables-save prints them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from faith.cli.explain.filtered_packet import ESTABLISHED, ICMPV6, TCP, Interface, Packet
from faith.cli.explain.legacy_filter import fate

SYN = Packet("2001:db8:6::2", "2001:db8:ffff::c000:250", TCP, 80, arrives=Interface(2, "eth0"))


def ends(*rules: str, policy: str = "ACCEPT", packet: Packet = SYN) -> tuple[str, bool] | None:
    """The end of *packet* by *rules* of the chain INPUT, or of those that a rule names."""
    lines = [rule if rule.startswith("-A") else f"-A INPUT {rule}" for rule in rules]
    head = f"# saved\n*filter\n:INPUT {policy} [1:2]\n:other - [0:0]\n"
    found = fate(head + "\n".join(lines) + "\nCOMMIT\n", packet, ("PREROUTING", "INPUT"))
    return (found.verb, found.certain) if found else None


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], None),
        (["-j DROP"], ("drops", True)),
        (["-p tcp -m tcp --dport 80 -j DROP"], ("drops", True)),
        (["-p tcp -m tcp --dport 22 -j DROP"], None),
        (["-p udp -m udp --dport 80 -j DROP"], None),
        (["-p tcp -m tcp --dport 79:81 -j REJECT --reject-with tcp-reset"], ("rejects", True)),
        (["-p tcp -m multiport --dports 22,80 -j DROP"], ("drops", True)),
        (["-s 2001:db8:6::/64 -j DROP"], ("drops", True)),
        (["! -s 2001:db8:6::/64 -j DROP"], None),
        (["-i eth+ -j DROP"], ("drops", True)),
        (["-i eth1 -j DROP"], None),
        (["-p tcp -m tcp --sport 1024 -j DROP"], ("drops", False)),
        (["-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-j DROP"], ("drops", True)),
        (["-m state --state NEW -j ACCEPT", "-j DROP"], None),
        (['-m comment --comment "a word" -j DROP'], ("drops", True)),
        (["-m limit --limit 3/sec -j ACCEPT", "-j DROP"], ("drops", False)),
        (["-m set --match-set bad src -j DROP"], ("drops", False)),
        (["-j LOG --log-prefix x", "-j DROP"], ("drops", True)),
        (["-j other", "-j DROP", "-A other -j RETURN"], ("drops", True)),
        (["-j other", "-j DROP", "-A other -p tcp -j ACCEPT"], None),
        (["-g other", "-j DROP", "-A other -p udp -j DROP"], None),
        (["-j SOMETHING", "-j DROP"], ("drops", False)),
    ],
)
def test_rules(rules: list[str], expected: tuple[str, bool] | None) -> None:
    assert ends(*rules) == expected


def test_a_policy() -> None:
    assert ends(policy="DROP") == ("drops", True)
    assert ends("-p tcp -j ACCEPT", policy="DROP") is None
    assert ends("-m limit --limit 3/sec -j ACCEPT", policy="DROP") == ("drops", False)


def test_translation_is_for_first_packets() -> None:
    saved = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j REDIRECT\nCOMMIT\n"
    found = fate(saved, SYN, ("PREROUTING",))
    assert found
    assert found.verb == "translates"
    later = Packet(SYN.source, SYN.destination, TCP, 80, state=ESTABLISHED)
    assert fate(saved, later, ("PREROUTING",)) is None


def test_states_are_not_known_where_packets_are_left_untracked() -> None:
    saved = (
        "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j CT --notrack\nCOMMIT\n"
        "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m conntrack ! --ctstate NEW -j DROP\nCOMMIT\n"
    )
    found = fate(saved, SYN, ("PREROUTING", "INPUT"))
    assert found
    assert not found.certain
    assert fate(saved.replace("-j CT --notrack", "-j ACCEPT"), SYN, ("INPUT",)) is None


def test_echo_requests_are_taken_before_the_table_filter() -> None:
    echo = replace(SYN, protocol=ICMPV6, port=0)
    assert ends("-j DROP", packet=echo) is None
    assert ends("-j DROP", packet=replace(echo, answer=True)) == ("drops", True)
