"""The steps from the daemon to the server: route, packet filters, the server itself, MTU."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from faith.cli.explain import legacy_filter
from faith.cli.explain.explanation import note, ok, problem, unknown
from faith.cli.explain.facts import NO_ANSWER
from faith.cli.explain.filtered_packet import (
    ESTABLISHED,
    LOCAL,
    UNICAST,
    Packet,
    Passage,
    protocol_number,
)
from faith.cli.explain.packet_filter import Ends, fate
from faith.cli.explain.rule_words import described, dropped
from faith.cli.explain.way_in_steps import refusal, remedy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.cli.explain.explanation import Step
    from faith.cli.explain.facts import Facts, PathProbe
    from faith.cli.explain.packet_filter import Fate
    from faith.kernel.netlink.route_query import Answer


def route_out(facts: Facts) -> Iterator[Step]:
    """Explain the kernel's route to the server."""
    if not facts.server:
        return
    found = facts.route_out
    family = "-6" if facts.to_v6 else "-4"
    where = f"ip {family} route get {facts.server}" + _from(facts)
    if found.error:
        yield _no_route(facts, where)
        return
    if found.is_local:
        yield note("route-out", f"{facts.server} is this host's own address", where)
        return
    link = facts.links.get(found.interface)
    name = link.name if link else "an interface"
    if link and not link.works:
        yield problem(
            "route-out",
            "uplink-down",
            f"the way to {facts.server} is {name}, which is down",
            f"ip link show {name}",
            f"ip link set {name} up, or connect its cable",
        )
        return
    by = f" through {found.gateway}" if found.gateway else ""
    yield ok("route-out", f"{facts.server} is reached by {name}{by}", where)
    yield from _replies(facts)
    hop = found.gateway or facts.server
    if any(one.failed and one.address == hop for one in facts.neighbours):
        yield problem(
            "route-out",
            "server-unreachable",
            f"{hop} does not answer on {name}",
            f"ip neigh show {hop}",
            "check that host and the link to it",
            certain=False,
        )


def _from(facts: Facts) -> str:
    decision = facts.explained.decision if facts.explained else None
    return f" from {decision.source}" if decision and decision.source and not facts.to_v6 else ""


def _is_mapped(facts: Facts) -> bool:
    """Return whether a map or a lease leads to the server, and so names its address."""
    decision = facts.explained.decision if facts.explained else None
    if facts.question.proxied:
        return bool(decision and (decision.map or decision.leased))
    return facts.from_v4


def _no_route(facts: Facts, where: str) -> Step:
    error = facts.route_out.error
    if _is_mapped(facts):
        return problem(
            "route-out",
            "map-target-unreachable",
            f"there is no way to {facts.server}: {refusal(error)}",
            where,
            remedy(error, "-6", facts.server),
        )
    if error == errno.ENETUNREACH and facts.down_with_addresses and not facts.to_v6:
        down = facts.down_with_addresses
        working = any(one.works and not one.loopback for one in facts.links.values())
        return problem(
            "route-out",
            "uplink-down",
            f"there is no route to {facts.server}, and {', '.join(down)}, which has an IPv4"
            " address, is down",
            f"ip link show {down[0]}",
            f"ip link set {down[0]} up, and add its routes",
            certain=not working or len(down) == 1,
        )
    return problem(
        "route-out",
        "no-route-out",
        f"there is no way to {facts.server}: {refusal(error)}",
        where,
        remedy(error, "-6" if facts.to_v6 else "-4", "default"),
    )


def _replies(facts: Facts) -> Iterator[Step]:
    found = facts.route_of_answers
    if found == NO_ANSWER:
        return
    if found.error == errno.EXDEV:
        name = facts.links[facts.server_seen_at].name
        yield problem(
            "route-out",
            "rp-filter",
            f"{facts.server} is seen on {name}, but reached by another interface: reverse path"
            " filtering drops its answers",
            f"sysctl net.ipv4.conf.{name}.rp_filter",
            f"sysctl -w net.ipv4.conf.{name}.rp_filter=2, or mend the routes",
        )
    elif not found.is_local:
        source = _source(facts)
        where = facts.interface(facts.server_seen_at or facts.route_out.interface).name
        how = refusal(found.error) if found.error else "they are led elsewhere"
        yield problem(
            "route-out",
            "answers-taken",
            f"answers of {facts.server} to {source} do not come to the daemon: {how}",
            f"ip -4 route get {source} from {facts.server} iif {where}",
            "remove that route or rule: ip -4 rule; ip -4 route show table all",
        )


def leaving(facts: Facts) -> Packet:
    """Return the gateway's first packet to the server."""
    own, port = facts.route_out.is_local, facts.question.port
    if facts.explained and facts.explained.decision.server_port:
        port = facts.explained.decision.server_port
    return Packet(
        _source(facts),
        facts.server,
        protocol_number(facts.question.protocol, facts.server),
        port,
        leaves=facts.interface(facts.route_out.interface),
        source_type=LOCAL,
        destination_type=LOCAL if own else UNICAST,
        user=facts.user,
    )


def returning(facts: Facts) -> Packet:
    """Return the server's answer, as it arrives."""
    sent = leaving(facts)
    return Packet(
        sent.destination,
        sent.source,
        sent.protocol,
        sent.port,
        answer=True,
        arrives=sent.leaves,
        source_type=sent.destination_type,
        destination_type=LOCAL,
        state=ESTABLISHED,
    )


def _source(facts: Facts) -> str:
    decision = facts.explained.decision if facts.explained else None
    chosen = (decision and decision.source) or facts.route_out.source
    return chosen or ("::" if facts.to_v6 else "0.0.0.0")


def way_out(facts: Facts) -> Iterator[Step]:
    """Explain what packet filters do with packets to the server, and with its answers."""
    if not facts.server or facts.route_out.error:
        return
    if facts.ruleset is not None:
        steps = [*_filtered(facts)]
        yield from steps or [ok("way-out", "no rule of nftables is in the way", "nft list ruleset")]
    yield from legacy_filter.steps("way-out", facts, leaving(facts), ("OUTPUT", "POSTROUTING"))
    yield from legacy_filter.steps("way-out", facts, returning(facts), ("PREROUTING", "INPUT"))


def _filtered(facts: Facts) -> Iterator[Step]:
    sent = Passage(leaving(facts))
    for cause, what, found in _fates(facts, sent):
        if found.end is Ends.TRANSLATED:
            yield note("way-out", _translation(facts, found), found.command)
        elif facts.answered and not found.certain and found.end is not Ends.QUEUED:
            text = f"{described(facts, found)} may be in the way of {what}, but was not now"
            yield note("way-out", text, found.command)
        else:
            yield dropped(facts, found, "way-out", cause, what)
    if sent.from_other_source:
        yield note("way-out", _OTHER_SOURCE, "nft list ruleset")


_OTHER_SOURCE = "a rule of nftables has the server see another source address"


def _translation(facts: Facts, found: Fate) -> str:
    return f"{described(facts, found)} translates the destination {facts.server}"


def _fates(facts: Facts, sent: Passage) -> Iterator[tuple[str, str, Fate]]:
    """Yield what is in the way of the packet *sent* and of its answer: cause, packets and fate."""
    to_server, back = ("output", "postrouting", "egress"), ("ingress", "prerouting", "input")
    what = f"packets to {facts.server}"
    yield from _met(facts, sent, to_server, "output-firewall-drops", what)
    # The answer is met by what the packet to the server has left behind: marks, and its state.
    answer = sent.answered_by(returning(facts))
    yield from _met(facts, answer, back, "firewall-drops-answers", "answers of the server")


def _met(
    facts: Facts, passage: Passage, hooks: Iterable[str], cause: str, what: str
) -> Iterator[tuple[str, str, Fate]]:
    """Yield what *passage* meets in *hooks*, up to its end."""
    assert facts.ruleset
    for hook in hooks:
        found = fate(facts.ruleset, hook, passage)
        if not found.passes:
            yield cause, what, found
            if found.end is not Ends.TRANSLATED:
                return


def _doubts(facts: Facts, kind: str) -> Iterator[str]:
    """Yield what on this host may be why a server is *kind*, silent or refused, and is not sure."""
    if facts.ruleset is None:
        return
    sent = Passage(leaving(facts))
    for _, what, found in _fates(facts, sent):
        if found.end is Ends.TRANSLATED:
            yield _translation(facts, found)
        elif not found.certain and (kind != "refused" or found.end is Ends.REJECTED):
            yield f"{described(facts, found)} may be in the way of {what}"
    if sent.from_other_source and kind != "refused":
        yield _OTHER_SOURCE


_DIALS = {
    "refused": ("server-refuses", "refuses the connection", "check that its service runs"),
    "silent": ("server-silent", "does not answer", "check the server, its firewall and the way"),
    "unreachable": ("server-unreachable", "cannot be reached", "check the way to the server"),
    "forbidden": (
        "output-firewall-drops",
        "is not asked: a filter of this host forbids it",
        "nft list ruleset; see also BPF programs of cgroups",
    ),
    "no source": ("source-absent", "is not asked: the source address is not usable", ""),
    "no port": ("source-ports-taken", "is not asked: no source port is free", ""),
}


def server(facts: Facts) -> Iterator[Step]:
    """Explain how the server answered a test connection."""
    if not facts.server:
        return
    if facts.dial is None:
        yield note("server", "the server was not asked", action="--dial makes a test connection")
        return
    dial, port = facts.dial, leaving(facts).port
    whom = facts.server if facts.question.protocol == "icmp" else f"{facts.server} port {port}"
    if dial.kind == "silent" and dial.filtered:
        yield problem(
            "server",
            "rp-filter",
            f"{whom} does not seem to answer, but reverse path filtering dropped {dial.filtered}"
            " packets meanwhile",
            "nstat -az TcpExtIPReversePathFilter; sysctl -ar 'ipv4.*rp_filter'",
            "mend the routes, or sysctl -w net.ipv4.conf.IFACE.rp_filter=2 where answers arrive",
        )
    elif facts.answered:
        yield ok("server", f"{whom} answers")
    elif dial.kind in _DIALS and not (dial.kind == "silent" and facts.question.protocol == "udp"):
        cause, says, action = _DIALS[dial.kind]
        if _is_mapped(facts) and dial.kind == "unreachable":
            cause = "map-target-unreachable"
        by = f", says {dial.by}" if dial.by and dial.by != facts.server else ""
        said = f" ({dial.text}{by})" if dial.text else ""
        if facts.strict:
            said += f"; rp_filter of {', '.join(facts.strict)} would drop answers that come there"
        doubts = [*_doubts(facts, dial.kind)]
        text = "; ".join((f"{whom} {says}{said}", *doubts))
        certain = not facts.strict and not doubts
        yield problem("server", cause, text, "", action, certain=certain)
    else:
        yield unknown("server", f"{whom}: {dial.text or 'no answer, which says nothing of UDP'}")


def mtu(facts: Facts) -> Iterator[Step]:
    """Explain the MTU of both ways, and whether large packets get through."""
    if not facts.server or facts.route_out.error:
        return
    yield from size(facts, facts.server, facts.route_out, facts.probe)
    yield from client_size(facts)


def client_size(facts: Facts) -> Iterator[Step]:
    """Explain whether large packets get to the client, if that was tried."""
    if facts.client_probe:
        yield from size(facts, facts.question.client, facts.route_back, facts.client_probe)


def size(facts: Facts, whom: str, route: Answer, probe: PathProbe | None) -> Iterator[Step]:
    """Explain the size of packets by *route* to *whom*, and what the *probe* has shown of it."""
    link = facts.links.get(route.interface)
    size = route.mtu or (link.mtu if link else 0)
    if probe is None:
        if size and not route.is_local:
            yield ok("mtu", f"packets to {whom} have up to {size} octets")
    elif probe.reported:
        yield ok("mtu", f"a router on the way to {whom} reports an MTU of {probe.reported} octets")
    elif probe.small and probe.large is False:
        yield _black_hole(facts, whom, probe)
    elif probe.small:
        yield ok("mtu", f"packets of {probe.mtu} octets to {whom} get through")
    elif probe.small is None:
        why = probe.error or "it has stopped answering"
        yield note("mtu", f"large packets to {whom} are not tried ({why})")
    else:
        yield note("mtu", f"{whom} answers no echo request: large packets are not tried")


def _black_hole(facts: Facts, whom: str, probe: PathProbe) -> Step:
    headers = 48 if ":" in whom else 28
    return problem(
        "mtu",
        "mtu-blackhole",
        f"packets of {probe.mtu} octets to {whom} are lost without an error, short ones are"
        " answered",
        f"ping -M do -s {probe.mtu - headers} {whom}",
        "mend the way, or ip route change … mtu 1280; net.ipv4.tcp_mtu_probing=1 (now"
        f" {facts.mtu_probing or '?'}) lets TCP find a size that passes",
        certain=facts.mtu_probing != "1",
    )
