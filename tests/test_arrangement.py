"""The order of the rows, and their groups."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.cli.top.arrangement import (
    BY_CLIENT,
    BY_SERVER,
    GROUPS,
    LARGEST_FIRST,
    SORTS,
    Arrangement,
    client_network,
    narrower,
    server_address,
)
from faith.errors import ConfigError
from faith.translation.selection import Network
from tests.top_rows import row, rows

if TYPE_CHECKING:
    from faith.cli.top.rates import Row

ARRANGEMENTS = st.builds(
    Arrangement, st.sampled_from(SORTS), st.booleans(), st.sampled_from(GROUPS)
)


@given(rows(), ARRANGEMENTS)
def test_nothing_is_lost_and_nothing_is_invented(given: list[Row], how: Arrangement) -> None:
    shown = how.arrange(given)
    assert sum(one.sessions for one in shown) == len(given)
    for name in ("sent", "received"):
        assert sum(getattr(one, name) for one in shown) == sum(getattr(one, name) for one in given)
    for name in ("sent_rate", "received_rate"):
        sums = [math.fsum(getattr(one, name) or 0.0 for one in of_it) for of_it in (shown, given)]
        assert math.isclose(*sums, rel_tol=1e-9)
        unknown = [getattr(one, name) is None for one in given]
        assert any(getattr(one, name) is None for one in shown) <= any(unknown)
    assert max((one.seconds for one in shown), default=0) == max(
        (one.seconds for one in given), default=0
    )
    assert len({one.key for one in shown}) == len(shown)


@given(rows(), ARRANGEMENTS)
def test_rows_are_in_order(given: list[Row], how: Arrangement) -> None:
    shown = how.arrange(given)
    attribute = {"sent/s": "sent_rate", "received/s": "received_rate"}.get(how.sort, how.sort)
    values = [getattr(one, attribute) for one in shown]
    values = [-1.0 if value is None else value for value in values]
    assert values == sorted(values, reverse=not how.ascending)
    assert how.arrange(given[::-1]) == shown or how.group  # sums of floats depend on the order


def test_the_largest_or_the_first_comes_first() -> None:
    for sort in SORTS:
        assert Arrangement(sort).ascending == (sort not in LARGEST_FIRST)
        assert Arrangement(sort, reverse=True).ascending == (sort in LARGEST_FIRST)


def test_what_is_not_known_is_least() -> None:
    known, unknown = row("1-1", sent_rate=0.0, received_rate=0.0), row("1-2")
    assert Arrangement("rate").arrange([unknown, known]) == [known, unknown]


def test_groups_are_of_client_networks_or_servers() -> None:
    given = [
        row("1-1", "[2001:db8:6::2]:1", sent=1, sent_rate=2.0),
        row("1-2", "[2001:db8:6::3]:1", sent=2, server="192.0.2.81:80"),
        row("1-3", "[2001:db8:7::2]:1", sent=4, stage="dialling"),
        row("1-4", "198.51.100.7:1", sent=8, server="[2001:db8::1]:80", source="[2001:db8::2]:1"),
    ]
    by_client = {one.client: one for one in Arrangement(group=BY_CLIENT).arrange(given)}
    assert set(by_client) == {"2001:db8:6::/64", "2001:db8:7::/64", "198.51.100.7"}
    first = by_client["2001:db8:6::/64"]
    assert (first.sessions, first.sent, first.sent_rate) == (2, 3, 2.0)
    assert (first.server, first.source, first.received_rate) == ("2 servers", "192.0.2.1", None)
    by_server = {one.server: one for one in Arrangement(group=BY_SERVER).arrange(given)}
    assert set(by_server) == {"192.0.2.80", "192.0.2.81", "2001:db8::1"}
    assert by_server["192.0.2.80"].client == "2 clients"
    assert by_server["192.0.2.80"].stage == "2 stages"


@pytest.mark.parametrize("text", ["", "nobody", "nobody:80", "[2001:db8::1]:http", "[x::1]:1"])
def test_what_is_no_endpoint_stays_as_it_is(text: str) -> None:
    assert client_network(text) == server_address(text) == text


def test_a_zone_is_left_out() -> None:
    assert client_network("[fe80::1%eth0]:99") == "fe80::/64"


@given(st.ip_addresses(v=6), st.integers(0, 128))
def test_the_narrower_of_two_networks_is_in_both(address: object, length: int) -> None:
    network = client_network(f"[{address}]:1")
    value = int(address) >> (128 - length) << (128 - length)  # type: ignore[call-overload]
    other = f"{type(address)(value)}/{length}"  # type: ignore[call-arg]
    found = narrower(network, other)
    assert found in (network, other)
    for one in (network, other):
        assert found.partition("/")[0] in Network(one)
    assert narrower(network, None) == network


@pytest.mark.parametrize("words", [{"sort": "size"}, {"group": "port"}])
def test_others_are_refused(words: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="is not one of"):
        Arrangement(**words)  # type: ignore[arg-type]
