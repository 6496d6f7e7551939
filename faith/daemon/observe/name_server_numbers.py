"""The numbers of a process that answers for names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.observe import log_counters, own_numbers
from faith.daemon.observe.log import count_in
from faith.dns import dns_counters, server_cells
from faith.dns.dns_counters import Counters
from faith.dns.server_cells import ServerCells

if TYPE_CHECKING:
    from faith.kernel.shared.shared_counters import Area

LAYOUTS = dns_counters.LAYOUT, server_cells.LAYOUT, log_counters.LAYOUT, own_numbers.LAYOUT
"""The cells of such a process."""


def enter(area: Area, place: int) -> Counters:
    """Become the name server that writes in a *place* of *area*; return its counters."""
    area.enter(place)
    count_in(area.slab(place, log_counters.LAYOUT))
    counters = Counters(area.slab(place, dns_counters.LAYOUT))
    servers = ServerCells(area.slab(place, server_cells.LAYOUT))
    own = own_numbers.write_in(area.slab(place, own_numbers.LAYOUT))
    own.fills = counters.fills
    own.also(lambda: servers.write(counters.servers()))
    return counters
