"""faith.toml(5): the configuration of a whole daemon in one file."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from faith.daemon.config import (
    address_pools,
    datagram_tables,
    dns_table,
    kernel_path_table,
    listener_access,
    map_file,
    metrics_table,
    proxy_table,
    readers,
    static_map,
    tried_files,
)
from faith.daemon.config.local_server import LocalServer
from faith.daemon.config.policy import Rules
from faith.daemon.config.readers import (
    choice,
    flag,
    number,
    parsed,
    path,
    seconds,
    several,
    text,
    whole,
)
from faith.daemon.config.settings import (
    ALGS,
    KERNEL,
    PATHS,
    REDIRECT,
    RELAY,
    Service,
    Settings,
    union,
)
from faith.daemon.config.tables import Document
from faith.daemon.observe.log import FORMS
from faith.daemon.observe.records import Recording
from faith.daemon.process.runtime_directory import DIRECTORY
from faith.errors import ConfigError, SetupError
from faith.kernel.process.capabilities import default_user
from faith.kernel.sockets import service_names
from faith.kernel.steering import METHODS, route
from faith.relay.tcp.admission import MOST, Limits
from faith.relay.tcp.relay_settings import Settings as RelaySettings
from faith.relay.tcp.relay_settings import V4ToV6Settings
from faith.relay.tcp.routing import SOURCES
from faith.translation.access import Access
from faith.translation.map import DIRECTIONS, PROTOCOLS, Map
from faith.translation.map_table import NO_MAPS, Maps
from faith.translation.networks import Networks
from faith.translation.prefix import LAYOUTS, LOW32, Prefix, Prefixes, never_reserved
from faith.translation.proxy_protocol import V1, V2, VERSIONS
from faith.translation.sources import NO_SOURCES
from faith.translation.udp.flows import UdpSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from faith.daemon.config.tables import Reader, Table

T = TypeVar("T")

CONTROL = DIRECTORY / "control.sock"
"""The control socket, where the file names none."""
DRAIN_TIMEOUT = 30.0
KEYS = {
    "": ("workers", "user", "control", "pid_file"),
    "prefix": ("address", "layout", "via"),
    "service": ("ports", "alg", "server", "proxy", "encrypted_data", "dscp", "path"),
    "map": ("v4", "v6", *static_map.OPTIONS),
    "maps": ("file", "source", "proxy", "ftp", "dscp", "conflicts"),
    "access": ("file", "rules"),
    "source": address_pools.KEYS,
    "limits": tuple(field.name for field in fields(Limits)),
    "flows": kernel_path_table.KEYS,
    "timeouts": (
        *("connect", "greeting", "idle", "half_closed", "lifetime", "drain", "lame_duck"),
        *kernel_path_table.TIMEOUTS,
    ),
    "dns": dns_table.KEYS,
    "udp": datagram_tables.UDP_KEYS,
    "ping": datagram_tables.PING_KEYS,
    "proxy": proxy_table.KEYS,
    "vrrp": ("address",),
    "metrics": (*metrics_table.KEYS, *listener_access.KEYS),
    "log": ("format", *(field.name for field in fields(Recording))),
}
"""Every key, by its table."""
CONFLICTS = ("refuse", "report")
"""The ways to deal with a mapped address that another host has, by default the first."""
SEVERAL = ("prefix", "service", "map", "source", "proxy")
"""The tables that may occur several times."""


def load(file: Path) -> Settings:
    """Return the settings in *file*.  Raises ConfigError, naming file and line."""
    toml = tried_files.text(file)
    if toml is None:
        raise ConfigError("No such file or directory; faith setup makes one", str(file))
    return read(toml, str(file))


def read(toml: str, file: str) -> Settings:
    """Return the settings in the text of *file*.

    Raises ConfigError, naming file and line, for all mistakes in it.
    """
    document = Document(toml, file, KEYS, SEVERAL)
    settings = document.attempt(lambda: _settings(document), None)
    document.finish()
    assert settings
    return settings


def _settings(document: Document) -> Settings:
    top, timeouts = document.top, document.table("timeouts")
    services = document.attempt(lambda: _services(document), ())
    tables = document.tables("prefix")
    prefixes = _prefixes(document, tables)
    access = document.attempt(lambda: _access(document.table("access")), (None, None))
    maps = document.table("maps")
    file_of_maps = maps.take("file", path, None)
    static = document.attempt(lambda: _maps(document, file_of_maps, prefixes), NO_MAPS)
    usual = RelaySettings()
    limits = document.attempt(lambda: _limits(document.table("limits")), usual.limits)
    length = limits.prefix_length
    via = document.attempt(lambda: _via(tables), "auto")
    document.attempt(lambda: _check_paths(document.tables("service"), services, via), None)
    sources = document.attempt(lambda: address_pools.read(document), NO_SOURCES)
    relay = RelaySettings(
        connect_timeout=timeouts.take("connect", seconds, usual.connect_timeout),
        idle_timeout=timeouts.take("idle", seconds, usual.idle_timeout),
        half_closed_timeout=timeouts.take("half_closed", seconds, usual.half_closed_timeout),
        lifetime=timeouts.take("lifetime", seconds, usual.lifetime),
        greeting_timeout=timeouts.take("greeting", seconds, usual.greeting_timeout),
        limits=limits,
        ftp=union(service.ftp for service in services),
        unencrypted_data=union(one.ftp for one in services if not one.encrypted_data),
        rsh=union(service.rsh for service in services),
        rlogin=union(service.rlogin for service in services),
        proxy_v1=union(service.introduced(V1) for service in services),
        proxy_v2=union(service.introduced(V2) for service in services),
        dscp=union(service.ports for service in services if service.dscp),
        v4_to_v6=V4ToV6Settings(
            ftp=maps.take("ftp", parsed(service_names.ports), usual.v4_to_v6.ftp),
            source=maps.take("source", choice(SOURCES), usual.v4_to_v6.source),
            proxy=maps.take("proxy", choice(VERSIONS), None),
            dscp=maps.take("dscp", flag, usual.v4_to_v6.dscp),
        ),
    )
    tried = partial(_tried, document)
    dns = tried("dns", lambda table: dns_table.read(table, static, length))
    ping = tried("ping", lambda table: datagram_tables.ping(table, length))
    udp = tried("udp", lambda table: datagram_tables.udp(table, length))
    relay = replace(relay, datagrams=udp or UdpSettings(client_length=length))
    ports = union(service.ports for service in services)
    read_proxies = partial(proxy_table.read, document, ports)
    proxies, proxy_tls = document.attempt(read_proxies, proxy_table.NONE)
    settings = Settings(
        services=services,
        via=via,
        prefixes=prefixes,
        access_file=access[0],
        access_rules=access[1],
        maps=static,
        maps_file=file_of_maps,
        refuses_conflicts=maps.take("conflicts", choice(CONFLICTS), CONFLICTS[0]) == CONFLICTS[0],
        vrrp=document.table("vrrp").take("address", parsed(readers.address4), None),
        sources=sources,
        workers=top.take("workers", whole(1, dns_table.MOST_WORKERS), len(os.sched_getaffinity(0))),
        user=top.take("user", parsed(readers.user), default_user()),
        drain_timeout=timeouts.take("drain", seconds, DRAIN_TIMEOUT),
        lame_duck=timeouts.take("lame_duck", seconds, 0.0),
        pid_file=top.take("pid_file", path, None),
        control=top.take("control", readers.path_or_none, CONTROL),
        log=document.table("log").take("format", choice(FORMS), FORMS[0]),
        recording=_recording(document.table("log")),
        relay=relay,
        metrics=metrics_table.listen(document.table("metrics")),
        admin_access=listener_access.access(document.table("metrics")),
        dns=dns,
        proxies=proxies,
        proxy_tls=proxy_tls,
        ping=ping,
        udp=udp,
        dns_workers=document.table("dns").take("workers", whole(1, dns_table.MOST_WORKERS), 1),
    )
    probes = metrics_table.probes(document.table("metrics"), settings.workers)
    kernel_path = kernel_path_table.read(document, settings)
    return replace(settings, kernel_path=kernel_path, probes=probes)


def _tried(document: Document, name: str, read: Callable[[Table], T]) -> T | None:
    """Return what *read* makes of the table *name*; None where that is missing, or wrong."""
    return (
        document.attempt(lambda: read(document.table(name)), None) if name in document.top else None
    )


# -- prefixes and services ---------------------------------------------------------------------


def _prefixes(document: Document, tables: list[Table]) -> tuple[Prefix, ...]:
    found: dict[Prefix, Table] = {}
    for table in tables:
        if prefix := document.attempt(partial(_prefix, table, found), None):
            found[prefix] = table
    return tuple(found)


def _prefix(table: Table, found: Mapping[Prefix, Table]) -> Prefix:
    # A wrong layout is its own mistake, and low32 takes any length.
    layout = table.take("layout", choice(LAYOUTS), LOW32) if "layout" in table else None
    prefix = table.need("address", parsed(partial(_reservable, layout)))
    for other, before in found.items():
        if prefix.overlaps(other):
            raise table.fault(f"{prefix} overlaps {other} {_on(before, 'address')}", "address")
    return prefix


def _via(tables: list[Table]) -> str:
    """Return the one steering method that the prefixes name, or "auto"."""
    methods = [table.take("via", choice(("auto", *METHODS)), "auto") for table in tables]
    chosen = [
        (method, table) for method, table in zip(methods, tables, strict=True) if method != "auto"
    ]
    for method, table in chosen[1:]:
        first, where = chosen[0]
        if method != first:
            before = f"{first} {_on(where, 'via')}"
            message = f"{method}, but {before}: all prefixes have one steering method"
            raise table.fault(message, "via")
    return chosen[0][0] if chosen else "auto"


def _services(document: Document) -> tuple[Service, ...]:
    tables = document.tables("service")
    maps = "map" in document.top or "maps" in document.top or "pool" in document.table("dns")
    if not (tables or maps or document.tables("proxy") or document.lacks_tables):
        what = "nothing to relay: a [[service]], a [[map]] or a [[proxy]] is needed"
        raise document.top.fault(what, "service")
    found: list[tuple[Service, Table]] = []
    for table in tables:
        if service := document.attempt(partial(_service, table), None):
            for other, before in found:
                if taken := service.ports & other.ports:
                    where = _on(before, "ports")
                    table.note(f"port {taken} is in the service {where} already", "ports")
            found.append((service, table))
    return tuple(service for service, _ in found)


def _service(table: Table) -> Service:
    alg = table.take("alg", choice(ALGS), ALGS[0])
    proxy = table.take("proxy", choice(VERSIONS), None)
    encrypted_data = table.take("encrypted_data", flag, True)
    dscp = table.take("dscp", flag, False)
    way = table.take("path", choice(PATHS), RELAY)
    words: tuple[str, ...] = table.take("server", several(text), ())
    ports = table.need("ports", parsed(service_names.ports))
    name = table.need("ports", text)
    if "server" in table and not (words and words[0].startswith("/")):
        message = (
            'the first word must be the absolute path of a program, as in ["/usr/sbin/telnetd"]'
        )
        raise table.fault(message, "server")
    if words:
        try:
            route.check_number(ports)
        except SetupError as error:
            raise table.fault(str(error), "server") from error
    local_server = LocalServer.of(words) if words else None
    try:
        service = Service(name, ports, alg, local_server, proxy, encrypted_data, dscp)
    except ConfigError as error:
        raise table.fault(error.message, "proxy") from error
    if not encrypted_data and not service.ftp:
        raise table.fault("there is no port of FTP in this service", "encrypted_data")
    try:
        return replace(service, path=way)
    except ConfigError as error:
        raise table.fault(error.message, "path") from error


def _check_paths(tables: list[Table], services: Iterable[Service], via: str) -> None:
    """Raise ConfigError for a service of the kernel path that the steering keeps from it."""
    for table, service in zip(tables, services, strict=False):  # fewer, if one is wrong
        if via == "redirect" and service.path == KERNEL:
            message = f"port {service.ports} cannot go by the kernel path: {REDIRECT}"
            raise table.fault(message, "path")


def _on(table: Table, key: str) -> str:
    return f"on line {table.line(key)}"


def _reservable(layout: str | None, written: str) -> Prefix:
    prefix = Prefix.parse(written, layout)
    if never := never_reserved(prefix):
        raise ConfigError(f"{prefix} cannot be reserved: {never}")
    return prefix


# -- maps ---------------------------------------------------------------------------------------


def _maps(document: Document, file: Path | None, prefixes: Iterable[Prefix]) -> Maps:
    found = [document.attempt(partial(_map, one), None) for one in document.tables("map")]
    more = document.attempt(lambda: map_file.read(file) if file else (), ())
    maps = Maps([*filter(None, found), *more])
    static_map.check(maps, Prefixes(prefixes), Networks(32))
    return maps


def _map(table: Table) -> Map:
    ports = table.take("ports", parsed(service_names.ports), None)
    to_port = table.take("to_port", whole(1, 65535), None)
    protocols = table.take("protocols", _protocols, None)
    direction = table.take("direction", choice(DIRECTIONS), None)
    table.take("v6", parsed(static_map.network6), None)  # its mistake as well as that of v4
    v4 = table.need("v4", parsed(static_map.network4))
    v6 = table.need("v6", parsed(static_map.network6))
    try:
        return Map(v4, v6, ports, to_port, protocols, direction, table.file, table.line())
    except ConfigError as error:
        raise table.fault(error.message) from error


def _protocols(value: Any) -> frozenset[str]:
    found = several(choice(PROTOCOLS))(value)
    if not found:
        raise ConfigError("there is nothing in it")
    return frozenset(found)


# -- the rest ----------------------------------------------------------------------------------


def _access(table: Table) -> tuple[Path | None, str | None]:
    """Return the file of the access rules, or their text, or neither."""
    if "file" in table and "rules" in table:
        raise table.fault(f"there is a file {_on(table, 'file')} already", "rules")
    file, rules = table.take("file", path, None), table.take("rules", _rules, None)
    if file:
        Rules.read(file)
    return file, rules


def _rules(value: Any) -> str:
    """Return rules as one text, one a line as in faithd.conf(5)."""
    rules = several(text)(value)
    for line, rule in enumerate(rules, 1):
        if "\n" in rule or not rule.partition("#")[0].strip():
            raise ConfigError("each text must contain exactly one rule", line=line)
    found = "\n".join(rules)
    Access.parse(found)
    return found


def _limits(table: Table) -> Limits:
    chosen: dict[str, Any] = {}
    for field in fields(Limits):
        if field.name in table:
            read: Reader[Any] = number if field.type == "float" else whole(0, MOST - 1)
            chosen[field.name] = table.take(field.name, read, field.default)
    try:
        return Limits(**chosen)
    except ConfigError as error:
        raise table.fault(error.message) from error


def _recording(table: Table) -> Recording:
    usual = Recording()
    return Recording(
        sample=table.take("sample", whole(1, MOST - 1), usual.sample),
        destinations=table.take("destinations", flag, usual.destinations),
        refusals=table.take("refusals", whole(0, MOST - 1), usual.refusals),
        starts=table.take("starts", flag, usual.starts),
        flows=table.take("flows", flag, usual.flows),
    )
