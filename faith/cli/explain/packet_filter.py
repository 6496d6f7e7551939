"""The way of a packet through the rules of a host's packet filter, without sending it.

Rules are evaluated as the kernel does.  Where one depends on what is not known beforehand, both
ways are followed, and the result is not certain.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from faith.cli.explain.filtered_packet import NEW, Passage
from faith.cli.explain.rule_terms import Evaluation, Outcome
from faith.kernel.nft.rule_dump import ACCEPT, DROP, GOTO, JUMP, RETURN, Verdict

if TYPE_CHECKING:
    from faith.cli.explain.filtered_packet import Packet
    from faith.kernel.nft.rule_dump import DumpedChain, DumpedRule, DumpedSet, Ruleset

_DEEPEST = 16
_TRACKING = -200
"""The priority of connection tracking, in the hooks that packets come to first."""
_OURS = re.compile(r"faith([-_].*)?")
"""Tables of FAITH, of which other steps know: the guards, steering, and the flows' guard."""


class Ends(Enum):
    """How a packet ends at a hook, or in a chain."""

    PASSES = "passes"
    DROPPED = "dropped"
    REJECTED = "rejected"
    TRANSLATED = "translated"
    QUEUED = "queued"


@dataclass(frozen=True)
class Fate:
    """The *end* of a packet: by the rule *handle* of *chain*, or by its policy (handle 0).

    It is *certain* unless a rule that could not be evaluated may change it.
    """

    end: Ends
    chain: DumpedChain | None = None
    handle: int = 0
    certain: bool = True

    @property
    def passes(self) -> bool:
        return self.end is Ends.PASSES

    @property
    def command(self) -> str:
        """The command that shows the chain."""
        return f"nft -a list chain {self.chain}" if self.chain else ""


PASSED = Fate(Ends.PASSES)


def fate(ruleset: Ruleset, hook: str, packet: Packet | Passage, before: float = math.inf) -> Fate:
    """Return the fate of *packet* at *hook*, by the chains of other programs than FAITH.

    Only those with a priority *before* that number count.  A passage goes from hook to hook: what
    rules set at one is what those of the next look at.
    """
    passage = packet if isinstance(packet, Passage) else Passage(packet)
    chains = [
        chain
        for chain in ruleset.chains
        if chain.priority < before and _applies(chain, hook, passage.packet)
    ]
    doubtful: Fate | None = None
    for chain in sorted(chains, key=lambda one: one.priority):
        if chain.kind == "nat" and passage.packet.state not in (NEW, None):
            continue
        found = _Traversal(ruleset, passage, _is_before_tracking(chain, passage.packet)).base(chain)
        if chain.kind == "nat" and passage.packet.state is None:
            found = replace(found, certain=False)
        if found.end is not Ends.PASSES and found.certain:
            return found if not doubtful else Fate(found.end, found.chain, found.handle, False)
        if found.end is not Ends.PASSES:
            doubtful = doubtful or found
    return doubtful or PASSED


def is_ours(table: str) -> bool:
    """Return whether FAITH makes tables of that name."""
    return _OURS.fullmatch(table) is not None


def _applies(chain: DumpedChain, hook: str, packet: Packet) -> bool:
    if is_ours(chain.table) or chain.hook != hook:
        return False
    if chain.family == "netdev" or hook in ("ingress", "egress"):
        place = packet.leaves if hook == "egress" else packet.arrives
        return not chain.devices or place.name in chain.devices
    return chain.family in ("inet", packet.family)


def _is_before_tracking(chain: DumpedChain, packet: Packet) -> bool:
    """Return whether the packet comes to *chain* before connection tracking has seen it."""
    if packet.arrives.name == "lo":  # it has been seen when it left
        return False
    if chain.hook == "ingress":
        return True
    return chain.hook in ("prerouting", "output") and chain.priority < _TRACKING


class _Ended(Exception):
    def __init__(self, end: Ends, chain: DumpedChain, handle: int) -> None:
        super().__init__(end)
        self.fate = Fate(end, chain, handle)


class _Traversal:
    """One base chain and those it jumps to, for one packet; *early*: before it is tracked."""

    def __init__(self, ruleset: Ruleset, passage: Passage, early: bool) -> None:
        self._ruleset = ruleset
        self._passage = passage
        self._early = early
        self._may_be_accepted = False
        self._doubtful: Fate | None = None  # the first end that there may be

    def base(self, chain: DumpedChain) -> Fate:
        """Return how the packet ends in the base chain *chain*."""
        try:
            self._follow(chain, 0, sure=True)
        except _Ended as ended:
            found = ended.fate
        else:
            found = Fate(Ends.DROPPED, chain) if chain.drops else PASSED
        if found.passes:
            return self._doubtful or found
        certain = not self._may_be_accepted and self._agrees(found)
        return Fate(found.end, found.chain, found.handle, certain)

    def _agrees(self, found: Fate) -> bool:
        """Return whether all ends that there may be before *found* come to the same."""
        stops = {Ends.DROPPED, Ends.REJECTED}
        before = self._doubtful
        return before is None or {before.end, found.end} <= stops

    def _follow(self, chain: DumpedChain, depth: int, *, sure: bool) -> bool:
        """Follow the rules of *chain*; return whether it was left by ``return`` or its end."""
        for rule in self._ruleset.rules_of(chain) if depth < _DEEPEST else ():
            outcome, matched = self._evaluate(chain, rule, sure=sure and not self._may_be_accepted)
            if outcome is None or matched is False:
                continue
            certain = sure and matched is True
            if isinstance(outcome, Verdict):
                if outcome.code == RETURN and matched:
                    return True
                if self._by_verdict(chain, rule, outcome, depth, certain):
                    return True
            else:
                self._end(_ENDS[outcome], chain, rule, certain)
        return True

    def _by_verdict(
        self, chain: DumpedChain, rule: DumpedRule, verdict: Verdict, depth: int, certain: bool
    ) -> bool:
        """Act by *verdict*; return whether the rest of *chain* is left out."""
        if verdict.code in (JUMP, GOTO):
            target = self._chain(chain, verdict.chain)
            if target:
                self._follow(target, depth + 1, sure=certain)
            if verdict.code == GOTO and not certain:  # what comes after it may not happen
                self._may_be_accepted = True
            return certain and verdict.code == GOTO
        if verdict.code == RETURN:  # a doubtful one: what comes after it may not happen
            self._may_be_accepted = True
        if verdict.code in (DROP, ACCEPT):
            self._end(Ends.DROPPED if verdict.code == DROP else Ends.PASSES, chain, rule, certain)
        return False

    def _end(self, end: Ends, chain: DumpedChain, rule: DumpedRule, certain: bool) -> None:
        if certain:
            raise _Ended(end, chain, rule.handle)
        if end is Ends.PASSES:
            self._may_be_accepted = True
        else:
            self._doubtful = self._doubtful or Fate(end, chain, rule.handle, False)

    def _evaluate(
        self, chain: DumpedChain, rule: DumpedRule, *, sure: bool
    ) -> tuple[Verdict | str | None, bool | None]:
        """Return how *rule* ends, if it does, and whether it matches (None: it may)."""

        def sets(name: str) -> DumpedSet | None:
            return self._ruleset.sets.get((chain.family, chain.table, name))

        evaluation = Evaluation(self._passage, sets, early=self._early, sure=sure)
        matched: bool | None = True
        for expression in rule.expressions:
            try:
                one = evaluation.matches(expression)
            except Outcome as outcome:
                # Of several verdicts that are possible, others may accept.
                self._may_be_accepted = self._may_be_accepted or not outcome.certain
                return outcome.verdict, matched if outcome.certain else None
            if one is False:
                return None, False
            if one is None:
                matched, evaluation.sure = None, False
        return None, matched

    def _chain(self, beside: DumpedChain, name: str) -> DumpedChain | None:
        wanted = beside.family, beside.table, name
        return next((one for one in self._ruleset.chains if one[:3] == wanted), None)


_ENDS = {"reject": Ends.REJECTED, "translate": Ends.TRANSLATED, "queue": Ends.QUEUED}
