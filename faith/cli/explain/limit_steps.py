"""The steps of limits, and of the address that the server sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.cli.explain.explanation import ok, problem
from faith.daemon.config.settings import KERNEL
from faith.translation import reasons

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.explain.explanation import Step
    from faith.cli.explain.facts import Facts

_LIMITS = {
    reasons.TOTAL: ("limit-sessions", "sessions"),
    reasons.CLIENT: ("limit-client", "sessions_per_client"),
    reasons.PREFIX: ("limit-client", "sessions_per_prefix"),
    reasons.TOTAL_RATE: ("limit-rate", "rate"),
    reasons.CLIENT_RATE: ("limit-rate", "rate_per_client"),
    reasons.PREFIX_RATE: ("limit-rate", "rate_per_prefix"),
}
_RISING = {
    **{reason: cause for reason, (cause, _) in _LIMITS.items()},
    reasons.CLIENT_SHARE: "limit-client",
    reasons.FLOWS: "limit-sessions",
    reasons.CLIENT_FLOWS: "limit-client",
    reasons.PINGS: "ping-limit",
    reasons.CLIENT_PINGS: "ping-limit",
}
"""Causes by reasons that processes count, of limits that only they know."""
_OF_ALL = (reasons.TOTAL, reasons.TOTAL_RATE, reasons.FLOWS, reasons.PINGS)
"""Reasons that hold for every client."""


def limits(facts: Facts) -> Iterator[Step]:
    """Explain the limit that refuses the client now, if one does."""
    yield from (_refused_now(reason) for reason in sorted(facts.rising & _RISING.keys()))
    found = facts.explained
    if found is None or facts.question.protocol != "tcp" or facts.from_file:
        return
    full = [slots for opened, slots in (one.flows for one in facts.daemons) if 0 < slots <= opened]
    if found.path == KERNEL and full:
        yield problem(
            "limits",
            "limit-sessions",
            f"all {full[0]} places for flows are taken: [flows] limit",
            "faith sessions",
            "raise limit in faith.toml(5), or end flows: faith kill",
        )
    elif found.limit in _LIMITS:
        cause, key = _LIMITS[found.limit]
        value = found.limits.get(key, 0)
        yield problem(
            "limits",
            cause,
            f"{found.limit}: [limits] {key} = {value:g}",
            "faith sessions",
            f"raise {key} in faith.toml(5), or end sessions",
        )
    else:
        some = ", ".join(f"{key} = {value:g}" for key, value in _set(found.limits))
        yield ok("limits", f"no limit is reached ({some or 'none is set'})")


def _refused_now(reason: str) -> Step:
    return problem(
        "limits",
        _RISING[reason],
        f"at this moment the daemon refuses clients: {reason}",
        "faith status --json",
        "raise the limit in faith.toml(5), or find who takes so much",
        certain=reason in _OF_ALL,
    )


def _set(limits: dict[str, float]) -> Iterator[tuple[str, float]]:
    keys = [key for _, key in _LIMITS.values()]
    return ((key, value) for key, value in limits.items() if key in keys)


def source(facts: Facts) -> Iterator[Step]:
    """Explain the address that the server sees."""
    found = facts.explained
    if found is None or (found.decision.refused and found.decision.refused != reasons.NO_SOURCE):
        return
    decision = found.decision
    if decision.source_absent or decision.refused == reasons.NO_SOURCE:
        address = decision.source or "an address"
        yield problem(
            "source",
            "source-absent",
            f"connections are to come from {address}, which this host does not have",
            "ip -4 address",
            f"ip address add {address}/32 dev lo, or set_up = true in [[source]]",
        )
        return
    used, room = facts.source_ports
    address = decision.source or facts.route_out.source
    if room and used >= room:
        yield problem(
            "source",
            "source-ports-taken",
            f"all {room} ports of {address} towards {facts.server} are taken",
            f"ss -tan dst {facts.server} | wc -l",
            "widen net.ipv4.ip_local_port_range, or use several sources ([[source]])",
        )
        return
    origin = {
        "rule": "by the rule",
        "map": "by its static map",
        "source": "by [[source]]",
        "client": "which stands for the client",
        "kernel": "the kernel's choice",
    }[decision.source_from]
    yield ok("source", f"the server sees {address or 'this host'}, {origin}")
