"""[udp] and [ping] of faith.toml(5)."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from faith.daemon.config.readers import choice, flag, number, parsed, seconds, whole
from faith.datagram.ping.identifiers import TIMEOUT
from faith.datagram.ping.ping_server import PingSettings
from faith.errors import ConfigError
from faith.kernel.sockets import service_names
from faith.relay.tcp.admission import MOST
from faith.translation.mtu import LEAST_MTU, MOST_MTU
from faith.translation.udp import flows

if TYPE_CHECKING:
    from faith.daemon.config.tables import Table
    from faith.translation.ports import Ports

_MTU = whole(LEAST_MTU, MOST_MTU)


def _keys(settings: type[flows.UdpSettings | PingSettings]) -> tuple[str, ...]:
    """Return the keys of a table for these settings; the length of a client is of [limits]."""
    names = [field.name for field in fields(settings) if field.name != "client_length"]
    return ("enabled", *names)


UDP_KEYS = _keys(flows.UdpSettings)
PING_KEYS = _keys(PingSettings)


def udp(table: Table, client_length: int) -> flows.UdpSettings | None:
    """Return the settings of ``[udp]``, or None where it is not enabled.

    A client is an IPv6 network of *client_length* bits.  Raises ConfigError.
    """
    usual = flows.UdpSettings()
    limit = whole(0, MOST - 1)
    try:
        settings = flows.UdpSettings(
            idle=table.take("idle", seconds, usual.idle),
            short=table.take("short", seconds, usual.short),
            short_ports=table.take("short_ports", parsed(_udp_ports), usual.short_ports),
            filtering=table.take("filtering", choice(flows.FILTERINGS), usual.filtering),
            flows=table.take("flows", limit, usual.flows),
            flows_per_client=table.take("flows_per_client", limit, usual.flows_per_client),
            mtu=table.take("mtu", _MTU, usual.mtu),
            dscp=table.take("dscp", flag, usual.dscp),
            client_length=client_length,
        )
    except ConfigError as error:
        if error.line is not None:
            raise
        key, _, message = error.message.partition(": ")
        raise table.fault(message, key) from error
    return settings if table.take("enabled", flag, True) else None


def _udp_ports(written: str) -> Ports:
    return service_names.ports(written, "udp")


def ping(table: Table, client_length: int) -> PingSettings | None:
    """Return the settings of ``[ping]``, as `udp` does."""
    usual = PingSettings()
    settings = PingSettings(
        timeout=table.take("timeout", seconds, usual.timeout),
        rate=table.take("rate", number, usual.rate),
        rate_per_client=table.take("rate_per_client", number, usual.rate_per_client),
        mtu=table.take("mtu", _MTU, usual.mtu),
        client_length=client_length,
    )
    if settings.timeout < TIMEOUT:
        table.note(f"must be at least {TIMEOUT:g} seconds (RFC 5508 REQ-2)", "timeout")
    for key in ("rate", "rate_per_client"):
        if 0 < getattr(settings, key) < 1:
            table.note("must be at least 1, or 0 for no limit", key)
    return settings if table.take("enabled", flag, True) else None
