"""The step of access: the rule or the safe default that decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from faith.cli.explain.explanation import ok, problem
from faith.translation import reasons

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.explain.explanation import Step
    from faith.cli.explain.facts import Facts
    from faith.daemon.config.decision import Decision

_SAFE_DEFAULTS = (
    reasons.SPECIAL,
    reasons.OWN,
    reasons.NOT_GLOBAL,
    reasons.SOURCE_MAPPED,
    reasons.LOOP,
)
_CHANGED_BY_RULES = (reasons.SPECIAL, reasons.OWN)
_ELSEWHERE = (reasons.NOT_MAPPED, reasons.UNREACHABLE, reasons.NO_SOURCE)
"""Reasons that the steps of maps, routes and sources explain."""


def access(facts: Facts) -> Iterator[Step]:
    """Explain what rules and safe defaults say.

    Rules of a file are not certain to be those of a daemon that could not be asked.
    """
    if facts.explained is None:
        return
    decision = facts.explained.decision
    if decision.refused in _ELSEWHERE:
        return
    step = _decided(facts, decision)
    if facts.from_file and facts.daemons:
        text = f"{step.text} (by {facts.from_file}; the daemon has no control socket)"
        step = replace(step, text=text, certain=False)
    yield step


def _decided(facts: Facts, decision: Decision) -> Step:
    refused = decision.refused
    if refused is None:
        return ok("access", _permitted(decision), _where(decision))
    if refused == reasons.DENIED:
        return _denied(decision)
    if refused == reasons.NO_RULE:
        return problem(
            "access",
            "no-rule-permits",
            f"none of the {decision.rules} rules permits it, and then it is denied",
            decision.rules_file,
            _add_rule(facts),
        )
    if refused == reasons.NO_PREFIX:
        return problem(
            "access",
            "no-prefix",
            f"no prefix can map the client {facts.question.client}",
            "faith status",
            "reserve one; see also source of [maps] in faith.toml(5)",
        )
    return problem(
        "access",
        "safe-default",
        f"a safe default refuses it: {refused}",
        "faithd.conf(5)",
        f"if it is meant, {_add_rule(facts)}{_others(decision)}"
        if refused in _CHANGED_BY_RULES
        else "use another prefix or client: no rule changes this",
        certain=refused in _SAFE_DEFAULTS,
    )


def _permitted(decision: Decision) -> str:
    if decision.rule:
        return f"permitted by rule “{decision.rule.text}”"
    return "permitted: there are no rules, which permits everything"


def _denied(decision: Decision) -> Step:
    rule = decision.rule
    text = rule.text if rule else "a rule"
    if late := decision.later_permits:
        return problem(
            "access",
            "shadowed-rule",
            f"denied by rule “{text}”; “{late[0].text}” (line {late[0].line}) comes after it and"
            " is never reached",
            _where(decision),
            f"move line {late[0].line} before it",
        )
    return problem(
        "access",
        "denied-by-rule",
        f"denied by rule “{text}”",
        _where(decision),
        "put a rule that permits it before that one, if it is meant to work",
    )


def _where(decision: Decision) -> str:
    return f"{decision.rules_file}:{decision.rule.line}" if decision.rule else ""


def _others(decision: Decision) -> str:
    """Return the warning that the first rule of all ends what everybody was permitted."""
    if decision.rules:
        return ""
    return "; with a rule, all that none permits is denied: “::/0 permit 0.0.0.0/0” after it"


def _add_rule(facts: Facts) -> str:
    decision = facts.explained.decision if facts.explained else None
    client = facts.question.client
    steered = facts.from_v4 and not facts.question.proxied
    named = f"::ffff:{client}" if steered else client
    target = facts.mapped if steered else facts.server
    file = decision.rules_file if decision else "faithd.conf"
    return f"add “{named} permit {target}” to {file} and reload"
