"""The steps of a proxy: who listens, for whom, by which methods, and what a name leads to."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING

from faith.cli.explain.explanation import note, ok, problem, unknown
from faith.cli.explain.filtered_packet import is_v4
from faith.cli.explain.proxied_gathering import fits
from faith.cli.explain.way_in_steps import filtered, other_way
from faith.dns.endpoint import Endpoint
from faith.kernel.sockets import service_names
from faith.proxy.proxy_events import CONNECT, HTTP, SOCKS4, SOCKS5
from faith.translation import reasons

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.explain.explanation import Step
    from faith.cli.explain.proxied_facts import ProxiedFacts, ProxiedName, ServerState
    from faith.daemon.config.proxied_decision import ProxyForClient

_ADD = 'add one: [[proxy]] listen = ":1080" in faith.toml(5), then faith reload'
_HERE = ("127.", "fe80:")
"""Networks that every host has, of which the text says nothing."""
_LOWEST_HTTP = 1024
"""Ports from here on forwarded HTTP leads to, as to 80 and those of CONNECT."""


def listener(facts: ProxiedFacts) -> Iterator[Step]:
    """Explain which proxy the client comes to."""
    front, proxy = facts.front, facts.proxy
    if facts.explained is None:
        if front.daemons and front.explain_error:
            text = f"the daemon does not say more: {front.explain_error}"
            yield unknown("proxy", text, "run it as root, or name its file: --config FILE")
        return
    places = [_place(one) for one in facts.explained.proxies]
    if not places:
        if front.daemons or front.from_file:
            text = "no proxy is configured" if front.from_file else "no faithd here has a proxy"
            where = front.from_file or "faith status"
            yield problem("proxy", "no-proxy", text, where, _ADD, certain=not front.silent)
        return
    if proxy is None:
        yield _elsewhere(facts, places)
        return
    traits = f", {', '.join(proxy.methods)}"
    if proxy.tls:
        traits += ", by TLS only"
    if proxy.users:
        traits += ", with a user's name and password"
    yield ok("proxy", f"the proxy at {_place(proxy)} listens there{traits}", "faith status")
    client, at = facts.question.client, facts.at
    others = [
        _place(one) for one in facts.explained.proxies if one is not proxy and fits(one, client, at)
    ]
    if others:
        yield note("proxy", f"there are others, at {', '.join(others)}: --at says which is meant")


def _place(proxy: ProxyForClient) -> str:
    return str(Endpoint(proxy.host, proxy.port))


def _elsewhere(facts: ProxiedFacts, places: list[str]) -> Step:
    listed = ", ".join(places)
    if facts.at:
        host, port = facts.at
        asked = host if port is None else str(Endpoint(host, port))
        text = f"no proxy listens at {asked}, but at {listed}"
    else:
        family = "IPv4" if is_v4(facts.question.client) else "IPv6"
        text = f"no proxy listens at an {family} address that {facts.question.client} reaches:"
        text += f" {listed}"
    return problem("proxy", "proxy-elsewhere", text, "faith status; ss -lnt", _REMEDY)


_REMEDY = "tell the client of that place, or have listen of [[proxy]] be that of the client"


def route_here(facts: ProxiedFacts) -> Iterator[Step]:
    """Explain whether the kernel delivers packets to the proxy's address here."""
    front = facts.front
    if not front.mapped or facts.proxy is None:
        return
    found = front.route_in
    family = "-4" if is_v4(front.mapped) else "-6"
    where = f"ip {family} route get {front.mapped} from {front.question.client}"
    if found.error == errno.EXDEV:
        yield filtered(front, where)
    elif found.is_local:
        text = f"packets to {front.mapped} port {front.question.port} are delivered on this host"
        yield ok("route-here", text, where)
    else:
        yield problem(
            "route-here",
            "proxy-elsewhere",
            f"{front.mapped} is no address of this host: {other_way(front)}",
            where,
            "tell the client of an address that this host has, or give it to this host",
        )


def certificate(facts: ProxiedFacts) -> Iterator[Step]:
    """Explain whether the certificate of a proxy with TLS is valid now."""
    proxy = facts.proxy
    if proxy is None or proxy.expires is None:
        return
    where = f"openssl s_client -connect {_place(proxy)}"
    if proxy.expires < time.time():
        yield problem(
            "tls",
            "proxy-certificate",
            f"the certificate of the proxy at {_place(proxy)} {ended(proxy.expires)}",
            where,
            "get another one, then faith reload",
        )
    else:
        day = time.strftime("%Y-%m-%d", time.gmtime(proxy.expires))
        text = f"the certificate is valid until {day}; whether the client trusts it, it knows"
        yield ok("tls", text, where)


def ended(when: float) -> str:
    """Return that a certificate ended at the Unix time *when*, which is not known if 0."""
    if not when:
        return "has ended, or is not valid yet"
    return f"has ended on {time.strftime('%Y-%m-%d', time.gmtime(when))}"


def clients(facts: ProxiedFacts) -> Iterator[Step]:
    """Explain whether the client may use the proxy."""
    proxy, client = facts.proxy, facts.question.client
    if proxy is None:
        return
    named = ", ".join(proxy.clients)
    if proxy.by_links:
        on_links = [one for one in proxy.clients if "/" in one and not one.startswith(_HERE)]
        named = f"the networks on this host's links: {', '.join(on_links) or 'none'}"
    if proxy.serves:
        yield ok("clients", f"{client} is a client of it ({named})", "faith status")
        return
    yield problem(
        "clients",
        "proxy-not-client",
        f"{client} is not a client of the proxy at {_place(proxy)}, which is for {named}",
        "faith status",
        f'add "{client}" or its network to clients of its [[proxy]], then faith reload',
    )


def port(facts: ProxiedFacts) -> Iterator[Step]:
    """Explain by which methods the port can be asked for."""
    proxy, question = facts.proxy, facts.question
    if proxy is None:
        return
    led = [method for method in proxy.methods if _leads(proxy, method, question.port)]
    v6 = ":" in question.destination
    usable = [method for method in led if not (method == SOCKS4 and v6)]
    barred = [method for method in proxy.methods if method not in usable]
    if not usable:
        why = f"connect_ports = {proxy.connect_ports or 'none'}"
        if proxy.methods == [SOCKS4]:
            why = "SOCKS4 has no IPv6 addresses"
        yield problem(
            "port",
            "proxy-port-closed",
            f"the proxy leads to port {question.port} of {question.destination} by none of its"
            f" methods ({', '.join(proxy.methods)}): {why}",
            "faith status --json",
            f"add {question.port} to connect_ports of its [[proxy]], or socks5 to methods",
        )
        return
    rest = f", not by {', '.join(barred)}" if barred else ""
    yield ok("port", f"port {question.port} may be asked for by {', '.join(usable)}{rest}")


def _leads(proxy: ProxyForClient, method: str, number: int) -> bool:
    if method in (SOCKS5, SOCKS4):
        return True
    ports = service_names.ports(proxy.connect_ports) if proxy.connect_ports else ()
    if number in ports:
        return method in (CONNECT, HTTP)
    return method == HTTP and (number == 80 or number >= _LOWEST_HTTP)


def name(facts: ProxiedFacts) -> Iterator[Step]:
    """Explain what the daemon finds for a name."""
    found = facts.name
    if found is None:
        return
    where = found.hosts or f"dig {found.name} AAAA; dig {found.name} A"
    if found.addresses:
        source = found.hosts or "the name servers"
        listed = ", ".join(found.addresses)
        yield ok("name", f"by {source}, {found.name} leads to {listed}, tried in turn", where)
        yield from _dead(found)
    elif found.failure == reasons.NO_NAME:
        yield problem("name", "name-not-found", f"there is no address for {found.name}", where)
        yield from _dead(found)
    else:
        yield _unanswered(found, where)


def _dead(found: ProxiedName) -> Iterator[Step]:
    for one in found.dead:
        yield note(
            "name",
            f"the name server {one.address} gives no answer: {one.error}",
            _dig(one, found.name),
            "check it, or take it out of forward in [dns], or of resolv.conf",
        )


def _dig(server: ServerState, name: str) -> str:
    host, _, port = server.address.rpartition(":")
    return f"dig @{host.strip('[]')} -p {port} {name}"


def _unanswered(found: ProxiedName, where: str) -> Step:
    listed = "; ".join(f"{one.address}: {one.error}" for one in found.dead)
    return problem(
        "name",
        "dns-servers-dead",
        f"no name server answers for {found.name} ({listed or 'none is known'})",
        where,
        "check these servers: forward in [dns] of faith.toml(5), or else /etc/resolv.conf",
        certain=len(found.dead) == len(found.servers),
    )
