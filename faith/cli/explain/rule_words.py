"""Rules of packet filters in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.cli.explain.explanation import problem, unknown
from faith.cli.explain.packet_filter import Ends

if TYPE_CHECKING:
    from faith.cli.explain.explanation import Step
    from faith.cli.explain.facts import Facts
    from faith.cli.explain.packet_filter import Fate


def dropped(facts: Facts, found: Fate, step: str, cause: str, what: str) -> Step:
    """Return the step for packets that a rule drops, or may drop."""
    if found.end is Ends.QUEUED:
        where = str(found.chain)
        return unknown(step, f"chain {where} gives {what} to a program, which decides about them")
    verb = "drops" if found.end is Ends.DROPPED else "rejects"
    may = "" if found.certain else "may be the one that "
    return problem(
        step,
        cause,
        f"{described(facts, found)} {may}{verb} {what}",
        found.command,
        "except them from it by a rule before it",
        certain=found.certain,
    )


def described(facts: Facts, found: Fate) -> str:
    """Return the rule of *found* in words."""
    if not found.handle:
        return f"the policy of chain {found.chain}"
    shown = facts.show_rule(found)
    return f"the rule with handle {found.handle} in chain {found.chain}" + (
        f" ({shown})" if shown else ""
    )
