"""The metrics that queries of Prometheus select, and a daemon that exposes all that there are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from faith.daemon.observe import own_numbers
from faith.daemon.observe.exposition import Exposition
from faith.daemon.observe.metric_areas import MetricAreas
from faith.daemon.observe.own_numbers import TABLES, OwnNumbers
from faith.daemon.observe.process_slots import ProcessState
from faith.daemon.observe.roles import DNS
from faith.dns import server_cells
from faith.dns.server_cells import ServerCells

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

_SELECTOR = re.compile(r"\b((?:faith|process)_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GIVEN = "job", "instance"
"""Labels that Prometheus adds to what it scrapes."""
SERVER = "192.0.2.53:53"
NAMES = "dns 1", "dns 2"
"""The name servers of the daemon."""


class Selector(NamedTuple):
    """A metric *name* in a query, and its *matchers*: label, operator, value."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]

    def selects(self, sample: Sample) -> bool:
        """Return whether a *sample* of a daemon is one of these."""
        return sample.name == self.name and all(
            label in _GIVEN or _matches(sample.labels.get(label, ""), operator, value)
            for label, operator, value in self.matchers
        )


def _matches(found: str, operator: str, value: str) -> bool:
    if "~" in operator:
        return bool(re.fullmatch(value, found)) == (operator == "=~")
    return (found == value) == (operator == "=")


def selectors(query: str) -> list[Selector]:
    """Return the selectors of our metrics in the text of a *query*, or of several."""
    return [
        Selector(name, tuple(_MATCHER.findall(matchers or "")))
        for name, matchers in _SELECTOR.findall(query)
    ]


def daemon() -> MetricAreas:
    """Return the slots of a daemon that has every process, table and limit."""
    areas = MetricAreas(2)
    slots = areas.slots
    roles = [role for role in slots.roles if role.kind != DNS or role.name in NAMES]
    slots.judge(ProcessState(role.name, True, 0) for role in roles)
    for role in roles:
        numbers = OwnNumbers(areas.area.slab(role.place, own_numbers.LAYOUT))
        numbers.fills |= dict.fromkeys(TABLES, lambda: (1, 10))
        numbers.note()
        if role.kind == DNS:
            cells = ServerCells(areas.area.slab(role.place, server_cells.LAYOUT))
            cells.write([(SERVER, "")])
    return areas


def exposed() -> str:
    """Return the exposition of such a daemon."""
    body, _ = Exposition(daemon().slots).text("")
    return body.decode()


def samples(text: str) -> list[Sample]:
    """Return the samples of an exposition."""
    return [one for family in text_string_to_metric_families(text) for one in family.samples]


def families(text: str) -> set[str]:
    """Return the names of the families of an exposition."""
    return {family.name for family in text_string_to_metric_families(text)}
