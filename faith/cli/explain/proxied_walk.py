"""The walk along the way of what a client asks a proxy for: to the proxy, and on to each address.

A name may have several addresses, of which one that works is enough.  It asks nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from faith.cli.explain import (
    access_steps,
    daemon_steps,
    filter_in_steps,
    limit_steps,
    proxy_steps,
    way_in_steps,
    way_out_steps,
)
from faith.cli.explain.explanation import Explanation, Step, Verdict, note, problem
from faith.cli.explain.walk import is_wide, of_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.cli.explain.facts import Facts
    from faith.cli.explain.proxied_facts import ProxiedFacts

_TO_SERVER: tuple[Callable[[Facts], Iterator[Step]], ...] = (
    access_steps.access,
    limit_steps.source,
    way_out_steps.route_out,
    way_out_steps.way_out,
    way_out_steps.server,
    way_out_steps.mtu,
)
_OF_SETTINGS = ("proxy", "tls", "clients", "limits", "port", "access", "source")
"""Steps that follow from the settings of the daemon."""
_NEEDED = ("name", "way-in", "daemon", "proxy")
"""Steps without which it cannot be said whether the connection works."""
_STALLS = "mtu-blackhole"
"""The cause that lets a connection be made, and so keeps other addresses from being tried."""
_TELLING = (
    *("server-refuses", "denied-by-rule", "shadowed-rule", "no-rule-permits", "safe-default"),
    *("proxy-loop", "output-firewall-drops", "firewall-drops-legacy", "firewall-drops-answers"),
    *("server-silent", "source-absent", "source-ports-taken", "rp-filter", "uplink-down"),
    *("map-target-unreachable", "server-unreachable", "no-route-out"),
)
"""Causes at several addresses, the most telling first: `happy_dial` has the same order."""


class _Target(NamedTuple):
    """An address with its steps, and the problem that keeps it from being reached, if any."""

    facts: Facts
    steps: list[Step]
    problem: Step | None


def walk(facts: ProxiedFacts) -> Explanation:
    """Return the explanation that *facts* amount to."""
    before = [_weighed(facts, step) for step in _to_proxy(facts)]
    targets = [_target(facts, one) for one in facts.targets]
    usable = [one for one in targets if _connects(one)]
    after = [step for one in targets for step in _shown(one, is_only=not usable)]
    steps = [*before, *after]
    return Explanation(facts.question, steps, _verdict(facts, before, targets, usable))


def _to_proxy(facts: ProxiedFacts) -> Iterator[Step]:
    front = facts.front
    yield from proxy_steps.listener(facts)
    yield from proxy_steps.route_here(facts)
    if facts.proxy:
        yield from way_in_steps.client(front)
    if facts.proxy and front.mapped:
        yield from filter_in_steps.way_in(front)
    yield from daemon_steps.daemon(front)
    yield from proxy_steps.certificate(facts)
    yield from proxy_steps.clients(facts)
    if facts.proxy:
        yield from limit_steps.limits(front)
    yield from proxy_steps.port(facts)
    yield from proxy_steps.name(facts)
    yield from way_out_steps.client_size(front)


def _weighed(facts: ProxiedFacts, step: Step) -> Step:
    """Return *step*, of which nothing is certain that follows from a guess at the settings."""
    guess = facts.front.guessed and step.state == "problem" and step.step in _OF_SETTINGS
    return replace(step, certain=False) if guess else step


# -- addresses -----------------------------------------------------------------------------------


def _target(facts: ProxiedFacts, one: Facts) -> _Target:
    address = one.question.destination
    decision = one.explained.decision if one.explained else None
    way = (access_steps.access,) if decision and decision.refused else _TO_SERVER
    steps = [*_loop(facts, one)] or [step for explain in way for step in explain(one)]
    steps = [replace(_weighed(facts, step), address=address) for step in steps]
    problems = [step for step in steps if step.state == "problem"]
    certain = [step for step in problems if step.certain]
    return _Target(one, steps, next(iter([*certain, *problems]), None))


def _loop(facts: ProxiedFacts, one: Facts) -> Iterator[Step]:
    """Explain that an address is the proxy's own, if it is one that rules permit."""
    decision = one.explained.decision if one.explained else None
    proxies = facts.explained.proxies if facts.explained else []
    ports = [each.port for each in proxies if each.host in ("::", "0.0.0.0", one.server)]
    if decision and not decision.refused and one.route_out.is_local and one.question.port in ports:
        yield problem(
            "access",
            "proxy-loop",
            f"{one.server} port {one.question.port} is a proxy of this host: it would ask itself",
            "faith status",
            "ask for another server",
        )


def _connects(target: _Target) -> bool:
    return target.problem is None or target.problem.cause == _STALLS


def _shown(target: _Target, *, is_only: bool) -> Iterator[Step]:
    """Yield the steps of *target*; its problem is one of the connection if it *is_only*."""
    for step in target.steps:
        if step.state == "problem" and not is_only and not _connects(target):
            text = f"not by {step.address}: {step.text}"
            yield replace(note(step.step, text, step.where, step.action), address=step.address)
        else:
            yield step


# -- the verdict ---------------------------------------------------------------------------------


def _verdict(
    facts: ProxiedFacts, before: list[Step], targets: list[_Target], usable: list[_Target]
) -> Verdict:
    problems = [step for step in before if step.state == "problem"]
    chosen = _most_telling(targets) if targets and not usable else None
    stalled = usable[0].problem if usable else None
    problems += [step for step in (chosen, stalled) if step]
    if found := of_problems(problems):
        return found
    unseen = [step for step in before if step.state == "unknown" and step.step in _NEEDED]
    if unseen:
        return Verdict(None, None, False, f"it cannot be said: {unseen[0].text}", unseen[0].action)
    return _works(facts, usable)


def _most_telling(targets: list[_Target]) -> Step:
    """Return the problem of the address that says most, certain if those of all addresses are."""
    problems = [one.problem for one in targets if one.problem]
    ranks = {cause: rank for rank, cause in enumerate(_TELLING)}
    chosen = min(problems, key=lambda step: ranks.get(step.cause or "", len(ranks)))
    certain = all(step.certain for step in problems)
    if len(problems) == 1:
        return chosen
    text = f"none of {len(problems)} addresses can be reached; {chosen.address}: {chosen.text}"
    return replace(chosen, text=text, certain=certain)


def _works(facts: ProxiedFacts, usable: list[_Target]) -> Verdict:
    needs = _needs(facts)
    dialled = [one for one in usable if one.facts.dial and one.facts.dial.kind == "connected"]
    if not dialled:
        text = f"works as far as this gateway is concerned{needs}: nothing is in the way (the"
        text += " server was not asked)"
        return Verdict(True, None, False, text, "--dial asks it")
    probes = dialled[0].facts.probe, facts.front.client_probe
    if not all(map(is_wide, probes)):
        text = f"works{needs}: nothing is in the way, and the server answers (large packets are"
        text += " not tried)"
        return Verdict(True, None, False, text)
    text = f"works{needs}: nothing is in the way, and the server answers"
    return Verdict(True, None, not needs, text)


def _needs(facts: ProxiedFacts) -> str:
    """Return what the client itself has to have: a password, or trust in a certificate."""
    proxy = facts.proxy
    if proxy is None:
        return ""
    needed = [
        *(["trusts the certificate"] if proxy.tls else []),
        *(["has a right password"] if proxy.users else []),
    ]
    return f" if the client {' and '.join(needed)}" if needed else ""
