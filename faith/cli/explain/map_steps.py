"""The steps of the other direction: the static map or lease of an address, and who holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.cli.explain.explanation import ok, problem
from faith.translation.reasons import NOT_MAPPED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.explain.explanation import Step
    from faith.cli.explain.facts import Facts


def mapped(facts: Facts) -> Iterator[Step]:
    """Explain which map or lease an IPv4 address stands for a host by."""
    if not facts.from_v4 or facts.explained is None:
        return
    decision = facts.explained.decision
    mapped_port = f" port {decision.server_port}" if decision.server_port else ""
    if decision.map:
        yield ok(
            "map",
            f"{facts.mapped} is mapped to {decision.server}{mapped_port}: {decision.map}",
            decision.map_file or "faith map list",
        )
    elif decision.leased:
        yield ok("lease", f"{facts.mapped} is leased to {decision.server}", "faith status")
    elif decision.refused == NOT_MAPPED and decision.in_pool:
        yield problem(
            "lease",
            "lease-missing",
            f"{facts.mapped} is of the pool, and leased to nobody now",
            "/var/lib/faith/pool",
            "have the client ask for the name again: its lease is made by the answer",
        )
    elif decision.refused == NOT_MAPPED and facts.explained.standby:
        yield problem(
            "map",
            "standby",
            f"this gateway serves no maps: the one that has {facts.explained.standby} does",
            "faith status",
            "ask that gateway, or see why VRRP has given it the address",
        )
    elif decision.refused == NOT_MAPPED:
        yield problem(
            "map",
            "map-missing",
            f"no static map serves {decision.protocol} port {facts.question.port} of"
            f" {facts.mapped}",
            "faith map list",
            f"faith map add {facts.mapped} IPV6",
        )
    yield from _held(facts)


def _held(facts: Facts) -> Iterator[Step]:
    assert facts.explained
    ours = [one for one in facts.explained.conflicts if f" {facts.mapped} " in f"{one} "]
    if ours:
        yield problem(
            "map",
            "map-not-held",
            ours[0],
            f"arping -D {facts.mapped}",
            "take the address from that host, or map another one",
        )
    if facts.arp_ignored and (facts.explained.decision.map or facts.explained.decision.leased):
        sentence, _, action = facts.arp_ignored.partition(": ")
        yield problem(
            "map",
            "arp-ignored",
            sentence,
            "sysctl -ar arp_ignore",
            f"sysctl -w {action}",
            certain=not facts.route_back.gateway,
        )
