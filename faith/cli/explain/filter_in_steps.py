"""The step of packet filters and the guard on the way in, and of the answers to the client."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from faith.cli.explain import legacy_filter, live_steps
from faith.cli.explain.explanation import note, ok, problem, unknown
from faith.cli.explain.filtered_packet import (
    ESTABLISHED,
    LOCAL,
    UNICAST,
    Interface,
    Packet,
    Passage,
    protocol_number,
)
from faith.cli.explain.packet_filter import Ends, fate
from faith.cli.explain.rule_words import described, dropped
from faith.kernel.nft.guard import PRIORITY
from faith.kernel.steering.echo_capture import HOOK as CAPTURE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.explain.explanation import Step
    from faith.cli.explain.facts import Facts
    from faith.cli.explain.packet_filter import Fate


def arriving(facts: Facts) -> Packet:
    """Return the client's first packet, as it arrives."""
    asking = facts.question.client
    own = facts.route_back.is_local
    return Packet(
        asking,
        facts.mapped,
        protocol_number(facts.question.protocol, asking),
        facts.question.port,
        arrives=Interface(1, "lo") if own else facts.interface(facts.arrives),
        source_type=LOCAL if own else UNICAST,
    )


def answering(facts: Facts) -> Packet:
    """Return the answer to the client's first packet, as it leaves."""
    asking = facts.question.client
    return Packet(
        facts.mapped,
        asking,
        protocol_number(facts.question.protocol, asking),
        facts.question.port,
        answer=True,
        leaves=facts.interface(facts.route_back.interface),
        source_type=LOCAL,
        destination_type=UNICAST,
        state=ESTABLISHED,
        user=facts.user,
    )


def way_in(facts: Facts) -> Iterator[Step]:
    """Explain what packet filters and the guard do with the client's packets."""
    if not facts.mapped:
        return
    if facts.ruleset is None:
        if facts.ruleset_error:
            yield unknown("way-in", f"nftables: {facts.ruleset_error}", "run it as root")
    else:
        live = list(live_steps.steps(facts))
        yield from live
        passage = Passage(arriving(facts))
        steps = [*_filtered_in(facts, passage), *_filtered_back(facts, passage)]
        if live and all(step.state != "problem" for step in live):
            steps = [step for step in steps if step.certain]
        yield from steps or [ok("way-in", "no rule of nftables is in the way", "nft list ruleset")]
    yield from legacy_filter.steps("way-in", facts, arriving(facts), ("PREROUTING", "INPUT"))
    yield from legacy_filter.steps("way-in", facts, answering(facts), ("OUTPUT", "POSTROUTING"))
    yield from _guard(facts)


def _filtered_in(facts: Facts, passage: Passage) -> Iterator[Step]:
    assert facts.ruleset
    for hook in ("ingress", "prerouting", "input"):
        found = fate(facts.ruleset, hook, passage, _taken_at(facts, hook))
        if found.passes or (found.end is Ends.TRANSLATED and _keeps(facts, found)):
            continue
        if found.end is Ends.TRANSLATED:
            yield problem(
                "way-in",
                "foreign-dnat",
                f"{described(facts, found)} translates the destination {facts.mapped}",
                found.command,
                "except the proxy from that rule"
                if facts.question.proxied
                else "faith -e puts the guard before it; or except the prefix from that rule",
                certain=found.certain,
            )
        else:
            yield dropped(facts, found, "way-in", "firewall-drops-client", "the client's packets")
        return


def _taken_at(facts: Facts, hook: str) -> float:
    """Return the priority at which packets are taken from *hook*, so that later rules see none."""
    is_echo = facts.question.protocol == "icmp"
    return CAPTURE.priority if is_echo and hook == CAPTURE.name else math.inf


def _keeps(facts: Facts, found: Fate) -> bool:
    """Return whether the guard keeps the address from the translation *found*."""
    guard = facts.guard
    return bool(
        guard and guard.keeps_untranslated and found.chain and found.chain.priority > PRIORITY
    )


def _filtered_back(facts: Facts, sent: Passage) -> Iterator[Step]:
    assert facts.ruleset
    passage = sent.answered_by(answering(facts))
    for hook in ("output", "postrouting", "egress"):
        found = fate(facts.ruleset, hook, passage)
        if not found.passes and found.end is not Ends.TRANSLATED:
            yield dropped(facts, found, "way-in", "firewall-drops-answers", "answers to the client")
            return


def _guard(facts: Facts) -> Iterator[Step]:
    guard = facts.guard
    if guard is None or facts.from_v4:
        return
    if not guard.present:
        yield note(
            "way-in",
            "there is no guard: other servers of this host answer under the prefix too",
            "faith status",
            "faith -e puts it back",
        )
    elif not guard.intact:
        yield problem(
            "way-in",
            "guard-altered",
            "the guard was altered, and may refuse the connection or let others in",
            "nft list table ip6 faith",
            "faith -e puts it back as it should be",
            certain=False,
        )
    elif facts.question.port in guard.open_ports and facts.question.protocol == "tcp":
        yield note("way-in", f"port {facts.question.port} is open to ordinary listeners (inetd)")
