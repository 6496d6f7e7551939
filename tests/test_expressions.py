from __future__ import annotations

import pytest

from faith.kernel.netlink.netlink import attribute, attributes
from faith.kernel.nft import expressions as e

RULE = e.tcp_flags(e.SYN | e.ACK, e.SYN) + e.counter() + e.reject_with_reset()


def test_a_rule_matches_itself() -> None:
    assert e.matches(RULE, RULE)


@pytest.mark.parametrize(
    "other",
    [
        b"",
        RULE + e.accept(),
        e.accept() + RULE,
        e.tcp_flags(e.SYN | e.ACK, e.SYN) + e.reject_with_reset(),
        e.tcp_flags(e.SYN | e.ACK, e.ACK) + e.counter() + e.reject_with_reset(),
        e.tcp_flags(e.SYN, e.SYN) + e.counter() + e.reject_with_reset(),
        e.tcp_flags(e.SYN | e.ACK, e.SYN) + e.counter() + e.reject(e.PORT_UNREACHABLE),
    ],
)
def test_another_rule_does_not_match(other: bytes) -> None:
    assert not e.matches(RULE, other)
    assert not e.matches(other, RULE)


def test_what_a_counter_has_counted_is_no_difference() -> None:
    ((kind, plain),) = attributes(e.counter())
    name = dict(attributes(plain))[1]
    packets = attribute(2, (7).to_bytes(8, "big"))
    counted = attribute(kind, attribute(1, name) + attribute(2, packets))
    assert e.matches(e.counter(), counted)
    assert not e.matches(counted, e.counter())


def test_a_verdict_is_a_negative_number_of_32_bits() -> None:
    assert e.jump("reserved").count((-3).to_bytes(4, "big", signed=True)) == 1
    assert e.leave().count((-5).to_bytes(4, "big", signed=True)) == 1


def test_protocol_and_its_opposite_differ() -> None:
    assert not e.matches(e.l4proto(e.UDP), e.l4proto_not(e.UDP))
