"""The steps of the address: what it stands for, its route, and the way back to the client."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from faith.cli.explain.explanation import note, ok, problem
from faith.errors import ConfigError
from faith.kernel.netlink.routes import OWNERS
from faith.translation.address import number, text4, text6
from faith.translation.destination import SPECIAL_DESTINATIONS
from faith.translation.prefix import LAYOUTS, Prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.explain.explanation import Step
    from faith.cli.explain.facts import Facts


def address(facts: Facts) -> Iterator[Step]:
    """Explain the mapped address: its prefix and layout."""
    if facts.from_v4:
        return
    if not facts.mapped or (not facts.prefixes and not facts.is_guarded):
        if facts.name and not facts.server:
            return
        yield problem(
            "address",
            "no-prefix",
            "no prefix is reserved here, so no address stands for an IPv4 one",
            "faith status",
            "reserve one: faith -e -p PREFIX, or [[prefix]] in faith.toml(5)",
        )
        return
    prefix = facts.prefix_of(facts.mapped)
    if prefix is None:
        if not facts.is_guarded:
            yield problem(
                "address",
                "not-mapped",
                f"{facts.mapped} lies under no reserved prefix ({facts.listed_prefixes})",
                "faith status",
                "use a mapped address: faith addr shows those of an IPv4 address",
            )
        return
    yield _layout(facts, prefix)


def _layout(facts: Facts, prefix: Prefix) -> Step:
    target = number(facts.mapped)
    text = f"{facts.mapped} stands for {facts.server}: prefix {prefix}, layout {prefix.layout}"
    where = f"faith addr {facts.mapped}"
    other = _other_layout(prefix)
    if other is None or prefix.map(prefix.unmap(target)) == target:
        return ok("address", text, where)
    meant = other.unmap(target)
    if other.map(meant) != target:
        return note("address", f"{text}; bits that mean nothing are set in it", where)
    wrong = prefix.unmap(target)
    return problem(
        "address",
        "wrong-layout",
        f"{text}; by layout {other.layout} it would be {text4(meant)}",
        where,
        f"use {text6(prefix.map(meant))} for {text4(meant)}, or reserve the prefix with --layout"
        f" {other.layout}",
        certain=SPECIAL_DESTINATIONS.find(wrong) is not None,
    )


def _other_layout(prefix: Prefix) -> Prefix | None:
    (layout,) = (one for one in LAYOUTS if one != prefix.layout)
    try:
        return Prefix(prefix.address, prefix.length, layout)
    except ConfigError:
        return None


def route_here(facts: Facts) -> Iterator[Step]:
    """Explain where the kernel delivers packets to the mapped address."""
    if not facts.mapped:
        return
    found = facts.route_in
    family = "-4" if facts.from_v4 else "-6"
    where = f"ip {family} route get {facts.mapped} from {facts.question.client}" + (
        f" iif {facts.interface(facts.arrives).name}" if facts.arrives else ""
    )
    if found.error == errno.EXDEV:
        yield filtered(facts, where)
    elif found.is_local and found.protocol in OWNERS:
        yield ok("route-here", f"packets to {facts.mapped} are delivered on this host", where)
    elif not facts.from_v4 and facts.is_guarded and not facts.prefix_of(facts.mapped):
        yield problem(
            "route-here",
            "prefix-not-routed",
            f"{facts.mapped} is under guard, but the local route of its prefix is gone",
            where,
            "faith -e -p PREFIX puts it back",
        )
    elif found.is_local:
        yield from _own(facts, where)
    elif not _expected(facts):
        return
    else:
        yield problem(
            "route-here",
            "prefix-route-taken",
            f"packets to {facts.mapped} are not delivered here: {other_way(facts)}",
            where,
            "remove that route or rule: ip -6 rule; ip -6 route show table all",
        )


def _own(facts: Facts, where: str) -> Iterator[Step]:
    found = facts.route_in
    route = f"{found.network}/{found.length}" if found.network else "a local route"
    if facts.from_v4:
        return
    if facts.prefix_of(facts.mapped):
        yield problem(
            "route-here",
            "prefix-route-taken",
            f"{facts.mapped} belongs to {route}, which is this host's own and not the prefix's",
            where,
            "give the host another address, or the prefix another network",
        )


def _expected(facts: Facts) -> bool:
    """Return whether a local route is due: the prefix is reserved, or the map is held."""
    if facts.from_v4:
        explained = facts.explained
        return bool(explained and (explained.decision.map or explained.decision.leased))
    return facts.prefix_of(facts.mapped) is not None


def filtered(facts: Facts, where: str) -> Step:
    """Return the step for packets of the client that reverse path filtering drops."""
    return problem(
        "route-here",
        "rp-filter",
        f"reverse path filtering drops packets of {facts.question.client} that arrive by"
        f" {facts.interface(facts.arrives).name}: the way back is another",
        where,
        f"sysctl -w net.ipv4.conf.{facts.interface(facts.arrives).name}.rp_filter=2, or mend the"
        " routes",
        certain=facts.arrives_seen,
    )


def other_way(facts: Facts) -> str:
    """Return where packets to the address that the client connects to go instead."""
    found = facts.route_in
    if found.error:
        return refusal(found.error)
    route = f"{found.network}/{found.length}" if found.network else "another route"
    by = f" by {found.gateway}" if found.gateway else ""
    return f"{route} leads{by} through {facts.interface(found.interface).name}"


def client(facts: Facts) -> Iterator[Step]:
    """Explain the way back to the client."""
    asking, found = facts.question.client, facts.route_back
    family = "-4" if facts.from_v4 else "-6"
    where = f"ip {family} route get {asking}"
    if facts.back_from:
        where += f" from {facts.back_from}"
    if found.error:
        yield problem(
            "client",
            "client-unreachable",
            f"there is no way back to {asking}: {refusal(found.error)}",
            where,
            remedy(found.error, family, asking),
        )
        return
    if found.is_local:
        yield note("client", f"{asking} is this host's own address", where)
        return
    link = facts.interface(found.interface)
    if link.name and not facts.links[found.interface].works:
        yield problem(
            "client",
            "client-unreachable",
            f"the way back to {asking} is {link.name}, which is down",
            f"ip link show {link.name}",
            f"ip link set {link.name} up, or connect its cable",
        )
        return
    hop = found.gateway or asking
    if any(one.failed and one.address == hop for one in facts.neighbours):
        yield problem(
            "client",
            "client-unreachable",
            f"{hop} does not answer on {link.name}, by which {asking} is reached",
            f"ip neigh show {hop}",
            certain=False,
        )
        return
    yield ok("client", f"answers to {asking} go by {link.name}{_via(found.gateway)}", where)
    if facts.client_answers_here:
        yield problem(
            "client",
            "prefix-not-routed",
            f"{asking} answers this host, but what it sends to {facts.mapped} does not come here:"
            " no router leads the prefix here, or its firewall refuses such echo requests",
            f"ping -6 -I {facts.mapped} {asking}",
            "route the prefix to this host; --live shows whether packets of the client arrive",
            certain=False,
        )


_KINDS = {
    errno.EINVAL: "blackhole",
    errno.EACCES: "prohibit",
    errno.EHOSTUNREACH: "unreachable",
}
"""Types of routes and rules, by the errors that they make."""


def refusal(error: int) -> str:
    """Return why there is no route, by the kernel's *error*."""
    kind = _KINDS.get(error)
    return f"a route or rule of type {kind} refuses it" if kind else os.strerror(error)


def remedy(error: int, family: str, address: str) -> str:
    """Return what to do about it; *family* is the option of ip(8)."""
    if kind := _KINDS.get(error):
        return f"ip {family} route show table all type {kind}; ip {family} rule: remove that one"
    return f"add one: ip {family} route add {address} via ROUTER"


def _via(gateway: str) -> str:
    return f" through {gateway}" if gateway else ""
