"""A trace of one real connection of the client through nftables, bounded in time."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from faith.cli.explain.facts import Facts, Live
from faith.errors import SetupError
from faith.kernel.netlink import route_query
from faith.kernel.nft.packet_trace import PacketTrace
from faith.kernel.nft.rule_dump import DROP
from faith.translation.address import packed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.kernel.nft.packet_trace import TraceEvent

PATIENCE = 15.0
"""Seconds to wait for a packet of the client."""
_REST = 0.3
"""Seconds for what is still to come about that packet."""


def watch(facts: Facts) -> Facts:
    """Return *facts* with the way of the client's next packet to the mapped address.

    Raises SetupError where the kernel cannot trace.
    """
    if not facts.mapped:
        raise SetupError("trace packets", "there is no address that the client connects to")
    client, mapped = facts.question.client, facts.mapped
    with PacketTrace.create(packed(client), packed(mapped)) as trace:
        print(
            f"tracing packets from {client} to {mapped} for {PATIENCE:g} s: have the client"
            " connect now",
            file=sys.stderr,
            flush=True,
        )
        first = next(iter(trace.events(PATIENCE)), None)
        events = [first, *trace.events(_REST)] if first else []
    return seen(facts, live(events))


def live(events: Iterable[TraceEvent]) -> Live:
    """Return what *events* say about the first packet."""
    several = list(events)
    if not several:
        return Live()
    number = several[0].number
    ours = [event for event in several if event.number == number]
    arrives = next((event.arrives for event in ours if event.arrives), 0)
    for event in ours:
        if event.verdict == DROP:
            place = event.family, event.table, event.chain
            return Live(True, arrives, place, event.handle)
    return Live(True, arrives)


def seen(facts: Facts, found: Live) -> Facts:
    """Return *facts* with what was *found*, and the interface that the packet arrived by."""
    facts = replace(facts, live=found)
    if not found.arrives or found.arrives == facts.arrives:
        return replace(facts, arrives_seen=facts.arrives_seen or bool(found.arrives))
    answer = route_query.route(facts.mapped, facts.question.client, found.arrives)
    return replace(facts, arrives=found.arrives, arrives_seen=True, route_in=answer)
