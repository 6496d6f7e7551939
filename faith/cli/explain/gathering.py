"""The facts about a connection, gathered from the kernel, the daemons and the network."""

from __future__ import annotations

import errno
import pwd
import re
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from faith.cli.explain import (
    address_facts,
    decision_facts,
    dialling,
    echo,
    filter_facts,
    process_facts,
)
from faith.cli.explain.facts import Facts, PathProbe
from faith.cli.explain.filtered_packet import protocol_number
from faith.daemon.config.settings import KERNEL, RELAY
from faith.daemon.host import discovery
from faith.kernel.netlink import interfaces, mapped_routes, route_query, routes
from faith.kernel.netlink.route_query import Flow
from faith.translation.address import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.explain.decision_facts import Asked
    from faith.kernel.netlink.route_query import Answer

_PATHS = {"tcp": RELAY, "udp": "udp", "icmp": "ping"}
"""The paths of the status report, by protocols."""
_STEERING_TABLE = re.compile(r"faith-\d+")
"""Tables of daemons; one in another PID namespace has a number that is not seen here."""
_MOMENT = 0.4
"""Seconds in which a limit that is reached refuses somebody."""


def gather(asked: Asked) -> Facts:
    """Return the facts.  Raises FaithError for a file that cannot be read, and OSError where not
    even the routes can."""
    facts = host(asked)
    facts = address_facts.find(facts, asked)
    facts = ways(facts)
    if facts.mapped:
        facts = decision_facts.decide(facts, asked)
    facts = way_out(way_back(facts))
    if facts.from_v4:
        network = number(facts.mapped), 32
        facts = replace(facts, arp_ignored="; ".join(mapped_routes.unanswered([network])))
    if asked.dial:
        facts = client_probed(server_dialled(facts))
    return _refusals(facts)


def _refusals(facts: Facts) -> Facts:
    """Return *facts* with the refusals that are being counted, where only a process knows why."""
    found, path = facts.daemon, _PATHS[facts.question.protocol]
    if path == RELAY and _is_by_kernel(facts):
        path = KERNEL
    if found is None or path == RELAY:
        return facts
    before = found.refusals.get(path, {})
    time.sleep(_MOMENT)  # so that what is refused now is counted meanwhile
    running = [one for one in discovery.running() if one.pid == found.pid]
    after = {one.path: one.refusals for daemon in running for one in daemon.traffic}
    counts = after.get(path, {})
    rising = frozenset(why for why, count in counts.items() if count > before.get(why, 0))
    return replace(facts, rising=rising)


# -- this host -----------------------------------------------------------------------------------


def host(asked: Asked) -> Facts:
    """Return the facts about this host and its daemons.  Raises OSError."""
    running = discovery.running()
    client = asked.question.client
    named = [one for one in running if asked.control and one.control == str(asked.control)]
    daemons = tuple(process_facts.daemon(one, client) for one in named or running)
    port = asked.question.port
    links = route_query.links()
    facts = Facts(
        asked.question,
        prefixes=tuple(routes.reserved()),
        links=links,
        down_with_addresses=tuple(_down(links)),
        neighbours=tuple(route_query.neighbours()),
        legacy={family: filter_facts.legacy(family) for family in ("ip", "ip6")},
        daemons=daemons,
        silent=tuple(discovery.silent(running)),
        hidden=discovery.hidden(),
        unannounced=() if running else tuple(discovery.unannounced()),
        listening=process_facts.listens(port),
        mtu_probing=process_facts.sysctl("net.ipv4.tcp_mtu_probing"),
        show_rule=filter_facts.show_rule,
    )
    return _steered(filter_facts.rules(facts))


def _down(links: dict[int, route_query.LinkState]) -> list[str]:
    """Return the interfaces that have an IPv4 address and are down."""
    with_addresses = {one.interface for one in interfaces.addresses() if one.address.version == 4}
    return sorted(
        link.name for link in links.values() if link.index in with_addresses and not link.works
    )


def _steered(facts: Facts) -> Facts:
    """Say whether the method of the daemon is in place, as far as that can be seen."""
    found = facts.daemon
    if found is None or facts.ruleset is None or facts.question.port not in found.ports:
        return facts
    if found.via == "route":
        return replace(facts, steered=facts.listening)
    if found.via in ("tproxy", "redirect"):
        tables = {chain.table for chain in facts.ruleset.chains}
        return replace(facts, steered=any(map(_STEERING_TABLE.fullmatch, tables)))
    return facts


# -- ways ----------------------------------------------------------------------------------------


def ways(facts: Facts) -> Facts:
    """Ask the kernel for the routes of the client's packets, and of the answers."""
    asking = facts.question.client
    back = route_query.route(asking)
    seen = [one.interface for one in facts.neighbours if one.address == asking and not one.failed]
    arrives = seen[0] if seen and back.interface not in seen else back.interface
    known = bool(seen) and not back.is_local
    facts = replace(facts, route_back=back, arrives=arrives, arrives_seen=known)
    if not facts.mapped:
        return facts
    if back.is_local or back.error or not arrives:
        return replace(facts, route_in=route_query.route(facts.mapped))
    flow = _flow(facts, asking)._replace(port=facts.question.port)
    return replace(facts, route_in=_arriving(facts, facts.mapped, asking, arrives, flow))


def _flow(facts: Facts, address: str) -> Flow:
    """Return the flow of packets between addresses such as *address*, without ports and user."""
    return Flow(protocol_number(facts.question.protocol, address))


def way_back(facts: Facts) -> Facts:
    """Ask for the route of the daemon's answers, which rules may lead elsewhere than others."""
    asking = facts.question.client
    if not facts.route_in.is_local or facts.route_back.error or facts.route_back.is_local:
        return facts
    flow = _flow(facts, asking)._replace(source_port=facts.question.port)
    found = route_query.route(asking, facts.mapped, flow=flow)
    return replace(facts, route_back=found, back_from=facts.mapped)


def _sender(facts: Facts) -> int | None:
    """Return the user whose packets those of the daemon are; the kernel path has none."""
    return None if _is_by_kernel(facts) else _user(facts)


def _is_by_kernel(facts: Facts) -> bool:
    return facts.explained is not None and facts.explained.path == KERNEL


def _arriving(facts: Facts, destination: str, source: str, interface: int, flow: Flow) -> Answer:
    """Return the route of a packet that arrives by *interface*, with EXDEV where reverse path
    filtering drops it: some kernels call that EINVAL, as they call a blackhole."""
    found = route_query.route(destination, source, interface, flow)
    if found.error != errno.EINVAL or ":" in destination or route_query.route(destination).error:
        return found
    name = facts.interface(interface).name
    return found._replace(error=errno.EXDEV) if process_facts.rp_filter(name) == 1 else found


def way_out(facts: Facts) -> Facts:
    """Ask the kernel for the route to the server, and look who has its ports."""
    decision = facts.explained.decision if facts.explained else None
    server = decision.server if decision and decision.server else facts.server
    if not server:
        return facts
    # A source that stands for an IPv4 client is local by the prefix, as a reply's destination.
    source = (decision.source or "") if decision and not decision.source_absent else ""
    flow = _flow(facts, server)._replace(port=_server_port(facts), user=_sender(facts))
    found = route_query.route(server, "" if ":" in server else source, flow=flow)
    facts = replace(facts, server=server, route_out=found, user=_user(facts))
    if not facts.to_v6 and not found.error and not found.is_local:
        facts = _towards(facts, source or found.source, server)
    return facts


def _towards(facts: Facts, source: str, server: str) -> Facts:
    used = process_facts.source_ports(source, server, facts.question.port) if source else (0, 0)
    seen = [
        one.interface
        for one in facts.neighbours
        if one.address == server and not one.failed and not one.waits
    ]
    facts = replace(facts, source_ports=used)
    if not source or _is_by_kernel(facts):  # which takes answers before they are routed
        return facts
    flow, there = _flow(facts, server)._replace(source_port=_server_port(facts)), facts.route_out
    if not seen or there.interface in seen:
        returning = route_query.route(source, server, there.interface, flow)
        return replace(facts, route_of_answers=returning)
    returning = _arriving(facts, source, server, seen[0], flow)
    return replace(facts, server_seen_at=seen[0], route_of_answers=returning)


def _server_port(facts: Facts) -> int:
    decision = facts.explained.decision if facts.explained else None
    return (decision and decision.server_port) or facts.question.port


def _user(facts: Facts) -> int | None:
    return user(facts.explained.decision.user) if facts.explained else None


def user(name: str) -> int | None:
    """Return the number of the user *name*, which may be a number; None if there is none."""
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


# -- the server ----------------------------------------------------------------------------------


def server_dialled(facts: Facts) -> Facts:
    """Make a test connection, unless this host would not make one."""
    decision = facts.explained.decision if facts.explained else None
    refused = decision and (decision.refused or decision.source_absent)
    if not facts.server or facts.route_out.error or refused:
        return facts
    source = decision.source if decision else None
    dropped = process_facts.reverse_path_drops()
    port, user = _server_port(facts), _sender(facts)
    found = dialling.dial(facts.question, facts.server, port, source, user)
    found = replace(found, filtered=process_facts.reverse_path_drops() - dropped)
    if found.by and route_query.route(found.by).is_local:
        found = replace(found, by="", text="no host on the link answers for its address")
    link = facts.links.get(facts.route_out.interface)
    mtu = facts.route_out.mtu or (link.mtu if link else 0)
    probe = None
    if found.kind in ("connected", "answered", "silent") and mtu and not facts.route_out.is_local:
        probe = echo.probe(facts.server, source, mtu)
    if found.kind == "silent" and not facts.to_v6:
        facts = replace(facts, strict=tuple(_strict(facts)))
    return replace(facts, dial=found, probe=probe)


def client_probed(facts: Facts) -> Facts:
    """Probe the way to the client, unless its server was not dialled."""
    if facts.dial is None:
        return facts
    facts = replace(facts, client_probe=client_probe(facts))
    return replace(facts, client_answers_here=_answers_here(facts))


def _strict(facts: Facts) -> Iterator[str]:
    """Return the interfaces, but for that to the server, that only let in what they would send."""
    for link in facts.links.values():
        is_other = link.works and not link.loopback and link.index != facts.route_out.interface
        if is_other and process_facts.rp_filter(link.name) == 1:
            yield link.name


def _answers_here(facts: Facts) -> bool:
    """Return whether the client answers this host, and not the mapped address."""
    if facts.from_v4 or facts.client_probe is None or facts.client_probe.small is not False:
        return False
    with suppress(OSError):
        return echo.ask(facts.question.client, None, echo.SHORT).replied
    return False


def client_probe(facts: Facts) -> PathProbe | None:
    """Probe the way to the client, from the address that it connects to."""
    link = facts.links.get(facts.route_back.interface)
    if facts.route_back.error or facts.route_back.is_local or link is None:
        return None
    mtu = facts.route_back.mtu or link.mtu
    return echo.probe(facts.question.client, facts.mapped, mtu)
