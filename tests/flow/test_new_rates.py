from __future__ import annotations

from faith.flow.new_rates import NewRates
from tests.flow.stand import settings

SECOND = 1_000_000_000


def admitted(rates: NewRates, share: int, count: int, now: int = SECOND) -> int:
    return sum(rates.refuses(share, now) is None for _ in range(count))


def test_a_burst_is_admitted_and_then_the_rate() -> None:
    rates = NewRates(settings(rate_per_client=10))
    assert admitted(rates, 1, 100) == 50
    assert admitted(rates, 2, 100) == 50
    later = sum(admitted(rates, 1, 20, now=SECOND * (2 + n)) for n in range(20))
    assert 170 <= later <= 230
    assert rates.refuses(1, SECOND * 21) == "too many new sessions of the client"


def test_the_burst_is_that_of_the_settings() -> None:
    rates = NewRates(settings(rate_per_client=10, burst=2.0))
    assert admitted(rates, 1, 100) == 20
    rates.limit(settings(rate_per_client=10, burst=4.0))
    assert admitted(rates, 1, 100) == 20
    assert admitted(rates, 2, 100) == 40


def test_a_rate_of_all_is_shared() -> None:
    rates = NewRates(settings(rate=10))
    assert admitted(rates, 1, 30) + admitted(rates, 2, 100) == 50
    assert rates.refuses(3, SECOND) == "too many new sessions"


def test_without_rates_nothing_is_limited() -> None:
    rates = NewRates(settings())
    assert not rates.limited
    rates.limit(settings(rate=1))
    assert rates.limited
    rates.limit(settings(rate_per_client=1))
    assert rates.limited
