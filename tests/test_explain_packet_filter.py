"""The way of a packet through rules: certain where the rules are, and doubtful where they are."""

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
from faith.cli.explain.packet_filter import Ends, Fate, fate
from faith.kernel.netlink.netlink import attributes
from faith.kernel.nft import expressions as e
from faith.kernel.nft.rule_dump import (
    ACCEPT,
    DROP,
    GOTO,
    JUMP,
    RETURN,
    DumpedChain,
    DumpedRule,
    DumpedSet,
    Element,
    Expression,
    Ruleset,
    Verdict,
    expression,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

CLIENT, MAPPED = "2001:db8:6::2", "2001:db8:ffff::c000:250"
SYN = Packet(CLIENT, MAPPED, TCP, 80, arrives=Interface(2, "eth0"))


def of(octets: bytes) -> tuple[Expression, ...]:
    """The expressions that the rules of FAITH are written with."""
    return tuple(expression(value) for _, value in attributes(octets))


UNKNOWN = (Expression("limit", {}),)
WORDS: dict[str, tuple[Expression, ...]] = {
    "drop": of(e.drop()),
    "accept": of(e.accept()),
    "return": of(e.leave()),
    "reject": of(e.reject(1)),
    "redir": of(e.redirect(80)),
    "queue": (Expression("queue", {}),),
    "maybe": UNKNOWN,
    "tcp": of(e.l4proto(TCP)),
    "udp": of(e.l4proto(UDP)),
    "jump": of(e.jump("other")),
    "80": of(e.dport_in("web")),
    "counter": of(e.counter()),
}


def rule(words: str, handle: int = 5) -> DumpedRule:
    return DumpedRule(handle, tuple(one for word in words.split() for one in WORDS[word]))


def chain(
    hook: str, name: str = "x", *, kind: str = "filter", family: str = "ip6", drops: bool = False
) -> DumpedChain:
    return DumpedChain(family, "filter", name, kind, hook, 0, drops)


def ends(
    rules: Iterable[str],
    other: Iterable[str] = (),
    packet: Packet = SYN,
    *,
    drops: bool = False,
) -> Fate:
    """The fate of *packet* by *rules* at input; *other* is a chain to jump to."""
    base, jumped = chain("input", drops=drops), DumpedChain("ip6", "filter", "other")
    web = DumpedSet((Element(b"\x00\x50", b"\x00\x50"),))
    ruleset = Ruleset(
        (base, jumped),
        {
            ("ip6", "filter", "x"): tuple(rule(words, at) for at, words in enumerate(rules, 1)),
            ("ip6", "filter", "other"): tuple(map(rule, other)),
        },
        {("ip6", "filter", "web"): web},
    )
    return fate(ruleset, "input", packet)


@pytest.mark.parametrize(
    ("rules", "end", "certain"),
    [
        ([], Ends.PASSES, True),
        (["drop"], Ends.DROPPED, True),
        (["tcp counter drop"], Ends.DROPPED, True),
        (["udp drop"], Ends.PASSES, True),
        (["80 reject"], Ends.REJECTED, True),
        (["accept", "drop"], Ends.PASSES, True),
        (["maybe drop"], Ends.DROPPED, False),
        (["maybe accept", "drop"], Ends.DROPPED, False),
        (["maybe drop", "accept"], Ends.DROPPED, False),
        (["maybe drop", "drop"], Ends.DROPPED, True),
        (["maybe udp drop"], Ends.PASSES, True),
        (["queue"], Ends.QUEUED, True),
        (["maybe return", "drop"], Ends.DROPPED, False),
    ],
)
def test_the_rules_of_one_chain(rules: list[str], end: Ends, certain: bool) -> None:
    found = ends(rules)
    assert (found.end, found.certain) == (end, certain)


def test_a_policy_drops_what_no_rule_accepts() -> None:
    found = ends(["udp accept"], drops=True)
    assert (found.end, found.handle, found.certain) == (Ends.DROPPED, 0, True)
    assert ends(["80 accept"], drops=True).passes
    assert not ends(["maybe accept"], drops=True).certain


def test_jumps_come_back_unless_something_ends_the_packet() -> None:
    assert ends(["jump", "drop"], ["return"]).end is Ends.DROPPED
    assert ends(["jump", "drop"], ["80 accept"]).passes
    assert ends(["jump"], ["drop"]).certain
    doubtful = ends(["maybe jump"], ["drop"])
    assert (doubtful.end, doubtful.certain) == (Ends.DROPPED, False)
    assert ends(["maybe jump", "accept"], ["return", "drop"]).passes


def test_a_loop_of_jumps_has_an_end() -> None:
    assert ends(["jump"], ["jump"]).passes


def test_a_goto_does_not_come_back() -> None:
    base, other = chain("input"), DumpedChain("ip6", "filter", "other")
    goto = DumpedRule(1, (Expression("immediate", _verdict(GOTO, "other")),))
    ruleset = Ruleset((base, other), {("ip6", "filter", "x"): (goto, rule("drop"))})
    assert fate(ruleset, "input", SYN).passes


def _verdict(code: int, to: str = "") -> dict[int, bytes]:
    from faith.kernel.netlink.netlink import attribute

    octets = e.number(1, code) + (e.string(2, to) if to else b"")
    return {1: bytes(4), 2: attribute(2, octets)}


def test_the_chains_of_a_hook_act_in_the_order_of_their_priority() -> None:
    first = DumpedChain("inet", "a", "x", "filter", "input", -10)
    last = DumpedChain("ip6", "b", "x", "filter", "input", 10)
    ruleset = Ruleset(
        (last, first),
        {("inet", "a", "x"): (rule("drop", 7),), ("ip6", "b", "x"): (rule("reject", 8),)},
    )
    assert fate(ruleset, "input", SYN).handle == 7


def test_tables_of_ours_and_of_other_families_are_left_out() -> None:
    for family, table in (
        ("ip6", "faith"),
        ("ip6", "faith-100"),
        ("ip6", "faith_flows"),
        ("ip", "filter"),
    ):
        other = DumpedChain(family, table, "x", "filter", "input", 0, True)
        assert fate(Ruleset((other,)), "input", SYN).passes


def test_a_table_that_only_begins_like_ours_counts() -> None:
    other = DumpedChain("ip6", "faithful", "x", "filter", "input", 0, True)
    assert not fate(Ruleset((other,)), "input", SYN).passes


def test_a_chain_of_an_interface_is_for_that_alone() -> None:
    for device, passes in (("eth0", False), ("eth1", True)):
        one = DumpedChain("netdev", "t", "x", "filter", "ingress", 0, True, (device,))
        assert fate(Ruleset((one,)), "ingress", SYN).passes is passes


def test_translation_is_for_first_packets() -> None:
    one = chain("prerouting", kind="nat")
    ruleset = Ruleset((one,), {("ip6", "filter", "x"): (rule("redir"),)})
    assert fate(ruleset, "prerouting", SYN).end is Ends.TRANSLATED
    later = Packet(CLIENT, MAPPED, TCP, 80, state=ESTABLISHED)
    assert fate(ruleset, "prerouting", later).passes


def loaded(offset: int) -> Expression:
    """Two octets of the transport header, in register 1."""
    return Expression(
        "payload", {n: e.number(1, v)[4:] for n, v in enumerate((1, 2, offset, 2), 1)}
    )


def test_a_map_of_verdicts_decides_by_what_is_known() -> None:
    by_map = Expression("lookup", {1: b"m\0", 2: bytes([0, 0, 0, 1]), 3: bytes(4)})
    by_port = (*of(e.l4proto(TCP)), loaded(2), by_map)
    by_source_port = (loaded(0), by_map)
    elements = (
        Element(b"\x00\x50", b"\x00\x50", Verdict(DROP)),
        Element(b"\x00\x51", b"\x00\x60", Verdict(ACCEPT)),
        Element(None, b"", Verdict(RETURN)),
    )
    base = chain("input")

    def with_rule(one: tuple[Expression, ...], port: int) -> Fate:
        ruleset = Ruleset(
            (base,),
            {("ip6", "filter", "x"): (DumpedRule(1, one), rule("reject", 2))},
            {("ip6", "filter", "m"): DumpedSet(elements)},
        )
        packet = Packet(CLIENT, MAPPED, TCP, port, arrives=Interface(2, "eth0"))
        return fate(ruleset, "input", packet)

    assert with_rule(by_port, 80).end is Ends.DROPPED
    assert with_rule(by_port, 85).passes
    assert with_rule(by_port, 22).passes  # by return, at the end of which is the policy
    doubtful = with_rule(by_source_port, 80)
    assert (doubtful.end, doubtful.certain) == (Ends.REJECTED, False)


def test_the_types_of_addresses_and_the_command() -> None:
    assert (LOCAL, UNICAST, JUMP) == (2, 1, -3)
    assert ends(["drop"]).command == "nft -a list chain ip6 filter x"


def test_a_large_set_is_searched_once_sorted() -> None:
    elements = tuple(
        Element(at.to_bytes(4, "big"), at.to_bytes(4, "big")) for at in range(9, 0, -2)
    )
    found = DumpedSet((*elements, Element(None, b"", b"else")))
    assert found.find(b"\0\0\0\x05") is elements[2]
    assert found.find(b"\0\0\0\x04") == found.find(bytes(4)) == Element(None, b"", b"else")


def test_ranges_of_a_concatenation_are_searched_by_each_part() -> None:
    wide = Element(b"\1\0\0\0\0\x05\0\0", b"\x09\0\0\0\0\x06\0\0")
    found = DumpedSet((wide, Element(b"\2\0\0\0\0\x08\0\0", b"\3\0\0\0\0\x09\0\0")), (1, 2))
    assert found.find(b"\2\0\0\0\0\x05\0\0") is wide
    assert found.find(b"\2\0\0\0\0\x07\0\0") is None


def test_what_comes_after_a_doubtful_goto_is_doubtful() -> None:
    base, other = (
        DumpedChain("ip6", "filter", "x", "filter", "input"),
        DumpedChain("ip6", "filter", "other"),
    )
    goto = DumpedRule(1, (*UNKNOWN, Expression("immediate", _verdict(GOTO, "other"))))
    ruleset = Ruleset((base, other), {("ip6", "filter", "x"): (goto, rule("drop"))})
    found = fate(ruleset, "input", SYN)
    assert (found.end, found.certain) == (Ends.DROPPED, False)


@pytest.mark.parametrize(("kind", "certain"), [(1, True), (2, False), (4, False), (5, False)])
def test_a_rule_by_a_named_object_is_certain_if_that_only_counts(kind: int, certain: bool) -> None:
    base = DumpedChain("ip6", "filter", "x", "filter", "input")
    named = Expression("objref", {1: kind.to_bytes(4, "big")})
    dropping = DumpedRule(1, (named, *WORDS["drop"]))
    found = fate(Ruleset((base,), {("ip6", "filter", "x"): (dropping,)}), "input", SYN)
    assert (found.end, found.certain) == (Ends.DROPPED, certain)
