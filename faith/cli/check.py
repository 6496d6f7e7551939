"""The summary of a configuration that ``faith check`` prints."""

from __future__ import annotations

from dataclasses import asdict
from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from faith.daemon.config.policy import Rules
from faith.daemon.config.settings import AUTO, KERNEL
from faith.dns.endpoint import Endpoint
from faith.kernel.netlink import routes
from faith.proxy.proxy_events import CONNECT, METHODS
from faith.relay.tcp.admission import NO_LIMITS
from faith.relay.tcp.routing import CLIENT, EITHER, GATEWAY
from faith.translation.address import text4, text_as_written
from faith.translation.networks import Networks
from faith.translation.udp.flows import ADDRESS, ENDPOINT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.daemon.config.probe_settings import ProbeSettings
    from faith.daemon.config.settings import Service, Settings
    from faith.daemon.observe.records import Recording
    from faith.datagram.ping.ping_server import PingSettings
    from faith.dns.service import Settings as DnsSettings
    from faith.flow.flow_settings import FlowSettings
    from faith.relay.proxy.proxy_settings import ProxySettings
    from faith.relay.tcp.admission import Limits
    from faith.translation.sources import Source
    from faith.translation.udp.flows import UdpSettings

INLINE = "access.rules"
"""The name of the rules that are in a faith.toml itself."""

_SOURCES = {
    CLIENT: "addresses that stand for clients",
    GATEWAY: "the gateway's address",
    EITHER: "addresses that stand for clients, or the gateway's",
}
_ANSWERS = {ADDRESS: "port of a host that was sent to", ENDPOINT: "host"}


def lines(settings: Settings) -> Iterator[str]:
    """Return a line for each setting, its kind in the first column.  Raises ConfigError."""
    for prefix in settings.prefixes:
        yield f"prefix   {prefix}, layout {prefix.layout}, reserved while it runs"
    if not settings.prefixes:
        yield "prefix   those that faith -e reserves"
    yield from (f"service  {_service(service)}" for service in settings.services)
    yield f"steered  by {'the first method that works' if settings.via == 'auto' else settings.via}"
    yield f"access   {access(Rules.of(settings))}"
    if settings.maps or settings.maps_file or (settings.dns and settings.dns.pool):
        yield f"maps     {_maps(settings)}"
    yield from (f"source   {_source(source)}" for source in settings.sources.sources)
    if settings.vrrp is not None:
        yield f"vrrp     maps and added sources only with {text4(settings.vrrp)}"
    yield f"workers  {settings.workers}, as {settings.user}"
    relay = settings.relay
    if relay.limits:
        yield f"limits   {_limits(relay.limits)}"
    greeting = f" greeting {relay.greeting_timeout:g} s," if settings.proxies else ""
    yield (
        f"timeouts connect {relay.connect_timeout:g} s,{greeting} idle {relay.idle_timeout:g} s,"
        f" half-closed {relay.half_closed_timeout:g} s,"
        f" lifetime {relay.lifetime:g} s, drain {settings.drain_timeout:g} s,"
        f" lame duck {settings.lame_duck:g} s"
    )
    if settings.dns:
        yield f"dns      {_names(settings.dns, settings.dns_workers)}"
    if settings.flows:
        yield f"flows    {_flows(settings.flows)}"
    for proxy in settings.proxies:
        yield f"proxy    {proxy_line(proxy)}"
    if settings.udp:
        yield f"udp      {_udp(settings.udp)}"
    if settings.ping:
        yield f"ping     {_ping(settings.ping)}"
    if settings.metrics:
        protected = f", {way}" if (way := settings.admin_access.description) else ""
        yield f"metrics  on {settings.metrics[0]} port {settings.metrics[1]}{protected}"
    if probes := ", ".join(_probes(settings.probes)):
        yield f"probes   {probes}"
    yield f"control  {settings.control or 'none: no faith sessions, kill, drain or map'}"
    if settings.pid_file:
        yield f"pid      in {settings.pid_file}"
    yield f"log      as {settings.log}"
    yield f"records  {_records(settings.recording, flows=settings.udp is not None)}"


def _probes(probes: ProbeSettings) -> Iterator[str]:
    """Yield what has to be good for the daemon to be ready."""
    yield from (f"a route to {text4(*network)}" for network in probes.routes)
    yield from (f"TCP to {target}" for target in probes.targets)
    yield from (f"{server} answering for {probes.dns_name}" for server in probes.dns)
    if probes.workers:
        yield f"{counted(probes.workers, 'worker')} answering"


def access(rules: Rules) -> str:
    """Return how many *rules* there are, and where."""
    count = len(rules.access().rules)
    return f"{counted(count, 'rule')} in {rules.file}" if count else "everybody is permitted"


def counted(count: int, what: str) -> str:
    """Return *count* with the noun *what*, in the plural unless it is one."""
    return f"{count} {what}{'s' * (count != 1)}"


def _maps(settings: Settings) -> str:
    addresses = sum(1 << 32 - length for _, length in settings.maps.networks)
    parts = [f"{len(settings.maps)}, IPv4 addresses of them: {addresses}"]
    if settings.maps_file:
        parts.append(f"with those of {settings.maps_file}")
    v4 = settings.relay.v4_to_v6
    if v4.ftp:
        parts.append(f"FTP on {v4.ftp}")
    if v4.proxy:
        parts.append(f"told their clients by PROXY {v4.proxy}")
    if v4.dscp:
        parts.append("with their clients' DSCP")
    parts.append(f"from {_SOURCES[v4.source]}")
    return ", ".join(parts)


def _udp(udp: UdpSettings) -> str:
    most = [f"{number or 'any number of'}" for number in (udp.flows, udp.flows_per_client)]
    return (
        f"idle {udp.idle:g} s, {udp.short:g} s for ports {udp.short_ports}, flows {most[0]},"
        f" of a client {most[1]}, answers from any {_ANSWERS[udp.filtering]}, MTU {udp.mtu}"
    )


def _service(service: Service) -> str:
    parts = [f"port{'s' * (len(service.ports) > 1)} {service.ports}"]
    if service.ftp:
        parts.append(f"FTP on {service.ftp}")
    if service.local_server:
        parts.append(f"local server {service.local_server.path}")
    if service.proxy:
        parts.append(f"told their clients by PROXY {service.proxy}")
    if service.dscp:
        parts.append("with their clients' DSCP")
    if service.path == KERNEL:
        parts.append("by the kernel path")
    elif service.path == AUTO and service.kernel_ports:
        parts.append(f"by the kernel path where it can be had: {service.kernel_ports}")
    return ", ".join(parts)


def proxy_line(proxy: ProxySettings) -> str:
    """Return where *proxy* listens, and who may ask for what by which methods."""
    where = Endpoint(proxy.host, proxy.port)
    clients = "those on the gateway's links"
    if proxy.clients is not None:
        clients = ", ".join(text_as_written(*network) for network in proxy.clients)
    users = f", {counted(len(proxy.users), 'user')}" if proxy.users else ""
    methods = ", ".join(method for method in METHODS if method in proxy.methods)
    ports = f", CONNECT to {proxy.connect_ports}" if CONNECT in proxy.methods else ""
    tls = " by TLS" if proxy.tls else ""
    return f"on {where}{tls}: {methods}{ports}; clients: {clients}{users}"


def _source(source: Source) -> str:
    clients = ", ".join(str(IPv6Network(network)) for network in source.clients)
    count = len(source.addresses)
    how = "one for each client of" if source.one_to_one else "shared by"
    set_up = ", set up" if source.set_up else ""
    absent = [text4(one) for one in source.absent(Networks(32, routes.local_ipv4()))]
    missing = f", not on this host now: {', '.join(absent)}" if absent else ""
    return f"{count} address{'es' * (count > 1)}{set_up}, {how} {clients}{missing}"


def _flows(flows: FlowSettings) -> str:
    own = len(flows.addresses)
    source = f"{own} address{'es' * (own > 1)} of their own" if own else "the gateway's addresses"
    ports = flows.address_ports if own else flows.shared_ports
    times = f"SYN {flows.tcp_syn:g} s, idle {flows.tcp_est:g} s, closing {flows.tcp_trans:g} s"
    mss = f", MSS at most {flows.mss}" if flows.mss else ""
    return (
        f"{flows.limit} at most, {flows.half_open} half open, from {source}, ports {ports},"
        f" {times}{mss}"
    )


def _ping(ping: PingSettings) -> str:
    rates = (f"{rate:g}" if rate else "any number" for rate in (ping.rate, ping.rate_per_client))
    return f"{next(rates)} a second, {next(rates)} of a client, identifiers kept {ping.timeout:g} s"


def _limits(limits: Limits) -> str:
    chosen = {
        name: value for name, value in asdict(limits).items() if value != getattr(NO_LIMITS, name)
    }
    return ", ".join(f"{name} {value}" for name, value in chosen.items())


def _records(recording: Recording, *, flows: bool) -> str:
    which = "all sessions" if recording.sample == 1 else f"one session in {recording.sample}"
    parts = [f"of {which}"]
    if flows:
        parts.append("UDP flows as well" if recording.flows else "none of UDP flows")
    if recording.starts:
        parts.append("at their start too")
    if not recording.destinations:
        parts.append("without destinations")
    return ", ".join(parts)


def _names(settings: DnsSettings, workers: int) -> str:
    listen = _listed(settings.listen, "every address of this host")
    parts = [f"on {listen}", f"asking {_listed(settings.forward, 'the servers in resolv.conf')}"]
    if settings.pool:
        leased = sum(1 << 32 - length for _, length in settings.pool)
        parts.append(f"leasing {counted(leased, 'address')[:-1]}es in {settings.pool_file}")
    if workers > 1:
        parts.append(f"{workers} processes")
    return ", ".join(parts)


def _listed(things: Iterable[object], none: str) -> str:
    return ", ".join(map(str, things)) or none
