"""The step of a live trace: a packet of the client was seen, and where it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.cli.explain.explanation import ok, problem, unknown
from faith.cli.explain.packet_filter import Ends, Fate, is_ours
from faith.cli.explain.rule_words import dropped
from faith.kernel.nft.rule_dump import DumpedChain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.explain.explanation import Step
    from faith.cli.explain.facts import Facts


def steps(facts: Facts) -> Iterator[Step]:
    """Explain what the trace has shown."""
    live = facts.live
    if live is None:
        return
    where = "nft monitor trace"
    if not live.seen:
        yield unknown(
            "way-in",
            f"no packet of {facts.question.client} to {facts.mapped} arrived while it was traced",
            "have the client connect during the trace; if it did, "
            + (
                "its packets are lost before this host"
                if facts.question.proxied
                else "the prefix is not routed here"
            ),
        )
        return
    link = facts.links.get(live.arrives)
    by = f" by {link.name}" if link else ""
    if live.dropped_by is None:
        yield ok("way-in", f"a packet of the client arrived{by}, and no rule dropped it", where)
    elif is_ours(live.dropped_by[1]):
        yield problem(
            "way-in",
            "steering-gone",
            f"the guard refused a packet of the client, which arrived{by}: no socket of a daemon"
            " takes it",
            where,
            "see the steps of the daemon and the service; else restart the daemon",
            certain=False,
        )
    else:
        fate = Fate(Ends.DROPPED, DumpedChain(*live.dropped_by), live.handle)
        yield dropped(facts, fate, "way-in", "firewall-drops-client", "the client's packet")
