"""The numbers of a status report, as the slabs of all processes of a daemon have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.observe.roles import DNS, FLOWS, PING, UDP, WORKER
from faith.daemon.observe.status_report import Names, NameServer, Proxied, Traffic, Use
from faith.datagram.ping import ping_counters
from faith.datagram.udp import udp_counters
from faith.dns import dns_counters, server_cells
from faith.flow import flow_counters
from faith.relay.tcp import relay_counters
from faith.translation import reasons

if TYPE_CHECKING:
    from faith.daemon.observe.process_slots import ProcessSlots
    from faith.kernel.shared.families import Family, Layout
    from faith.kernel.shared.shared_counters import Area

    Numbers = dict[str, int]
    """The numbers of a family by the values of its label."""


def traffic(slots: ProcessSlots) -> list[Traffic]:
    """Return what went by each path that there are processes for, or that has been used."""
    paths = (
        (WORKER, _relay(slots.area)),
        (FLOWS, _kernel(slots.area)),
        (UDP, _udp(slots.area)),
        (PING, _ping(slots.area)),
    )
    return [found for kind, found in paths if slots.has(kind) or found.begun]


def _relay(area: Area) -> Traffic:
    layout = relay_counters.LAYOUT
    opened = _total(area, layout, relay_counters.OPEN)
    ends = _numbers(area, layout, relay_counters.SESSIONS)
    octets = _numbers(area, layout, relay_counters.BYTES)
    return Traffic(
        "relay",
        opened,
        opened + sum(ends.values()),
        octets["server"],
        octets["client"],
        _counted(ends),
        _counted(_numbers(area, layout, relay_counters.REFUSALS)),
    )


def _kernel(area: Area) -> Traffic:
    layout = flow_counters.LAYOUT
    octets = _numbers(area, layout, flow_counters.OCTETS)
    return Traffic(
        "kernel",
        _total(area, layout, flow_counters.OPEN),
        _total(area, layout, flow_counters.BEGUN),
        octets["server"],
        octets["client"],
        _counted(_numbers(area, layout, flow_counters.ENDED)),
        _counted(_numbers(area, layout, flow_counters.REFUSALS)),
    )


def _udp(area: Area) -> Traffic:
    """Return the datagrams' numbers; those to IPv4 hosts count as sent to servers."""
    layout = udp_counters.LAYOUT
    octets = _numbers(area, layout, udp_counters.OCTETS)
    return Traffic(
        "udp",
        _total(area, layout, udp_counters.FLOWS),
        _total(area, layout, udp_counters.BEGUN),
        octets["v4"],
        octets["v6"],
        {},
        _counted(_numbers(area, layout, udp_counters.REFUSALS)),
    )


def _ping(area: Area) -> Traffic:
    """Return the pings' numbers: identifiers are open, echo requests are begun."""
    layout = ping_counters.LAYOUT
    return Traffic(
        "ping",
        _total(area, layout, ping_counters.IDENTIFIERS),
        sum(_numbers(area, layout, ping_counters.REQUESTS).values()),
        refusals=_counted(_numbers(area, layout, ping_counters.REFUSALS)),
    )


def proxied(slots: ProcessSlots, *, has_proxies: bool) -> Proxied | None:
    """Return what clients of proxies do and did; None if nobody ever asked, and there are none."""
    area, layout = slots.area, relay_counters.LAYOUT
    if layout not in area.layouts:
        return None
    refusals = _numbers(area, layout, relay_counters.REFUSALS)
    found = Proxied(
        _total(area, layout, relay_counters.PROXY_SESSIONS),
        _total(area, layout, relay_counters.ASSOCIATIONS),
        _counted(_numbers(area, layout, relay_counters.PROXY_REQUESTS)),
        _counted({why: refusals[why] for why in reasons.PROXY}),
    )
    return found if has_proxies or found != Proxied() else None


def uses(slots: ProcessSlots) -> list[Use]:
    """Return how full each table of each process is, and how many descriptors it has.

    ``sessions`` are those of all processes together.
    """
    found: list[Use] = []
    for process in slots:
        for fill in process.fills:
            if fill.table == "sessions":
                found.insert(0, Use(fill.table, open_sessions(slots.area), fill.places))
            else:
                found.append(Use(fill.table, fill.taken, fill.places, process.role))
        if process.up and process.descriptors:
            most = process.most_descriptors
            found.append(Use("descriptors", process.descriptors, most, process.role))
    return found


def open_sessions(area: Area) -> int:
    """Return the number of open sessions of all workers; 0 where there are none."""
    if relay_counters.LAYOUT not in area.layouts:
        return 0
    return _total(area, relay_counters.LAYOUT, relay_counters.OPEN)


def names(slots: ProcessSlots) -> Names | None:
    """Return the numbers of the name service; None where there is none."""
    if not slots.has(DNS):
        return None
    area, layout = slots.area, dns_counters.LAYOUT
    answers = _numbers(area, layout, dns_counters.ANSWERS)
    return Names(
        queries=sum(_numbers(area, layout, dns_counters.QUERIES).values()),
        at_once=answers["at once"],
        looked_up=answers["looked up"],
        stale=answers["stale"],
        failed=answers["failed"],
        synthesised=_total(area, layout, dns_counters.SYNTHESISED),
        servers=name_servers(slots),
    )


def name_servers(slots: ProcessSlots) -> list[NameServer]:
    """Return the servers that are asked; one is healthy if no process of names says otherwise."""
    errors: dict[str, str] = {}
    for role in slots.roles:
        if role.kind == DNS and slots.is_up(role):
            cells = slots.area.slab(role.place, server_cells.LAYOUT)
            for server, error in server_cells.read(cells):
                errors[server] = errors.get(server) or error
    return [NameServer(server, not error, error) for server, error in errors.items()]


def _numbers(area: Area, layout: Layout, family: Family) -> Numbers:
    return {value: area.total(layout, cell) for value, cell in layout.cells(family).items()}


def _total(area: Area, layout: Layout, family: Family) -> int:
    return area.total(layout, layout.start(family))


def _counted(numbers: Numbers) -> Numbers:
    return {value: number for value, number in numbers.items() if number}
