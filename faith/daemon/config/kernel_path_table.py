"""[flows] of faith.toml(5), and the settings of flows that other tables have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faith.daemon.config.readers import parsed, path, seconds, several, text, whole
from faith.daemon.config.settings import PINS, KernelPath
from faith.errors import ConfigError
from faith.flow.flow_settings import MOST_FLOWS, MOST_MSS, FlowSettings
from faith.kernel.sockets import service_names
from faith.translation.networks import Networks, contains
from faith.translation.sources import Addresses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.daemon.config.settings import Settings
    from faith.daemon.config.tables import Document, Reader, Table
    from faith.relay.tcp.relay_settings import Settings as RelaySettings
    from faith.translation.ports import Ports

KEYS = ("addresses", "ports", "shared_ports", "mss", "limit", "half_open", "pins")
TIMEOUTS = ("tcp_syn", "tcp_trans", "tcp_est")
"""The keys of ``[timeouts]`` that are about flows."""
MOST_ADDRESSES = 1024


def flow_settings(services: Ports, relay: RelaySettings, **chosen: Any) -> FlowSettings:
    """Return the settings of flows to the ports *services*, with limits and lifetime of *relay*.

    A client of the kernel path is a network of ``prefix_length`` bits: the limits of a network
    apply to it, and where there are none, those of an address.  Raises ConfigError.
    """
    limits = relay.limits
    return FlowSettings(
        services=services,
        flows_per_client=limits.sessions_per_prefix or limits.sessions_per_client,
        rate=limits.rate,
        rate_per_client=limits.rate_per_prefix or limits.rate_per_client,
        burst=limits.burst,
        client_length=limits.prefix_length,
        lifetime=relay.lifetime,
        **chosen,
    )


def read(document: Document, settings: Settings) -> KernelPath | None:
    """Return the settings of the kernel path; None where *settings* want it for no port.

    Raises ConfigError for a mistake, also where nothing goes by the kernel path.
    """
    table, timeouts = document.table("flows"), document.table("timeouts")
    readers: dict[str, Reader[Any]] = {
        "addresses": _addresses,
        "ports": parsed(service_names.ports),
        "shared_ports": parsed(service_names.ports),
        "mss": whole(0, MOST_MSS),
        "limit": whole(1, MOST_FLOWS),
        "half_open": whole(1, MOST_FLOWS),
    }
    taken = {_field(key): table.take(key, read, None) for key, read in readers.items()}
    chosen = {field: value for field, value in taken.items() if value is not None}
    times = {key: timeouts.take(key, seconds, 0.0) for key in TIMEOUTS if key in timeouts}
    ports = settings.kernel_ports | settings.auto_ports
    try:
        flows = flow_settings(ports, settings.relay, **chosen, **times)
    except ConfigError as error:
        field, _, message = error.message.partition(": ")
        where = timeouts if field in times else table
        key = next(key for key in (*KEYS, *TIMEOUTS) if _field(key) == field)
        raise where.fault(message, key) from error
    _check_addresses(table, document.tables("source"), settings)
    pins = table.take("pins", path, PINS)
    return KernelPath(flows, pins) if ports else None


def _field(key: str) -> str:
    """Return the name of the field of `FlowSettings` for *key*."""
    return "address_ports" if key == "ports" else key


def _addresses(value: Any) -> tuple[int, ...]:
    found = Addresses.parse(several(text)(value))
    if len(found) > MOST_ADDRESSES:
        raise ConfigError(f"{len(found)} addresses; {MOST_ADDRESSES} is the most")
    return tuple(found[index] for index in range(len(found)))


def _check_addresses(table: Table, sources: Iterable[Table], settings: Settings) -> None:
    """Raise ConfigError for an address of flows that *settings* have another use for."""
    mapped = Networks(32, settings.maps.networks)
    pool = Networks(32, settings.dns.pool if settings.dns else ())
    texts: tuple[str, ...] = table.take("addresses", several(text), ())
    for number, written in enumerate(texts):
        for address in _addresses([written]):
            if address in mapped:
                one = next(one for one in settings.maps if contains(one.v4, (address, 32)))
                use = f"mapped ({one.file}:{one.line})"
            elif address in pool:
                use = "in the pool of [dns]"
            elif source := _source_of(address, sources, settings):
                use = f"in the [[source]] on line {source.line('addresses')}"
            else:
                continue
            message = f"{written} is {use}; flows need addresses that are used for nothing else"
            raise table.fault(message, "addresses", number)


def _source_of(address: int, tables: Iterable[Table], settings: Settings) -> Table | None:
    for table, source in zip(tables, settings.sources.sources, strict=True):
        if any(first <= address <= last for first, last in source.addresses.ranges):
            return table
    return None
