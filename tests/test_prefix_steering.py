"""When prefixes are steered: not before the workers know them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from faith.daemon.process.loop import Loop
from faith.daemon.services import prefix_steering
from faith.daemon.services.prefix_steering import PrefixSteering
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST, SECOND = ((Prefix.parse(f"2001:db8:{number}::/96"),) for number in (1, 2))


class Gateway:
    """The steering of a pool whose worker lags, or does not."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.steered: list[tuple[Prefix, ...]] = []
        pool: Any = SimpleNamespace(behind=["a worker"])
        self.pool = pool
        self.steering = PrefixSteering(self.loop, self.pool, self._steer)

    def _steer(self, prefixes: tuple[Prefix, ...]) -> None:
        self.steered.append(prefixes)
        self.loop.stop()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.loop.close()


def test_prefixes_that_all_workers_know_are_steered_at_once(gateway: Gateway) -> None:
    gateway.pool.behind = []
    gateway.steering.follow(FIRST)
    gateway.steering.follow(())
    assert gateway.steered == [FIRST, ()]


def test_while_a_worker_lags_only_the_newest_ones_are_kept_in_mind(gateway: Gateway) -> None:
    gateway.steering.follow(FIRST)
    gateway.steering.follow(SECOND)
    assert gateway.steered == []
    gateway.loop.later(0.05, lambda: setattr(gateway.pool, "behind", []))
    gateway.loop.run()
    assert gateway.steered == [SECOND]


def test_one_that_never_applies_them_is_not_waited_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_steering, "PATIENCE", 0.05)
    gateway.steering.follow(FIRST)
    gateway.loop.run()
    assert gateway.steered == [FIRST]
