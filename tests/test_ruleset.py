from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from faith.kernel.nft.ruleset import ADDRESS, PORT, Chain, Hook, Rule, Set, Table
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    length = draw(st.integers(8, 96))
    few = st.integers(0, min(7, (1 << (length - 3)) - 1))  # few of each length, so that they nest
    return Prefix(1 << 125 | draw(few) << (128 - length), length)


@given(st.lists(prefixes(), max_size=6), st.integers(0, (1 << 128) - 1))
def test_a_set_holds_what_its_prefixes_hold_and_no_interval_meets_another(
    some: list[Prefix], anything: int
) -> None:
    ranges = Set.of_prefixes("prefixes", some).ranges
    probes = {anything, *(p.address for p in some), *(p.address - 1 for p in some)}
    for probe in probes:
        assert any(probe in p for p in some) == any(a <= probe <= b for a, b in ranges)
    assert all(last < first for (_, last), (first, _) in pairwise(ranges))


def test_adjacent_prefixes_stay_apart() -> None:
    some = [Prefix.parse(f"2001:db8:0:0:0:{n}::/96") for n in (1, 2)]
    assert len(Set.of_prefixes("prefixes", some).ranges) == 2


def test_kinds() -> None:
    assert (ADDRESS.top, PORT.top) == ((1 << 128) - 1, 65535)


def test_an_empty_set_has_no_elements() -> None:
    assert "elements" not in Set("open_ports", PORT).text()


def test_the_text_of_a_table() -> None:
    table = Table(
        "example",
        (
            Set.of_ports("ports", Ports([(22, 22), (8000, 8100)])),
            Set.of_prefixes("prefixes", [Prefix.parse("2001:db8::/96")]),
        ),
        (Chain("in", (Rule("accept", b""),), Hook("filter", "input", -5)), Chain("sub", ())),
    )
    assert (
        table.text()
        == """\
table ip6 example
delete table ip6 example
table ip6 example {
	set ports {
		type inet_service
		flags interval
		elements = { 22, 8000-8100 }
	}

	set prefixes {
		type ipv6_addr
		flags interval
		elements = { 2001:db8::/96 }
	}

	chain in {
		type filter hook input priority -5; policy accept;
		accept
	}

	chain sub {
	}
}
"""
    )
