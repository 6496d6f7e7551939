from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.kernel.flow.flow_maps import FlowMaps
from tests.conftest import do_without
from tests.flow.stand import Stand

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def maps() -> Iterator[FlowMaps]:
    """Maps of 64 flows."""
    with _made(64) as made:
        yield made


@pytest.fixture
def large_maps() -> Iterator[FlowMaps]:
    """Maps of 1024 flows."""
    with _made(1024) as made:
        yield made


def _made(slots: int) -> FlowMaps:
    try:
        return FlowMaps.create(slots)
    except PermissionError as error:
        do_without(f"no maps of BPF: {error.strerror}")


@pytest.fixture
def stand(maps: FlowMaps) -> Stand:
    return Stand(maps)
