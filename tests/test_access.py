"""faithd.conf: KAME's grammar and its first match, read strictly."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.errors import ConfigError
from faith.translation.access import PERMIT_ALL, Access, Rule

KAME_SAMPLE = """
# permit anyone from our site to use the translator, to connect to the following IPv4 destinations:
# - any location except 10.0.0.0/8 and 127.0.0.0/8.
# Permit no other connections.
#
3ffe:501:ffff::/48 deny 10.0.0.0/8
3ffe:501:ffff::/48 deny 127.0.0.0/8
3ffe:501:ffff::/48 PERMIT 0.0.0.0/0    # the rest
"""


def v6(text: str) -> int:
    return int(IPv6Address(text))


def v4(text: str) -> int:
    return int(IPv4Address(text))


@pytest.mark.parametrize(
    ("client", "server", "permitted"),
    [
        ("3ffe:501:ffff::1", "192.0.2.1", True),
        ("3ffe:501:ffff::1", "10.1.2.3", False),
        ("3ffe:501:ffff::1", "127.0.0.1", False),
        ("3ffe:501:aaaa::1", "192.0.2.1", None),
    ],
)
def test_the_sample_of_the_man_page(client: str, server: str, permitted: bool | None) -> None:
    rule = Access.parse(KAME_SAMPLE).decide(v6(client), v4(server))
    assert (rule.permit if rule else None) == permitted


def test_the_rule_of_no_rules_names_nothing() -> None:
    assert (PERMIT_ALL.clients, PERMIT_ALL.permit, PERMIT_ALL.destinations) == (
        (0, 0),
        True,
        (0, 0),
    )
    assert not PERMIT_ALL.names((v4("127.0.0.0"), 8))


def test_no_rules_permit_everything() -> None:
    assert Access().decide(1, 1) is PERMIT_ALL
    assert Access.parse("# nothing here\n\n").decide(1, 1) is PERMIT_ALL


def test_the_fourth_word_is_the_source() -> None:
    access = Access.parse("2001:db8::/32 permit 10.0.0.0/8 10.1.1.1")
    rule = access.decide(v6("2001:db8::1"), v4("10.9.9.9"))
    assert rule is not None
    assert rule.source4 == v4("10.1.1.1")


def test_clients_may_be_ipv4_and_destinations_ipv6() -> None:
    access = Access.parse(
        "192.0.2.0/24 deny 10.0.0.0/8\n192.0.2.0/24 permit 2001:db8::/32\n::/0 permit 0.0.0.0/0"
    )
    client, other = v6("::ffff:192.0.2.9"), v6("::ffff:192.0.3.9")
    for asking, server, line in ((client, "10.1.1.1", 1), (other, "10.1.1.1", 3)):
        rule = access.decide(asking, v4(server))
        assert rule is not None
        assert rule.line == line
    inner = access.decide(client, v6("2001:db8::5"), 128)
    assert inner is not None
    assert (inner.line, inner.destinations, inner.bits) == (2, (v6("2001:db8::"), 32), 128)
    assert access.decide(other, v6("2001:db8::5"), 128) is None
    assert access.decide(client, v6("2001:db9::5"), 128) is None
    assert Access().decide(client, v6("2001:db8::5"), 128) is PERMIT_ALL


def test_a_last_line_without_newline_counts() -> None:
    rule = Access.parse("::/0 deny 10.0.0.0/8\n::/0 permit 10.0.0.1").decide(1, v4("10.0.0.1"))
    assert rule is not None
    assert not rule.permit


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "2001:db8::/32 permit",
            "a rule has three or four words: SRC[/len] permit|deny DST[/len] [",
        ),
        ("2001:db8::/32 permit 0.0.0.0/0 10.0.0.1 more", "three or four words"),
        ("2001:db8::/32 allow 0.0.0.0/0", "'allow' is neither permit nor deny"),
        ("2001:db8::/129 permit 0.0.0.0/0", "'2001:db8::/129' is not an address"),
        ("2001:db8::/32 permit 0.0.0.0/33", "'0.0.0.0/33' is not an address"),
        ("10.0.0.0/8 permit host", "'host' is not an address or network: SRC[/len] p"),
        ("10.0.0.0/8 permit ::/0 10.0.0.1", "IPv6 destinations ::/0 must not have the source 10"),
        ("::/0 permit ::ffff:10.0.0.0/104", "::ffff:10.0.0.0/104 is IPv4: write 10.0.0.0/8"),
        ("2001:db8::1/32 permit 0.0.0.0/0", "host bits are set; did you mean 2001:db8::/32?"),
        ("2001:db8::/32 deny 0.0.0.0/0 10.0.0.1", "deny rule must not have the source address"),
        ("2001:db8::/32 permit 0.0.0.0/0 10.0.0.0/8", "one address, no length"),
        ("2001:db8::/32 permit 0.0.0.0/0 ::1", "not an IPv4 address"),
    ],
)
def test_a_bad_line_is_refused_by_file_and_line(line: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        Access.parse(f"# comment\n::/0 permit 0.0.0.0/0\n{line}\n", "/etc/faithd.conf")
    assert str(caught.value).startswith("/etc/faithd.conf:3: ")


clients = st.builds(
    lambda a, n: IPv6Network((a, n), strict=False),
    st.integers(0, 15).map(lambda n: n << 124),
    st.integers(0, 4),
)
servers = st.builds(
    lambda a, n: IPv4Network((a, n), strict=False),
    st.integers(0, 15).map(lambda n: n << 28),
    st.integers(0, 4),
)
rules = st.lists(st.tuples(clients, st.booleans(), servers), min_size=1, max_size=30)


@given(rules, st.integers(0, 15), st.integers(0, 15))
def test_first_match_as_reading_from_the_top(
    written: list[tuple[IPv6Network, bool, IPv4Network]], client: int, server: int
) -> None:
    text = "\n".join(f"{c} {'permit' if p else 'deny'} {s}" for c, p, s in written)
    expected = next(
        (
            number
            for number, (c, _, s) in enumerate(written, 1)
            if IPv6Address(client << 124) in c and IPv4Address(server << 28) in s
        ),
        None,
    )
    rule = Access.parse(text).decide(client << 124, server << 28)
    assert (rule.line if rule else None) == expected


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    line: int | None = 1
    try:
        Access.parse(text, "f")
    except ConfigError as error:
        line = error.line
    assert line is not None


def test_a_rule_names_what_lies_inside() -> None:
    loopback = (v4("127.0.0.0"), 8)
    assert Rule((0, 0), True, (v4("127.0.0.1"), 32)).names(loopback)
    assert Rule((0, 0), True, loopback).names(loopback)
    assert not Rule((0, 0), True, (0, 0)).names(loopback)
    assert not Rule((0, 0), True, (v4("126.0.0.0"), 8)).names(loopback)
    inner = Rule((0, 0), True, (v6("fe80::1"), 128), bits=128)
    assert inner.names((v6("fe80::"), 10))
    assert not inner.names((v6("fec0::"), 10))


def test_asking_costs_groups_not_rules() -> None:
    many = Access([Rule((n << 96, 32), True, (0, 0)) for n in range(10_000)])
    assert len(many._groups[32]) == 1, "one dictionary look-up, however many rules of one shape"
    assert many.decide(9_999 << 96, 1) is many.rules[9_999]


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("::/0 permit 0.0.0.0/0\n2001:db8::/32 deny 10.0.0.0/8", [(2, 1)]),
        ("2001:db8::/32 deny 10.0.0.0/8\n::/0 permit 0.0.0.0/0", []),
        ("2001:db8::/32 deny 10.0.0.0/8\n2001:db8::/48 permit 10.0.0.0/7", []),
        ("2001:db8::/32 deny 10.0.0.0/8\n2001:db9::/48 permit 10.1.0.0/16", []),
        ("::/0 permit ::/0\n::/0 permit 0.0.0.0/0\n10.0.0.0/8 deny 2001:db8::1", [(3, 1)]),
        (
            "# x\n::1 deny 10.0.0.0/8\n\n::1 permit 10.0.0.0/8\n::1 permit 10.0.0.1",
            [(4, 2), (5, 2)],
        ),
    ],
)
def test_a_rule_that_decides_nothing_is_found(text: str, pairs: list[tuple[int, int]]) -> None:
    assert [(rule.line, by.line) for rule, by in Access.parse(text).shadowed()] == pairs


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=12))
def test_a_shadowed_rule_never_decides(some: list[tuple[int, int, bool]]) -> None:
    rules = [
        Rule((0x20010DB8 << 96, 32 + length), permit, (10 << 24, 8 + other), line=number)
        for number, (length, other, permit) in enumerate(some, 1)
    ]
    access = Access(rules)
    shadowed = {rule for rule, _ in access.shadowed()}
    for client in range(8):
        for server in range(8):
            at = (0x20010DB8 << 96) + (client << 93), (10 << 24) + (server << 21)
            assert access.decide(*at) not in shadowed


def test_all_lines_that_are_wrong_are_told() -> None:
    with pytest.raises(ConfigError) as told:
        Access.parse("::/0 alow 1.1.1.1\n::/0 permit 1.1.1.1\n::/0 permit “1.1.1.1”", "rules")
    assert [(error.file, error.line) for error in told.value.errors] == [("rules", 1), ("rules", 3)]
    assert "typographic quotation mark" in str(told.value.errors[1])
