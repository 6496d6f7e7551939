"""The table ``[metrics]`` of faith.toml(5): where the admin listener is, and when it is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.config.probe_settings import MOST, NO_PROBES, ProbeSettings
from faith.daemon.config.readers import number, parsed, several, whole
from faith.daemon.config.static_map import network4
from faith.daemon.observe.health import ADMIN_PORT
from faith.dns import endpoint
from faith.dns.wire import NAME_LIMIT
from faith.errors import ConfigError

if TYPE_CHECKING:
    from faith.daemon.config.tables import Reader, T, Table
    from faith.dns.endpoint import Endpoint

PROBES = (
    *("probe_routes", "probe_targets", "probe_dns", "probe_name", "probe_workers"),
    *("probe_interval", "probe_timeout"),
)
KEYS = ("listen", *PROBES)
LEAST_INTERVAL, MOST_INTERVAL = 1.0, 3600.0


def listen(table: Table) -> tuple[str, int] | None:
    """Return the address and port of the admin listener, None without one.  Raises ConfigError."""
    return table.take("listen", parsed(_address), None)


def probes(table: Table, workers: int) -> ProbeSettings:
    """Return the probes of readiness of a daemon with so many *workers*.  Raises ConfigError."""
    usual = NO_PROBES
    interval = table.take("probe_interval", _seconds(LEAST_INTERVAL), usual.interval)
    found = ProbeSettings(
        routes=table.take("probe_routes", _some(parsed(network4)), usual.routes),
        targets=table.take("probe_targets", _some(parsed(_target)), usual.targets),
        dns=table.take("probe_dns", _some(parsed(endpoint.parse)), usual.dns),
        dns_name=table.take("probe_name", parsed(_name), usual.dns_name),
        workers=table.take("probe_workers", whole(1, workers), usual.workers),
        interval=interval,
        timeout=table.take("probe_timeout", _seconds(0.1), min(usual.timeout, interval)),
    )
    if found.timeout > interval:
        message = f"a probe has at most the {interval:g} s until the next one"
        raise table.fault(message, "probe_timeout")
    if "probe_name" in table and not found.dns:
        raise table.fault("it is asked of the servers in probe_dns, which is missing", "probe_name")
    return found


def _address(written: str) -> tuple[str, int]:
    return endpoint.parse(written, ADMIN_PORT)[:2]


def _target(written: str) -> Endpoint:
    found = endpoint.parse(written, 0)
    if not found.port:
        raise ConfigError(f"{written}: a target is ADDRESS:PORT, or [ADDRESS]:PORT")
    return found


def _name(written: str) -> str:
    """Return a name of ASCII with a dot at its end.  Raises ConfigError."""
    labels = written.removesuffix(".").split(".") if written != "." else []
    if not written.isascii() or not all(0 < len(label) < 64 for label in labels):
        raise ConfigError(f"{written}: this is no name, such as example.com")
    if sum(len(label) + 1 for label in labels) >= NAME_LIMIT:
        raise ConfigError(f"{written}: the name is too long")
    return "".join(f"{label}." for label in labels) or "."


def _some(read: Reader[T]) -> Reader[tuple[T, ...]]:
    """Return a reader of a list of `MOST` things at most, each by *read*."""

    def some(value: object) -> tuple[T, ...]:
        found = several(read)(value)
        if len(found) > MOST:
            raise ConfigError(f"there can be {MOST} at most")
        return found

    return some


def _seconds(least: float) -> Reader[float]:
    def seconds(value: object) -> float:
        found = number(value)
        if not least <= found <= MOST_INTERVAL:
            raise ConfigError(f"a number of seconds from {least:g} to {MOST_INTERVAL:g} is needed")
        return found

    return seconds
