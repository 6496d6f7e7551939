"""Exposition of the counters of all processes in the formats of Prometheus."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from faith.daemon.observe import own_numbers
from faith.daemon.observe.process_families import Processes
from faith.dns import server_cells
from faith.kernel.shared.families import COUNTER, HISTOGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client.core import Metric

    from faith.daemon.observe.process_slots import ProcessSlots
    from faith.kernel.shared.families import Family
    from faith.kernel.shared.shared_counters import Area

_MICRO = 1_000_000
_NO_METRICS = own_numbers.LAYOUT, server_cells.LAYOUT
"""Layouts of cells that are never summed."""


class Exposition:
    """The exposition of the counters in *slots*."""

    def __init__(self, slots: ProcessSlots) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Counters(slots.area))
        self._registry.register(Processes(slots))

    def text(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics in the form that an Accept header asks for, and its Content-Type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Counters(Collector):
    def __init__(self, area: Area) -> None:
        self._area = area

    def collect(self) -> Iterator[Metric]:
        for layout in self._area.layouts:
            if layout in _NO_METRICS:
                continue
            cells = self._area.totals(layout)
            for family in layout.families:
                yield metric(family, layout.of(family, cells))


def metric(family: Family, cells: Sequence[int]) -> Metric:
    """Return *family* with its numbers, for prometheus_client."""
    if family.kind == HISTOGRAM:
        return _histogram(family, cells)
    kind = CounterMetricFamily if family.kind == COUNTER else GaugeMetricFamily
    labels = [family.label] if family.label else []
    made = kind(family.name, family.help, labels=labels)
    for value, number in zip(family.values, cells, strict=True):
        made.add_metric([value] if labels else [], number)
    return made


def _histogram(family: Family, cells: Sequence[int]) -> Metric:
    *counts, total = cells
    bounds = [*map(floatToGoString, family.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(counts), strict=True))
    return HistogramMetricFamily(family.name, family.help, buckets, total / _MICRO)
